"""A board of loop devices: each disk an image file with ext4, attached when it is switched on, so that a sleeping one can't be read.

DIRECTORY/disk-00.img    the disk
DIRECTORY/disk-00.dead   when this file is there, the disk does not come up: for demonstrations and tests
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import trio

from glacier.filesystem import RELEASE_S, RETRY_S, CommandFailed, Mounts, run, unmount_device
from glacier.power import Layout, Meter
from glacier.protocol import FsckReport
from glacier.shelf import VolumeShelf
from node.errors import ConfigError, DiskFailed, FrazilError

LABEL = "ice-{:02}"


class LoopBoard:
    """A board (protocol: glacier.board.Board)."""

    def __init__(
        self, layout: Layout, meter: Meter, *, directory: Path, mounts: Mounts, spin_up_s: float, now_us: Callable[[], int]
    ) -> None:
        self.layout = layout
        self.meter = meter
        self._directory = directory.resolve()
        self._mounts = mounts
        self._spin_up_s = spin_up_s
        self._now_us = now_us

    def __repr__(self) -> str:
        return f"<LoopBoard {self._directory} {self.meter!r}>"

    def image(self, disk: int) -> Path:
        return self._directory / f"disk-{disk:02}.img"

    async def make_images(self, disk_bytes: int) -> None:
        """Formats those that are missing. Raises: ConfigError, DiskFailed."""
        if os.geteuid() != 0:
            raise ConfigError("a board of loop devices needs root")
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for disk in self.layout.disks:
            if not self.image(disk).exists():
                await self._make_image(disk, disk_bytes)

    async def _make_image(self, disk: int, disk_bytes: int) -> None:
        """Blocks of 4 KiB also for small ones: with less there is no room for a record in the attributes."""
        temporary = self.image(disk).with_suffix(".new")
        with temporary.open("wb") as file:
            file.truncate(disk_bytes)
        options = ("-b", "4096", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-L", LABEL.format(disk))
        await run("mkfs.ext4", "-q", "-F", *options, str(temporary))
        temporary.rename(self.image(disk))

    async def power_up(self, disk: int) -> None:
        self.meter.on(disk, self._now_us())
        await trio.sleep(self._spin_up_s)
        if self.image(disk).with_suffix(".dead").exists():
            await trio.sleep_forever()
        if not self._devices(disk):
            await run("losetup", "--find", str(self.image(disk)))

    async def mount(self, disk: int, volume: str) -> VolumeShelf:
        return await self._mounts.mount(disk, self._device(disk), volume)

    async def unmount(self, disk: int) -> None:
        await self._mounts.unmount(disk)

    async def fsck(self, disk: int, *, repair: bool) -> FsckReport:
        return await self._mounts.fsck(self._device(disk), repair=repair)

    async def power_down(self, disk: int) -> None:
        """The kernel detaches a device that is still mounted somewhere later, when it isn't any more: only then it has no power."""
        with trio.move_on_after(RELEASE_S):
            while devices := self._devices(disk):
                for device in devices:
                    try:
                        await run("losetup", "--detach", device)
                    except CommandFailed:  # detached meanwhile, or still busy: looked at again
                        continue
                if self._devices(disk):
                    await trio.sleep(RETRY_S)
            self.meter.off(disk, self._now_us())
            return
        raise DiskFailed(f"{self.image(disk)} stays attached as {', '.join(self._devices(disk))}; `fuser -vm` it to see who uses it")

    async def clean(self) -> None:
        failure: FrazilError | None = None
        for disk in self.layout.disks:
            try:
                for device in self._devices(disk):
                    await unmount_device(device)
                await self.power_down(disk)
            except FrazilError as error:
                failure = error
        if failure is not None:
            raise failure

    def _device(self, disk: int) -> str:
        devices = self._devices(disk)
        if not devices:
            raise DiskFailed(f"{self.image(disk)} is not attached")
        return devices[0]

    def _devices(self, disk: int) -> list[str]:
        """Loop devices over the disk's image, whoever attached them. Source: sysfs, /sys/block/loop*/loop/backing_file."""
        image = str(self.image(disk))
        found = []
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            try:
                if backing.read_text().rstrip("\n") == image:
                    found.append(f"/dev/{backing.parts[3]}")
            except OSError:  # detached since it was listed
                continue
        return found
