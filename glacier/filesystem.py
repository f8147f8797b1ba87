"""Mounting, unmounting and checking of cold disks by the system's own tools. Needs root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import trio

from glacier.protocol import FsckReport
from glacier.shelf import VolumeShelf
from node.errors import Busy, ConfigError, DiskFailed, VolumeForeign

MOUNT_OPTIONS = "noatime,nodev,nosuid,noexec,errors=remount-ro"
"""errors: an ext4 that met an error is written no more, and the freezer's next write says so."""
FILE_SYSTEM = "ext4"
RELEASE_S = 10.0
"""How long a file system may be busy after its last file was closed: a process that was just killed lets go by then."""
RETRY_S = 0.2
OUTPUT_BYTES_MAX = 1 << 16
_E2FSCK_CLEAN, _E2FSCK_REPAIRED = 0, 1
_E2FSCK_LEFT = 4
"""Exit codes that say something of the file system; e2fsck(8). Above are failures of the check itself."""


class CommandFailed(DiskFailed):
    """A tool ended with an error. code: its exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


async def run(*command: str) -> str:
    """What the tool said. Raises: CommandFailed, ConfigError when it isn't installed."""
    try:
        done = await trio.run_process(list(command), capture_stdout=True, stderr=subprocess.STDOUT, check=False)
    except FileNotFoundError as error:
        raise ConfigError(f"{command[0]} is not installed; boards need mount, util-linux and e2fsprogs") from error
    text = done.stdout[-OUTPUT_BYTES_MAX:].decode(errors="replace").strip()
    if done.returncode != 0:
        raise CommandFailed(f"{command[0]}: {text or f'exit code {done.returncode}'}", done.returncode)
    return text


class Mounts:
    """Where the disks of a board are mounted: FOLDER/disk-<number>."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self._folder = folder.resolve()
        self._namespace = namespace

    def __repr__(self) -> str:
        return f"<Mounts {self._folder}>"

    def where(self, disk: int) -> Path:
        return self._folder / f"disk-{disk:02}"

    async def mount(self, disk: int, device: str, volume: str) -> VolumeShelf:
        """Raises: DiskFailed, VolumeForeign, VolumeNotFound; it is not mounted then."""
        path = self.where(disk)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if str(path) not in mounted():
            await run("mount", "-t", FILE_SYSTEM, "-o", MOUNT_OPTIONS, device, str(path))
        try:
            return await VolumeShelf.at(path, self._namespace, volume)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.unmount(disk)
            raise

    async def unmount(self, disk: int) -> None:
        """Raises: Busy when somebody keeps a file open there, DiskFailed."""
        await unmount(str(self.where(disk)))

    async def fsck(self, device: str, *, repair: bool) -> FsckReport:
        """Raises: DiskFailed when the check itself fails."""
        try:
            text = await run("e2fsck", "-f", "-p" if repair else "-n", device)
            code = _E2FSCK_CLEAN
        except CommandFailed as error:
            if error.exit_code & ~(_E2FSCK_REPAIRED | _E2FSCK_LEFT):
                raise
            text, code = str(error), error.exit_code
        return FsckReport(clean=not code & _E2FSCK_LEFT, repaired=bool(code & _E2FSCK_REPAIRED), text=text)


async def unmount_device(device: str) -> None:
    """From wherever it is mounted. Raises: Busy, DiskFailed."""
    for path in _mount_points(device):
        await unmount(path)


async def unmount(path: str) -> None:
    """Writes out and unmounts; nothing when it is not mounted. Raises: Busy, DiskFailed."""
    with trio.move_on_after(RELEASE_S):
        while path in mounted():
            try:
                await run("umount", path)
            except CommandFailed as error:
                if "busy" not in str(error):
                    raise
            else:
                continue
            await trio.sleep(RETRY_S)
        return
    raise Busy(f"{path} is in use by another process; `fuser -vm {path}` says which")


def mounted() -> dict[str, str]:
    """Mount points of this process's view, with the device behind each. Source: proc_pid_mountinfo(5)."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split(" ")
        found[_unescaped(words[4])] = _unescaped(words[words.index("-") + 2])
    return found


def _mount_points(device: str) -> list[str]:
    real = os.path.realpath(device)
    return [path for path, source in mounted().items() if os.path.realpath(source) == real]


def _unescaped(text: str) -> str:
    """Blanks and the like stand there as three octal digits."""
    return text.encode().decode("unicode_escape").encode("latin-1").decode(errors="replace") if "\\" in text else text


async def check_label(device: str, label: str) -> None:
    """Raises: VolumeForeign when another file system is on the device, DiskFailed when none that can be read is."""
    found = await run("blkid", "--probe", "--output", "value", "--match-tag", "LABEL", device)
    if found != label:
        raise VolumeForeign(f"{device} is labelled {found!r}, not {label!r}")
