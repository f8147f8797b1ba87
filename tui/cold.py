"""The cold tier's boards and queue, as their workers tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from glacier.simulation import ON_W
from glacier.worker.protocol import ColdDoor, DiskStatus, QueuedJob, Status, Verb
from node.errors import Unavailable
from node.text import bytes_text, span_text
from tui.snapshot import BoardView, BusView, DiskState, DiskView, WaitingView

SOON_S = 1.0
"""What is due sooner is late: an estimate never says so."""
_PRIORITIES = {"expedited": "Expedited", "standard": "Standard", "bulk": "Bulk"}


@dataclass
class Meter:
    """What one sees only by looking on, since the dashboard was opened. first: how often disks had been powered on before."""

    at_s: float
    first: int
    watt_hours: float = 0.0

    def look(self, at_s: float, powered: int) -> None:
        self.watt_hours += powered * ON_W * (at_s - self.at_s) / 3600
        self.at_s = at_s


def named(statuses: Sequence[Status]) -> list[Status]:
    """With boards of one name in several places told apart, as `frazil glacier --bus` takes them: BOARD@PLACE."""
    places: dict[str, set[str]] = {}
    for status in statuses:
        places.setdefault(status.board, set()).add(status.place)
    return [msgspec.structs.replace(each, board=f"{each.board}@{each.place}") if len(places[each.board]) > 1 else each for each in statuses]


class ColdKeys:
    """What keys do to boards: each bus by the name that the last snapshot gave it."""

    def __init__(self) -> None:
        self._doors: dict[str, ColdDoor] = {}

    def __repr__(self) -> str:
        return f"<ColdKeys {sorted(self._doors)}>"

    def learn(self, doors: Iterable[ColdDoor], statuses: Iterable[Status]) -> None:
        """statuses: of the doors, in their order, as `named` returned them."""
        self._doors = {status.name: door for door, status in zip(doors, statuses, strict=True)}

    def _door(self, bus: str) -> ColdDoor:
        found = self._doors.get(bus)
        if found is None:
            raise Unavailable(f"the worker of bus {bus} does not answer now")
        return found

    async def order(self, bus: str, disk: int, verb: Verb) -> str:
        return await self._door(bus).order(disk, verb)

    async def verify(self, bus: str, disk: int) -> str:
        count = await self._door(bus).verify(disk)
        return f"disk {disk}: {count:,} chunks will be read and compared"

    async def pace(self, bus: str, rate_bytes: int) -> str:
        await self._door(bus).pace(float(rate_bytes))
        return f"bus {bus}: " + (f"at most {bytes_text(rate_bytes)} per second" if rate_bytes else "no limit")


class Meters:
    """One of each board."""

    def __init__(self) -> None:
        self._meters: dict[str, Meter] = {}

    def boards(self, at_s: float, statuses: Iterable[Status]) -> tuple[BoardView, ...]:
        """statuses: of all buses, as `named` returned them."""
        buses: dict[str, list[Status]] = {}
        for status in statuses:
            buses.setdefault(status.board, []).append(status)
        return tuple(self._board(at_s, name, found) for name, found in sorted(buses.items()))

    def _board(self, at_s: float, name: str, buses: Sequence[Status]) -> BoardView:
        disks = [disk_view(bus, disk) for bus in buses for disk in bus.disks]
        powered = sum(disk.state in (DiskState.ON, DiskState.BUSY, DiskState.SPINNING_UP) for disk in disks)
        power_ons = sum(bus.power_ons for bus in buses)
        meter = self._meters.setdefault(name, Meter(at_s, power_ons))
        meter.look(at_s, powered)
        silent = [f"the freezer of bus {bus.bus} does not answer ({bus.doing})" for bus in buses if not bus.connected]
        lost = sum(bus.lost for bus in buses)
        troubles = silent + ([f"{lost:,} chunks were lost"] if lost else [])
        views = tuple(BusView(bus.bus, bus.doing, bus.site, bus.rate_bytes) for bus in sorted(buses, key=lambda bus: bus.bus))
        return BoardView(
            name,
            tuple(sorted(disks, key=lambda disk: disk.number)),
            max(0, power_ons - meter.first),
            meter.watt_hours,
            "; ".join(troubles),
            views,
        )


_STATES = {"rising": DiskState.SPINNING_UP, "on": DiskState.ON, "falling": DiskState.ON, "failed": DiskState.FAILED}


def disk_view(bus: Status, disk: DiskStatus) -> DiskView:
    state, words = _STATES.get(disk.state, DiskState.OFF), [disk.closed]
    if disk.problem:
        state, words = DiskState.FAILED, [disk.problem.removeprefix(f"disk {disk.disk}").lstrip(": ")]
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
        note=disk.note,
    )


def waiting_view(bus: Status, job: QueuedJob, now_us: int) -> WaitingView:
    failed = any(disk.disk == job.disk and disk.problem for disk in bus.disks)
    state = "its disk failed" if failed else "its disk is on" if job.disk in _powered(bus) else "waits"
    if job.problem:
        state = f"failed {job.tries} times: {job.problem}"
    return WaitingView(
        f"{bus.board}/{bus.bus}/{job.id}",
        "thaw" if job.kind in _PRIORITIES else job.kind,
        _PRIORITIES.get(job.kind, "-"),
        job.chunk,
        job.size,
        max(0.0, (now_us - job.at_us) / 1e6),
        job.wait_s if job.wait_s < 0 else max(job.wait_s, SOON_S),
        disk=f"{bus.board}/{job.disk}",
        state=state,
    )


def _powered(bus: Status) -> set[int]:
    return {disk.disk for disk in bus.disks if disk.powered}
