"""The cold tier's boards and queue, as their workers tell of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from glacier.simulation import ON_W
from glacier.worker.protocol import DiskStatus, QueuedJob, Status
from node.text import span_text
from tui.snapshot import BoardView, DiskState, DiskView, WaitingView

HOUR_S = 3600.0
_PRIORITIES = {"expedited": "Expedited", "standard": "Standard", "bulk": "Bulk"}


@dataclass
class Meter:
    """What one sees only by looking on: power-ons of the last hour and energy, since the dashboard was opened."""

    _counts: deque[tuple[float, int]] = field(default_factory=deque)
    _at_s: float | None = None
    watt_hours: float = 0.0

    def look(self, at_s: float, power_ons: int, powered: int) -> int:
        """Power-ons within the last hour."""
        if self._at_s is not None:
            self.watt_hours += powered * ON_W * (at_s - self._at_s) / 3600
        self._at_s = at_s
        self._counts.append((at_s, power_ons))
        while self._counts[0][0] < at_s - HOUR_S:
            self._counts.popleft()
        return max(0, power_ons - self._counts[0][1])


class Meters:
    """One of each board."""

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}

    def boards(self, at_s: float, statuses: Iterable[Status]) -> tuple[BoardView, ...]:
        """statuses: of all buses."""
        buses: dict[str, list[Status]] = {}
        for status in statuses:
            buses.setdefault(status.board, []).append(status)
        return tuple(self._board(at_s, name, found) for name, found in sorted(buses.items()))

    def _board(self, at_s: float, name: str, buses: Sequence[Status]) -> BoardView:
        disks = [disk_view(bus, disk) for bus in buses for disk in bus.disks]
        powered = sum(disk.state in (DiskState.ON, DiskState.BUSY, DiskState.SPINNING_UP) for disk in disks)
        meter = self._meters.setdefault(name, Meter())
        within = meter.look(at_s, sum(bus.power_ons for bus in buses), powered)
        silent = [f"the freezer of bus {bus.bus} does not answer ({bus.doing})" for bus in buses if not bus.connected]
        lost = sum(bus.lost for bus in buses)
        troubles = silent + ([f"{lost:,} chunks were lost"] if lost else [])
        return BoardView(name, tuple(sorted(disks, key=lambda disk: disk.number)), within, meter.watt_hours, "; ".join(troubles))


_STATES = {"rising": DiskState.SPINNING_UP, "on": DiskState.ON, "falling": DiskState.ON, "failed": DiskState.FAILED}


def disk_view(bus: Status, disk: DiskStatus) -> DiskView:
    state, words = _STATES.get(disk.state, DiskState.OFF), [disk.closed]
    if disk.problem:
        state, words = DiskState.FAILED, [disk.problem]
        if disk.rest_s:
            words.append(f"tried again in {span_text(disk.rest_s)}")
    elif disk.doing:
        state, words = DiskState.BUSY, [disk.doing, disk.closed]
    elif disk.last_error and state is not DiskState.OFF:
        words.append(f"last error: {disk.last_error}")
    words += [f"{number:,} {kind} wait" for kind, number in sorted(disk.waiting.items())]
    return DiskView(
        disk.disk,
        bus.bus,
        state,
        disk.total,
        disk.used,
        until_s=disk.ready_s,
        doing=", ".join(filter(None, words)),
        errors=disk.errors,
        cycles=disk.cycles,
        powered_s=disk.powered_s,
    )


def waiting_view(bus: Status, job: QueuedJob, now_us: int) -> WaitingView:
    state = f"failed {job.tries} times: {job.problem}" if job.problem else "waits" if job.disk not in _powered(bus) else "its disk is on"
    return WaitingView(
        f"{bus.board}/{bus.bus}/{job.id}",
        "thaw" if job.kind in _PRIORITIES else job.kind,
        _PRIORITIES.get(job.kind, "-"),
        job.chunk,
        job.size,
        max(0.0, (now_us - job.at_us) / 1e6),
        disk=f"{bus.board}/{job.disk}",
        state=state,
    )


def _powered(bus: Status) -> set[int]:
    return {disk.disk for disk in bus.disks if disk.powered}
