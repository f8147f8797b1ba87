"""A board in virtual time: a trace of requests goes in, power cycles, waiting, time and energy come out. The same seed, the same result.

The archive is filled by the same election that the worker uses, and the buses are driven by the same decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from math import inf
from random import Random
from statistics import median, quantiles

from glacier.backlog import THAWS, Backlog, Job, Kind
from glacier.election import Disk, Outlook, Place, cheapest, elect, is_shunned
from glacier.schedule import DAY_S, DEFAULT_RATES, Bus, Decide, Off, Power, Rates, Rest, Run, outlook
from glacier.trace import Request, object_bytes
from node.errors import ConfigError

HOT_S = DAY_S
"""How long a thawed object stays on the volumes."""
ON_W = 6.0
SPIN_UP_W = 20.0
"""Of one 3.5" disk, spinning and while it speeds up; the board's own share is the same whatever is done."""
FILL = 0.7
"""Share of the disks that the archive fills at the begin."""


@dataclass(frozen=True, slots=True)
class Board:
    """data, parity: of the erasure code. The chunks of an object take the buses in turn, each object beginning with the next bus."""

    buses: int = 2
    disks: int = 28
    data: int = 6
    parity: int = 3
    kin_max: int = 1
    rates: Rates = DEFAULT_RATES


@dataclass(slots=True)
class Archived:
    """An object of the archive. disks: for each position (bus, disk); fragment: bytes of each."""

    fragment: int
    disks: tuple[tuple[int, int], ...]
    hot_until_s: float = -inf
    wanted: _Thaw | None = None


@dataclass(slots=True)
class _Thaw:
    """A restore under way: the requests that wait for it, and the jobs of its fragments that have not begun to come, each with its bus."""

    object: Archived
    kind: Kind
    jobs: dict[int, int] = field(default_factory=dict)
    since: list[tuple[float, Kind]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds until the first byte, of the requests of one kind."""

    count: int
    median_s: float
    p99_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """makespan_s: until the last thaw and freeze was done. on_s: all disks' time under power, spin-up aside."""

    power_cycles: int
    waits: dict[Kind, Waits]
    makespan_s: float
    energy_wh: float
    on_s: float


class Shelves:
    """What lies on which disk; elects."""

    def __init__(self, board: Board, disk_bytes: int) -> None:
        self._board = board
        self._total = disk_bytes
        self._used = [[0] * board.disks for _ in range(board.buses)]
        self._stored = 0

    def store(self, size: int) -> Archived:
        board = self._board
        fragment = -(-size // board.data)
        kin = [[0] * board.disks for _ in range(board.buses)]
        places = []
        for position in range(board.data + board.parity):
            bus = (self._stored + position) % board.buses
            disks = [Disk(number, self._total, self._used[bus][number], kin[bus][number]) for number in range(board.disks)]
            number = elect(disks, fragment, kin_max=board.kin_max)
            if number is None:
                raise ConfigError("the board is full: it needs more disks, or fewer objects")
            self._used[bus][number] += fragment
            kin[bus][number] += 1
            places.append((bus, number))
        self._stored += 1
        return Archived(fragment, tuple(places))


def fill(board: Board, objects: int, random: Random) -> tuple[Shelves, list[Archived]]:
    """An archive, and disks just so large that it fills FILL of them."""
    sizes = [object_bytes(random) for _ in range(objects)]
    chunks, disks = board.data + board.parity, board.buses * board.disks
    disk_bytes = int(sum(-(-size // board.data) for size in sizes) * chunks / (disks * FILL)) + 2 * max(sizes, default=0)
    shelves = Shelves(board, disk_bytes)
    return shelves, [shelves.store(size) for size in sizes]


Choose = Callable[[Sequence[Place], int, dict[tuple[str, int], Outlook]], list[int]]


def data_first(places: Sequence[Place], needed: int, outlook: dict[tuple[str, int], Outlook]) -> list[int]:
    """The fragments that need no decoding, wherever they lie."""
    return [place.position for place in places][:needed]


class _Bus:
    """One bus in virtual time."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        self.state = Bus()
        self.busy = False
        self.wake_s = inf
        self.cycles = 0
        self.on_s = 0.0
        self.on_since_s = 0.0


class Simulation:
    """One run of one way of scheduling."""

    def __init__(self, board: Board, shelves: Shelves, objects: Sequence[Archived], decide: Decide, choose: Choose = cheapest) -> None:
        self._board, self._shelves, self._decide, self._choose = board, shelves, decide, choose
        self._objects = [replace(each) for each in objects]
        self._buses = [_Bus() for _ in range(board.buses)]
        self._thaws: dict[int, _Thaw] = {}
        self._firsts: dict[Kind, list[float]] = {}
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0
        self._last_s = 0.0

    def run(self, trace: Sequence[Request]) -> Outcome:
        """Until nothing waits any more."""
        for request in trace:
            self._at(request.at_s, lambda now_s, request=request: self._arrive(request, now_s))  # type: ignore[misc]
        while self._events:
            now_s, _, event = heappop(self._events)
            event(now_s)
        return self._outcome()

    def _at(self, at_s: float, event: Callable[[float], None]) -> None:
        self._number += 1
        heappush(self._events, (at_s, self._number, event))

    def _arrive(self, request: Request, now_s: float) -> None:
        if request.kind in THAWS:
            self._thaw(self._objects[request.object], request.kind, now_s)
            return
        if request.kind is Kind.FREEZE:
            stored = self._shelves.store(request.size)
            wanted = list(range(len(stored.disks)))
        else:
            stored = self._objects[request.object]
            wanted = list(range(len(stored.disks))) if request.kind is Kind.DELETE else [self._number % len(stored.disks)]
        for position in wanted:
            self._ask(stored, position, request.kind, now_s)

    def _ask(self, stored: Archived, position: int, kind: Kind, now_s: float) -> int:
        bus, disk = stored.disks[position]
        self._number += 1
        number = self._number
        self._buses[bus].backlog.add(Job(number, disk, kind, now_s, stored.fragment))
        self._at(now_s, lambda at_s: self._wake(self._buses[bus], at_s))
        return number

    def _thaw(self, stored: Archived, kind: Kind, now_s: float) -> None:
        if now_s < stored.hot_until_s:
            self._firsts.setdefault(kind, []).append(0.0)
            return
        if stored.wanted is not None:
            stored.wanted.since.append((now_s, kind))
            self._hurry(stored.wanted, kind, now_s)
            return
        board = self._board
        places = [Place(position, (str(bus), disk)) for position, (bus, disk) in enumerate(stored.disks)]
        views: dict[tuple[str, int], Outlook] = {}
        for number, bus in enumerate(self._buses):
            mine = [disk for at, disk in stored.disks if at == number]
            seen = outlook(bus.backlog, bus.state, board.rates, mine)
            for disk, view in seen.items():
                shunned = is_shunned(disk * board.buses + number, board.data, board.data + board.parity)
                views[str(number), disk] = replace(view, shunned=shunned)
        chosen = self._choose(places, board.data, views)
        thaw = stored.wanted = _Thaw(stored, kind, since=[(now_s, kind)])
        for position in chosen:
            number = self._ask(stored, position, kind, now_s)
            thaw.jobs[number] = stored.disks[position][0]
            self._thaws[number] = thaw

    def _hurry(self, thaw: _Thaw, kind: Kind, now_s: float) -> None:
        """Somebody else wants the same, sooner."""
        if kind >= thaw.kind:
            return
        thaw.kind = kind
        for number, at in thaw.jobs.items():
            bus = self._buses[at]
            job = bus.backlog.get(number)
            assert job is not None
            bus.backlog.add(replace(job, kind=kind))
            self._at(now_s, lambda at_s, bus=bus: self._wake(bus, at_s))  # type: ignore[misc]

    def _wake(self, bus: _Bus, now_s: float) -> None:
        if bus.busy:
            return
        action = self._decide(bus.backlog, bus.state, now_s)
        if isinstance(action, Run):
            self._run(bus, action.job, now_s)
        elif isinstance(action, Power):
            self._power(bus, action.disk, now_s)
        elif isinstance(action, Off):
            self._off(bus, now_s)
        elif isinstance(action, Rest) and action.until_s < inf:
            self._at(max(action.until_s, now_s), lambda at_s: self._wake(bus, at_s))

    def _run(self, bus: _Bus, job: Job, now_s: float) -> None:
        rates = self._board.rates
        if job.kind in THAWS:
            self._began(job, now_s + rates.seek_s)
        else:
            self._firsts.setdefault(job.kind, []).append(now_s - job.at_s)
        bus.busy = True

        def done(at_s: float) -> None:
            bus.busy = False
            bus.backlog.discard(job.id)
            bus.state = replace(bus.state, busy_s=at_s)
            if job.kind <= Kind.FREEZE:
                self._last_s = max(self._last_s, at_s)
            self._wake(bus, at_s)

        self._at(now_s + rates.service_s(job.kind, 1, job.size), done)

    def _began(self, job: Job, now_s: float) -> None:
        thaw = self._thaws.pop(job.id)
        del thaw.jobs[job.id]
        if not thaw.jobs:
            thaw.object.wanted, thaw.object.hot_until_s = None, now_s + HOT_S
            for since_s, kind in thaw.since:
                self._firsts.setdefault(kind, []).append(now_s - since_s)

    def _power(self, bus: _Bus, disk: int, now_s: float) -> None:
        rates = self._board.rates
        self._spent(bus, now_s)
        ready_s = now_s + rates.spin_up_s + (rates.spin_down_s if bus.state.disk is not None else 0.0)
        bus.busy, bus.cycles = True, bus.cycles + 1

        def ready(at_s: float) -> None:
            bus.busy, bus.on_since_s = False, at_s
            bus.state = replace(bus.state, disk=disk, since_s=at_s, busy_s=at_s)
            self._wake(bus, at_s)

        self._at(ready_s, ready)

    def _off(self, bus: _Bus, now_s: float) -> None:
        self._spent(bus, now_s)
        bus.busy, bus.state = True, replace(bus.state, disk=None)

        def off(at_s: float) -> None:
            bus.busy = False
            self._wake(bus, at_s)

        self._at(now_s + self._board.rates.spin_down_s, off)

    @staticmethod
    def _spent(bus: _Bus, now_s: float) -> None:
        if bus.state.disk is not None:
            bus.on_s += now_s - bus.on_since_s

    def _outcome(self) -> Outcome:
        cycles = sum(bus.cycles for bus in self._buses)
        on_s = sum(bus.on_s for bus in self._buses)
        energy_ws = cycles * self._board.rates.spin_up_s * SPIN_UP_W + on_s * ON_W
        waits = {kind: _waits(values) for kind, values in sorted(self._firsts.items())}
        assert not any(len(bus.backlog) for bus in self._buses)
        return Outcome(cycles, waits, self._last_s, energy_ws / 3600, on_s)


def _waits(values: list[float]) -> Waits:
    p99_s = quantiles(values, n=100)[98] if len(values) > 1 else values[0]
    return Waits(len(values), median(values), min(p99_s, max(values)), max(values))
