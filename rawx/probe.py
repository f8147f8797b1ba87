"""Is the disk well? Every few seconds a file is written, synced, given an attribute, read back and removed, and space is looked at."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import trio

from node.errors import Busy, FrazilError, VolumeSick
from node.threads import run_blocking, was_held_up
from rawx.attributes import FILE_MODE, RECORD_ATTRIBUTE, write_all_bytes
from rawx.gate import Gate
from rawx.health import Health
from rawx.identity import Identity, read_identity
from rawx.journal import JOURNAL_FOLDER
from rawx.protocol import VolumeStat

if TYPE_CHECKING:
    from rawx.volume import Volume

PROBE_INTERVAL_S = 5.0
PROBE_WAIT_S = 10.0
"""A probe that hangs longer makes the volume sick; it is left alone, and no other begins until it ends."""
RESERVE_BYTES_MAX = 256 << 20
RESERVE_INODES_MAX = 1024
RESERVE_SHARE = 64
"""Writes stop while less than 1/64 of the volume's bytes or inodes is free, or less than the two limits above if those are smaller:
room for records, journals and the file system itself."""
_PROBE_BYTES = 4096


def lack(root: int) -> str:
    """Why nothing more should be written, "" when there is room. Raises: OSError."""
    space = os.fstatvfs(root)
    total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    if free < min(RESERVE_BYTES_MAX, total // RESERVE_SHARE):
        return f"only {free} of {total} bytes are free"
    if space.f_files and space.f_favail < min(RESERVE_INODES_MAX, space.f_files // RESERVE_SHARE):  # Btrfs says 0: no limit
        return f"only {space.f_favail} of {space.f_files} inodes are free"
    return ""


def volume_stat(root: int, volume_id: str, health: Health, gate: Gate) -> VolumeStat:
    """Raises: FrazilError."""
    try:
        space, retired = os.fstatvfs(root), gate.closed
    except OSError as error:
        raise health.read_failed(error, "asking for space") from error
    return VolumeStat(
        volume_id,
        bytes_total=space.f_blocks * space.f_frsize,
        bytes_free=space.f_bavail * space.f_frsize,
        inodes_free=space.f_favail,
        sick=health.sick,
        read_only=health.read_only,
        retired=retired,
    )


def check_place(root: int, path: str, identity: Identity) -> None:
    """Raises: VolumeSick when the path no longer leads to the folder that is open, or that folder is another's; OSError."""
    here, there = os.fstat(root), os.stat(path)
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        raise VolumeSick(f"{path} is not the folder that was opened: was it unmounted or replaced?")
    if read_identity(root) != identity:
        raise VolumeSick(f"{path} no longer carries the identity of volume {identity.id}")


def try_disk(root: int) -> float:
    """Seconds that a synced write took. Raises: OSError, VolumeSick when what is read back is not what was written."""
    name = f"{JOURNAL_FOLDER}/.probe-{os.getpid()}-{os.urandom(4).hex()}"
    data, began_s = os.urandom(_PROBE_BYTES), time.monotonic()
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE, dir_fd=root)
    try:
        write_all_bytes(descriptor, data)
        os.setxattr(descriptor, RECORD_ATTRIBUTE, data[:64])
        os.fsync(descriptor)
        took_s = time.monotonic() - began_s
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)  # so that the disk is asked, not the cache
        if os.pread(descriptor, _PROBE_BYTES + 1, 0) != data or os.getxattr(descriptor, RECORD_ATTRIBUTE) != data[:64]:
            raise VolumeSick("the disk does not give back what was written")
    finally:
        os.close(descriptor)
        os.unlink(name, dir_fd=root)
    return took_s


def _probe_blocking(volume: Volume) -> None:
    health = volume.health
    try:
        check_place(volume.root, str(volume.path), volume.identity)
        health.full = lack(volume.root)
        read_only = bool(os.fstatvfs(volume.root).f_flag & os.ST_RDONLY)
        if not read_only and not health.full:
            health.latency.add(try_disk(volume.root))
            volume.folders.make_ahead()
    except FileNotFoundError as error:
        raise VolumeSick(f"{volume.path} is gone") from error
    except OSError as error:
        raise health.write_failed(error, f"probing {volume.path}") from error
    health.read_only = read_only


class Probe:
    """Probes one volume, one thread at a time even when that thread hangs."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._under_way = False

    def __repr__(self) -> str:
        return f"<Probe {self._volume.volume_id} under_way={self._under_way}>"

    def _work(self) -> None:
        try:
            _probe_blocking(self._volume)
        finally:
            self._under_way = False

    async def run(self) -> None:
        """One probe; afterwards the volume's health says what it found."""
        health = self._volume.health
        if self._under_way:  # the one before still hangs, and the volume is sick because of it
            return
        self._under_way = True
        try:
            with trio.move_on_after(PROBE_WAIT_S) as bound:
                await run_blocking(self._work, abandon=True)
                health.sick = ""
                return
            health.hung("the probe", PROBE_WAIT_S, held_up=was_held_up(bound))
        except Busy:  # no thread was begun; that says nothing about this disk
            self._under_way = False
        except VolumeSick as error:
            health.sick = str(error)
        except FrazilError:  # full, read-only: noted in the health by who translated it
            return


async def watch(volume: Volume, *, interval_s: float = PROBE_INTERVAL_S) -> None:
    """Probes for ever; a volume that fell sick serves again after the first probe that succeeds."""
    probe = Probe(volume)
    while True:
        await probe.run()
        await trio.sleep(interval_s)
