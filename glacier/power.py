"""Who may have power, and who had it: the budget that nothing oversteps, and the board's own record. No trio, no hardware."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from node.errors import DiskNotFound, PowerBudgetSpent

LOG_BYTES_MAX = 8 << 20
"""A record of this size is put aside (one is kept) and a new one begun: some 80,000 switchings."""
OLD_SUFFIX = ".old"


@dataclass(frozen=True, slots=True)
class Layout:
    """Which disk is on which bus; the numbers are unique on the board."""

    board: str
    buses: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        disks = self.disks
        if not disks or len(set(disks)) != len(disks) or not all(0 <= disk < 1 << 16 for disk in disks):
            raise ValueError("a board has disks, each with a number of its own from 0 to 65535")

    @property
    def disks(self) -> tuple[int, ...]:
        return tuple(disk for bus in self.buses for disk in bus)

    def bus_of(self, disk: int) -> int:
        """Raises: DiskNotFound."""
        for number, disks in enumerate(self.buses):
            if disk in disks:
                return number
        raise DiskNotFound(f"board {self.board} has no disk {disk}")


@dataclass(frozen=True, slots=True)
class Budget:
    """How many disks may have power at a time."""

    bus: int = 1
    board: int = 2

    def __post_init__(self) -> None:
        if not 1 <= self.bus <= self.board:
            raise ValueError("at least one disk per bus may have power, and the board as many as one bus")


class Grants:
    """Who may have power now. A disk that may is counted from before its switch is closed until it is surely open again."""

    def __init__(self, layout: Layout, budget: Budget) -> None:
        self._bus = {disk: layout.bus_of(disk) for disk in layout.disks}
        self._budget = budget
        self.granted: set[int] = set()

    def __repr__(self) -> str:
        return f"<Grants {sorted(self.granted)} of {self._budget}>"

    def take(self, disk: int) -> None:
        """Atomic: nothing awaits in here. Raises: PowerBudgetSpent; nothing is granted then."""
        assert disk not in self.granted, f"disk {disk} has its grant already"
        beside = sorted(other for other in self.granted if self._bus[other] == self._bus[disk])
        if len(beside) >= self._budget.bus:
            raise PowerBudgetSpent(f"disk {disk} must wait: bus {self._bus[disk]} powers {_words(beside)}, {self._budget.bus} at a time")
        if len(self.granted) >= self._budget.board:
            raise PowerBudgetSpent(
                f"disk {disk} must wait: the board powers {_words(sorted(self.granted))}, {self._budget.board} at a time"
            )
        self.granted.add(disk)

    def give_back(self, disk: int) -> None:
        self.granted.discard(disk)


def _words(disks: list[int]) -> str:
    return f"disk{'s' if len(disks) > 1 else ''} {', '.join(map(str, disks))}"


class Switching(msgspec.Struct, frozen=True):
    """A line of the board's record. together: the disks with power from then on."""

    time_us: int
    disk: int
    on: bool
    together: tuple[int, ...]


class Meter:
    """What the board itself saw: called right before a switch is closed and right after it is open. It refuses nothing and forgets nothing.

    The record is a file of JSON lines, written before the switch is touched, so it outlives whoever is killed in between.
    """

    def __init__(self, layout: Layout, path: Path | None = None) -> None:
        """path None: in memory only. Blocking. Raises: OSError."""
        self._layout = layout
        self._path = path
        self._file: IO[bytes] | None = None
        self.powered: set[int] = set()
        self.together_max: Counter[int] = Counter()
        self.board_max = 0
        self.cycles: Counter[int] = Counter()
        if path is not None:
            for switching in read_record(path):
                self._count(switching)
            self._file = path.open("ab", buffering=0)
            self._file.truncate(_whole_lines(path))  # or the next line would go on where a killed process stopped
            self.powered &= set(layout.disks)

    def __repr__(self) -> str:
        return f"<Meter powered={sorted(self.powered)} most={dict(self.together_max)} board={self.board_max}>"

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def on(self, disk: int, now_us: int) -> None:
        """Raises: OSError when it can't be recorded: then the switch must stay open."""
        self._note(Switching(now_us, disk, True, tuple(sorted(self.powered | {disk}))))

    def off(self, disk: int, now_us: int) -> None:
        if disk in self.powered:
            self._note(Switching(now_us, disk, False, tuple(sorted(self.powered - {disk}))))

    def _note(self, switching: Switching) -> None:
        if self._file is not None and self._path is not None:
            if self._file.tell() >= LOG_BYTES_MAX:
                self._file.close()
                os.replace(self._path, self._path.with_name(self._path.name + OLD_SUFFIX))
                self._file = self._path.open("ab", buffering=0)
            self._file.write(msgspec.json.encode(switching) + b"\n")
        self._count(switching)

    def _count(self, switching: Switching) -> None:
        self.powered = set(switching.together)
        if switching.on:
            self.cycles[switching.disk] += 1
            self.board_max = max(self.board_max, len(self.powered))
            for bus, number in buses_of(self._layout, switching.together).items():
                self.together_max[bus] = max(self.together_max[bus], number)


def _whole_lines(path: Path) -> int:
    """Bytes up to the last newline."""
    return path.read_bytes().rfind(b"\n") + 1


def buses_of(layout: Layout, disks: Iterable[int]) -> Mapping[int, int]:
    """How many of the disks are on each bus; those the layout no longer knows count nowhere."""
    bus_of = {disk: number for number, bus in enumerate(layout.buses) for disk in bus}
    return Counter(bus_of[disk] for disk in disks if disk in bus_of)


def read_record(path: Path) -> list[Switching]:
    """All that is recorded, oldest first; a torn last line is left out. Raises: OSError."""
    found: list[Switching] = []
    for part in (path.with_name(path.name + OLD_SUFFIX), path):
        if part.exists():
            lines = part.read_bytes().split(b"\n")
            found += [msgspec.json.decode(line, type=Switching) for line in lines[:-1]]
    return found
