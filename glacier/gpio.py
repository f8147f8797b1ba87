"""A board whose power lines are GPIO lines, as the MrFreeze's: libgpiod switches, real block devices answer.

A line keeps its level only as long as its process holds it. A freezer that dies may let its disks fall asleep; the next one unmounts what
is there still and then takes all lines low, so all agree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from glacier.filesystem import Mounts, check_label, unmount_device
from glacier.power import Layout, Meter
from glacier.protocol import FsckReport
from glacier.shelf import VolumeShelf
from node.errors import ConfigError, DiskFailed, FrazilError

POLL_S = 0.25
SETTLE_S = 1.0
"""Between taking a block device from the kernel and taking its power: its heads are parked by then."""
CONSUMER = "frazil freezer"


@dataclass(frozen=True, slots=True)
class GpioDisk:
    """line: name of the power line, or its number on the chip;  device: by path, so that it means a slot;  label: of the file system."""

    line: str
    device: Path
    label: str = ""


class Lines(Protocol):
    """Power lines by name. The seam to libgpiod: all that the board needs of it."""

    def set(self, line: str, *, on: bool) -> None:
        """Raises: OSError."""

    def get(self, line: str) -> bool:
        """The level as it is. Raises: OSError."""

    def close(self) -> None: ...


class GpiodLines:
    """Lines of one chip through libgpiod (protocol: Lines). All are taken low when they are requested."""

    def __init__(self, chip: str, lines: Sequence[str], *, active_low: bool) -> None:
        """Raises: ConfigError (no binding, no chip, no such line, or another process holds one)."""
        try:
            import gpiod
            from gpiod.line import Direction, Value
        except ImportError as error:
            raise ConfigError("boards with GPIO lines need the Python binding of libgpiod: pip install 'frazil[gpio]'") from error
        self._active, self._inactive = Value.ACTIVE, Value.INACTIVE
        settings = gpiod.LineSettings(direction=Direction.OUTPUT, output_value=Value.INACTIVE, active_low=active_low)
        try:
            names = {line: int(line) if line.isdigit() else line for line in lines}
            self._request = gpiod.request_lines(chip, consumer=CONSUMER, config={tuple(names.values()): settings})
        except (OSError, ValueError) as error:
            raise ConfigError(f"the power lines of {chip} can't be taken: {error}") from error
        self._names = names

    def __repr__(self) -> str:
        return f"<GpiodLines {len(self._names)}>"

    def set(self, line: str, *, on: bool) -> None:
        self._request.set_value(self._names[line], self._active if on else self._inactive)

    def get(self, line: str) -> bool:
        return bool(self._request.get_value(self._names[line]) == self._active)

    def close(self) -> None:
        self._request.release()


class GpioBoard:
    """A board (protocol: glacier.board.Board)."""

    def __init__(
        self,
        layout: Layout,
        meter: Meter,
        disks: Mapping[int, GpioDisk],
        lines: Lines,
        *,
        mounts: Mounts,
        now_us: Callable[[], int],
        rescan: Sequence[Path] = (),
    ) -> None:
        """rescan: files of SCSI hosts that don't notice by themselves that a disk came (/sys/class/scsi_host/host0/scan)."""
        self.layout = layout
        self.meter = meter
        self._disks = disks
        self._lines = lines
        self._mounts = mounts
        self._now_us = now_us
        self._rescan = rescan

    def __repr__(self) -> str:
        return f"<GpioBoard {self._lines!r} {self.meter!r}>"

    async def power_up(self, disk: int) -> None:
        plan = self._disks[disk]
        self.meter.on(disk, self._now_us())
        self._lines.set(plan.line, on=True)
        while not plan.device.exists():
            await trio.sleep(POLL_S)
            for host in self._rescan:
                host.write_text("- - -")

    async def mount(self, disk: int, volume: str) -> VolumeShelf:
        plan = self._disks[disk]
        if plan.label:
            await check_label(str(plan.device), plan.label)
        return await self._mounts.mount(disk, str(plan.device), volume)

    async def unmount(self, disk: int) -> None:
        await self._mounts.unmount(disk)

    async def fsck(self, disk: int, *, repair: bool) -> FsckReport:
        return await self._mounts.fsck(str(self._disks[disk].device), repair=repair)

    async def power_down(self, disk: int) -> None:
        plan = self._disks[disk]
        if plan.device.exists():
            remove_device(plan.device)
            await trio.sleep(SETTLE_S)
        self._lines.set(plan.line, on=False)
        if self._lines.get(plan.line):
            raise DiskFailed(f"power line {plan.line} stays on")
        self.meter.off(disk, self._now_us())

    async def clean(self) -> None:
        failure: FrazilError | OSError | None = None
        for disk, plan in self._disks.items():
            try:
                await unmount_device(str(plan.device))
                await self.power_down(disk)
            except (FrazilError, OSError) as error:
                failure = error
        if failure is not None:
            raise failure


async def let_go(disks: Iterable[GpioDisk]) -> None:
    """Before the lines are requested, which takes the power away: nothing is mounted any more. Raises: Busy, DiskFailed."""
    for disk in disks:
        if disk.device.exists():
            await unmount_device(str(disk.device))
            remove_device(disk.device)


def remove_device(device: Path, sysfs: Path = Path("/sys/class/block")) -> None:
    """Has the kernel flush and forget a SCSI disk before its power goes; other block devices have no such switch.

    Source: Documentation/scsi, "delete". Raises: OSError.
    """
    name = Path(os.path.realpath(device)).name
    block = Path(os.path.realpath(sysfs / name))
    for folder in (block, block.parent):  # a partition's disk is the folder above
        switch = folder / "device" / "delete"
        if switch.exists():
            switch.write_text("1")
            return
