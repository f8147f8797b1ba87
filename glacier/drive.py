"""A disk of the board as its freezer keeps it: state, grants to try it, counters that survive."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import trio

from glacier.board import Shelf
from glacier.protocol import DiskReport, DiskState
from glacier.transfer import Arrival
from node.errors import ConfigError, DiskAsleep, DiskFailed
from rawx.attributes import sync_folder, write_all_bytes

STARTS_MAX = 3
"""Failed starts in a row after which a disk is left alone until somebody forces it."""
REST_S = 600.0
"""After a failed start, twice as long after the next."""
NOTES_VERSION = 1


class Notes(msgspec.Struct, omit_defaults=True):
    """What is kept of one disk across restarts; the same words as DiskReport.

    failures       failed starts in a row;  rest_until_us: not tried before
    powered_us     time with power, without the current stretch
    """

    power_cycles: int = 0
    powered_us: int = 0
    failed_starts: int = 0
    failures: int = 0
    rest_until_us: int = 0
    read_errors: int = 0
    write_errors: int = 0
    checksum_errors: int = 0
    bytes_total: int = 0
    bytes_free: int = 0
    measured_us: int = 0
    volume: str = ""
    problem: str = ""
    last_error: str = ""
    last_error_us: int = 0


class _File(msgspec.Struct):
    disks: dict[int, Notes]
    v: int = NOTES_VERSION


def _pause_us(failures: int) -> int:
    """After so many failed starts in a row."""
    return round(REST_S * 1e6) << min(max(failures - 1, 0), STARTS_MAX)


class Drive:
    """One disk. `lock` is held by whoever changes its power; `transfers` are those that use it while it is on.

    stuck: it has power that could not be taken away
    """

    def __init__(self, number: int, bus: int, notes: Notes) -> None:
        self.number = number
        self.bus = bus
        self.notes = notes
        self.lock = trio.Lock()
        self.shelf: Shelf | None = None
        self.transfers: set[trio.CancelScope] = set()
        self.transfers_over = trio.Event()
        self.since_us = 0
        self.powered_since_us = 0
        self.ready_at_us = 0
        self.stuck = False
        self.cut: Arrival | None = None
        """A chunk whose way in broke; it waits for its next try for as long as the disk has power, or until another is cut."""
        self.state = DiskState.FAILED if notes.failures >= STARTS_MAX else DiskState.OFF

    def __repr__(self) -> str:
        return f"<Drive {self.number} {self.state.name} transfers={len(self.transfers)} {self.notes.problem!r}>"

    def enter(self, state: DiskState, now_us: int) -> None:
        self.state = state
        self.since_us = now_us

    def admit_start(self, now_us: int) -> None:
        """Raises: DiskFailed when it should be left alone."""
        notes = self.notes
        if self.stuck:
            raise DiskFailed(f"disk {self.number} {notes.problem}; clean the bus")
        if notes.failures >= STARTS_MAX:
            raise DiskFailed(f"disk {self.number} did not come up {notes.failures} times and is left alone: {notes.problem}")
        if rest_us := self._rest_us(now_us):
            raise DiskFailed(f"disk {self.number} did not come up ({notes.problem}); it may be tried again in {rest_us / 1e6:.0f} s")

    def started(self, shelf: Shelf, now_us: int) -> None:
        self.shelf = shelf
        self.notes.volume = shelf.volume
        self.notes.failures = 0
        self.notes.rest_until_us = 0
        self.notes.problem = ""
        self.enter(DiskState.ON, now_us)

    def failed(self, problem: str, now_us: int) -> None:
        """A start that failed."""
        notes = self.notes
        notes.failed_starts += 1
        notes.failures += 1
        notes.problem = problem
        self.met(problem, now_us)
        notes.rest_until_us = now_us + _pause_us(notes.failures)

    def _rest_us(self, now_us: int) -> int:
        """How long it is not to be tried yet; no longer than it was to be at first, else the clock was set back since."""
        left_us = self.notes.rest_until_us - now_us
        return left_us if 0 < left_us <= _pause_us(self.notes.failures) else 0

    def met(self, error: str, now_us: int) -> None:
        """Something went wrong on it."""
        self.notes.last_error, self.notes.last_error_us = error, now_us

    def keeps_power(self, why: str, now_us: int) -> None:
        """It should have lost it."""
        self.met(f"can't be switched off: {why}", now_us)
        self.shelf = None
        self.stuck = True
        self.notes.problem = f"can't be switched off: {why}"
        self.enter(DiskState.FAILED, now_us)

    def lost_power(self, now_us: int) -> None:
        if self.stuck:
            self.stuck = False
            self.notes.problem = ""
        if self.powered_since_us:
            self.notes.powered_us += now_us - self.powered_since_us
            self.powered_since_us = 0
        self.enter(DiskState.FAILED if self.notes.failures >= STARTS_MAX else DiskState.OFF, now_us)

    def ready(self) -> Shelf:
        """Raises: DiskAsleep, DiskFailed."""
        if self.shelf is None:
            if self.state is DiskState.FAILED:
                raise DiskFailed(f"disk {self.number} failed: {self.notes.problem}")
            raise DiskAsleep(f"disk {self.number} is {self.state.name.lower()}; power it on first")
        return self.shelf

    def report(self, now_us: int) -> DiskReport:
        notes = self.notes
        running_us = now_us - self.powered_since_us if self.powered_since_us else 0
        faults = self.shelf.faults() if self.shelf is not None else None
        return DiskReport(
            disk=self.number,
            state=self.state,
            bytes_total=notes.bytes_total,
            bytes_free=notes.bytes_free,
            measured_us=notes.measured_us,
            since_us=self.since_us,
            ready_ms=max(0, self.ready_at_us - now_us) // 1000 if self.state is DiskState.RISING else 0,
            rest_ms=min(self._rest_us(now_us) // 1000, (1 << 32) - 1),
            power_cycles=notes.power_cycles,
            powered_s=(notes.powered_us + running_us) // 1_000_000,
            failed_starts=notes.failed_starts,
            read_errors=notes.read_errors + (faults.read if faults else 0),
            write_errors=notes.write_errors + (faults.write if faults else 0),
            checksum_errors=notes.checksum_errors + (faults.checksum if faults else 0),
            last_error_us=notes.last_error_us,
            last_error=notes.last_error,
            volume=notes.volume,
            problem=(faults.sick if faults else "") or notes.problem,
        )

    async def drop_cut(self) -> None:
        cut, self.cut = self.cut, None
        if cut is not None:
            await cut.abort()

    def take_faults(self) -> None:
        """Adds what the shelf counted to what is kept; the shelf is not asked again."""
        if self.shelf is not None:
            faults = self.shelf.faults()
            self.notes.read_errors += faults.read
            self.notes.write_errors += faults.write
            self.notes.checksum_errors += faults.checksum
            if faults.sick:
                self.notes.problem = faults.sick
            self.shelf = None


def load_notes(path: Path) -> dict[int, Notes]:
    """Blocking. Raises: ConfigError."""
    try:
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}; move it away to begin with fresh counters") from error
    if file.v != NOTES_VERSION:
        raise ConfigError(f"{path} has version {file.v}, this Frazil knows {NOTES_VERSION}")
    return file.disks


def save_notes(path: Path, notes: dict[int, Notes]) -> None:
    """Whole or not at all, durably. Blocking. Raises: OSError."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptor = os.open(".disks.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640, dir_fd=folder)
        try:
            write_all_bytes(descriptor, msgspec.json.encode(_File(notes)))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(".disks.new", path.name, src_dir_fd=folder, dst_dir_fd=folder)
        sync_folder(folder, ".")
    finally:
        os.close(folder)
