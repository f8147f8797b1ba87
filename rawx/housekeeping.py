"""Listing, copying, quarantine and sweep of a volume's chunks. Blocking parts take the volume's parts and run in threads."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from node.errors import InvalidArgument
from rawx import attributes, system
from rawx.attributes import SIDECAR_SUFFIX, TEMPORARY_PREFIX
from rawx.chunk import ChunkRecord
from rawx.commit import Arrival
from rawx.folders import FOLDER_DIGITS, Folders, path_of
from rawx.health import Health
from rawx.protocol import ListPage, Reader
from rawx.reader import LocalReader

QUARANTINE_FOLDER = "quarantine"
QUARANTINE_ATTRIBUTE = "user.frazil.quarantine"
REASON_SUFFIX = ".reason"
REASON_CHARACTERS_MAX = 500
LIST_LIMIT_MAX = 10_000
SWEEP_FOLDERS_PER_HOP = 64
PIECE_BYTES = 1 << 20
"""Verified or copied at a time, in whole units."""
_CHUNK_NAME = re.compile(r"(?:[0-9a-f]{2}){16,32}")
_HEX_DIGITS = "0123456789abcdef"


class Quarantined(msgspec.Struct, frozen=True):
    """Why a chunk lies in quarantine, as in its attribute (or the file beside it when the attribute doesn't fit)."""

    reason: str
    time_us: int
    v: int = 1


def make_quarantine(root: int) -> None:
    """Raises: OSError."""
    try:
        os.mkdir(QUARANTINE_FOLDER, 0o750, dir_fd=root)
    except FileExistsError:
        pass


def folder_names(root: int) -> list[str]:
    """The chunk folders that exist, in order. Raises: OSError."""
    return sorted([name for name in os.listdir(root) if len(name) == FOLDER_DIGITS and not name.strip(_HEX_DIGITS)])


def list_blocking(root: int, health: Health, after: str, limit: int) -> ListPage:
    """Chunk ids above `after`, ascending. One folder's names (1/4096 of the volume) are in memory at a time.

    Raises: InvalidArgument, VolumeSick.
    """
    if not 0 < limit <= LIST_LIMIT_MAX:
        raise InvalidArgument(f"a page lists 1 to {LIST_LIMIT_MAX} chunks")
    found: list[str] = []
    try:
        for folder in folder_names(root):
            if folder < after[:FOLDER_DIGITS]:
                continue
            found += sorted([name for name in _names(root, folder) if name > after and _is_chunk_of(folder, name)])
            if len(found) > limit:
                return ListPage(found[:limit], True)
    except OSError as error:
        raise health.read_failed(error, "listing") from error
    return ListPage(found, False)


def _is_chunk_of(folder: str, name: str) -> bool:
    """One of another folder would end the walk: the next page begins behind its name."""
    return name.startswith(folder) and _CHUNK_NAME.fullmatch(name) is not None


def _names(root: int, folder: str) -> list[str]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    try:
        return os.listdir(descriptor)
    finally:
        os.close(descriptor)


def quarantine_blocking(root: int, health: Health, chunk: str, reason: str) -> None:
    """Moves chunk and sidecar to the quarantine folder. Not synced: a chunk that a power cut puts back is found damaged again.

    Raises: ChunkNotFound, VolumeSick, VolumeReadOnly.
    """
    path = path_of(chunk)
    now_us = time.time_ns() // 1000
    target = f"{QUARANTINE_FOLDER}/{chunk}.{now_us}"
    note = msgspec.json.encode(Quarantined(reason[:REASON_CHARACTERS_MAX], now_us))
    try:
        try:
            os.rename(path, target, src_dir_fd=root, dst_dir_fd=root)
        except FileNotFoundError as error:
            raise health.read_failed(error, f"quarantining chunk {chunk}") from error
        try:
            os.rename(path + SIDECAR_SUFFIX, target + SIDECAR_SUFFIX, src_dir_fd=root, dst_dir_fd=root)
        except FileNotFoundError:
            pass
        descriptor = system.open_plain(root, target)
        try:
            _note(descriptor, root, target, note)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise health.write_failed(error, f"quarantining chunk {chunk}") from error


def _note(descriptor: int, root: int, target: str, note: bytes) -> None:
    try:
        os.setxattr(descriptor, QUARANTINE_ATTRIBUTE, note)
    except OSError as error:
        if error.errno not in attributes.DOES_NOT_FIT:
            raise
        file = os.open(target + REASON_SUFFIX, os.O_WRONLY | os.O_CREAT, attributes.FILE_MODE, dir_fd=root)
        try:
            attributes.write_all_bytes(file, note)
        finally:
            os.close(file)


async def verify(reader: Reader) -> None:
    """Reads all of a chunk. Raises: ChunkCorrupt, VolumeSick, DeadlineExceeded."""
    step = max(PIECE_BYTES // reader.unit_bytes, 1) * reader.unit_bytes
    buffer = memoryview(bytearray(min(step, max(reader.size, 1))))
    for offset in range(0, reader.size, len(buffer)):
        await reader.read(offset, buffer[: min(len(buffer), reader.size - offset)])


def copy_blocking(folders: Folders, health: Health, source: LocalReader, target: str, record: ChunkRecord) -> Arrival:
    """A file with the bytes of `source`, which is closed, ready to be committed. A hard link can't do: attributes belong to the inode.

    Where the file system can, blocks are shared; else the bytes are copied through memory, since they are verified on the way anyway
    (copy_file_range would copy what nobody looked at). Raises: ChunkCorrupt, VolumeSick, VolumeFull, InvalidArgument.
    """
    if record.unit_bytes != source.unit_bytes:
        raise InvalidArgument(f"the copy's record says units of {record.unit_bytes} bytes, the chunk has {source.unit_bytes}")
    attributes.check_units(record, source.size, source.units)
    step = max(PIECE_BYTES // source.unit_bytes, 1) * source.unit_bytes
    buffer = memoryview(bytearray(min(step, max(source.size, 1))))
    try:
        file = folders.new_file(target)
        try:
            shared = system.reflink(source.descriptor, file.descriptor)
            for offset in range(0, source.size, step):
                piece = buffer[: min(step, source.size - offset)]
                source.read_blocking(offset, piece)
                if not shared:
                    attributes.write_all_bytes(file.descriptor, piece)
            if not shared:
                system.finish_write_back(file.descriptor)
        except BaseException:
            folders.discard(file)
            raise
    except OSError as error:
        raise health.write_failed(error, f"copying to chunk {target}") from error
    finally:
        source.close()
    return Arrival(target, record, source.units, None, file)


async def sweep(root: int, health: Health, began_ns: int, bounded: Callable[..., Awaitable[Any]]) -> int:
    """Removes what crashed uploads left: temporary files and sidecars without chunk, older than `began_ns` on the file system's clock.

    Files that O_TMPFILE made vanish by themselves. Returns how many were removed. Runs beside normal use, some folders per thread hop.
    """
    folders = await bounded("sweeping", _told, health, folder_names, root)
    removed = 0
    for at in range(0, len(folders), SWEEP_FOLDERS_PER_HOP):
        removed += await bounded("sweeping", _told, health, _sweep_folders, root, folders[at : at + SWEEP_FOLDERS_PER_HOP], began_ns)
    return removed


def _told(health: Health, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except OSError as error:
        raise health.write_failed(error, "sweeping") from error


def _sweep_folders(root: int, folders: list[str], began_ns: int) -> int:
    removed = 0
    for folder in folders:
        names = set(_names(root, folder))
        for name in names:
            if _CHUNK_NAME.fullmatch(name) and not name.startswith(folder):
                _put_home(root, folder, name)
                continue
            orphaned = name.endswith(SIDECAR_SUFFIX) and name.removesuffix(SIDECAR_SUFFIX) not in names
            if name.startswith(TEMPORARY_PREFIX) or orphaned:
                path = f"{folder}/{name}"
                try:
                    if os.stat(path, dir_fd=root).st_ctime_ns < began_ns:
                        os.unlink(path, dir_fd=root)
                        removed += 1
                except FileNotFoundError:  # another process finished it meanwhile
                    continue
    return removed


def _put_home(root: int, folder: str, chunk: str) -> None:
    """A chunk that lies in another's folder, where nobody looks for it; it stays there when it has a namesake at home. Raises: OSError."""
    home = path_of(chunk)
    with suppress(FileExistsError):
        os.mkdir(home[:FOLDER_DIGITS], 0o750, dir_fd=root)
    for suffix in (SIDECAR_SUFFIX, ""):
        try:
            os.link(f"{folder}/{chunk}{suffix}", home + suffix, src_dir_fd=root, dst_dir_fd=root)
        except FileNotFoundError:  # it has no sidecar
            continue
        except FileExistsError:
            return
        os.unlink(f"{folder}/{chunk}{suffix}", dir_fd=root)
