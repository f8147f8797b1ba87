"""What a bus does next: a pure function of what waits and of which disk is powered.

Theory of operation. One disk of a bus spins at a time, and changing it costs as much as reading two gigabytes. So everything that waits for
a disk is done in one session, however unequal its urgency, and what is not urgent waits for a session that something else begins:

    ripe      a job that waited `hold_s`, or one of a heap of `batch_bytes`: it may have a disk powered on
    pressing  a job that waited `patience_s`: a disk with only less urgent work is left for it
    overdue   a job that waited `bound_s`: it counts as STANDARD, so that nothing waits for ever behind what is more urgent
    starved   a job that waited STARVED_BOUNDS times as long, as when something EXPEDITED always waits: of TURNS turns of TURN_S one is
              its own, in which it counts as EXPEDITED. In all turns it would be what is EXPEDITED that waits, once there is too much to do

A session is gated: it ends, if something presses elsewhere, with what waited when it began; what came to the powered disk later must not
keep the others waiting. So each session is finite, every pressing disk gets its turn, and a restore of everything visits each disk once.
Which disk is next: the most urgent ripe kind; then the one whose thaws waited longest together for each second the session will take.

Rejected: the most requests first (starves a lone request; three times as many power cycles on a day of mixed load), a fixed round over all
disks (spins disks for one deletion), leaving a disk as soon as something more urgent comes (each interruption is paid twice).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf

from glacier.backlog import THAWS, Backlog, Job, Kind, Waiting
from glacier.election import Outlook

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
STARVED_BOUNDS = 2.0
TURNS = 4
TURN_S = 600.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How long jobs of one kind may wait for what: see above. batch_bytes: of one kind on one disk."""

    hold_s: float
    patience_s: float
    bound_s: float
    batch_bytes: float = inf


# Tried in the simulator: holding STANDARD for a minute saves 2 % of the power cycles of a day and doubles the median wait.
DEFAULT_TERMS: Mapping[Kind, Terms] = {
    Kind.EXPEDITED: Terms(0.0, 15.0, 60.0),
    Kind.STANDARD: Terms(0.0, 240.0, HOUR_S),
    Kind.BULK: Terms(3 * HOUR_S, 4 * HOUR_S, 8 * HOUR_S),
    Kind.FREEZE: Terms(4 * HOUR_S, 6 * HOUR_S, DAY_S, batch_bytes=64e9),
    Kind.DELETE: Terms(7 * DAY_S, 7 * DAY_S, 14 * DAY_S),
    Kind.VERIFY: Terms(7 * DAY_S, 7 * DAY_S, 14 * DAY_S),
}


@dataclass(frozen=True, slots=True)
class Rates:
    """What the hardware takes. spin_up_s: from power-on to mounted; spin_down_s: from unmounting to off; seek_s: for each job."""

    spin_up_s: float = 15.0
    spin_down_s: float = 3.0
    seek_s: float = 0.05
    read_bytes_s: float = 150e6
    write_bytes_s: float = 60e6

    @property
    def switch_s(self) -> float:
        return self.spin_up_s + self.spin_down_s

    def service_s(self, kind: Kind, count: int, size: int) -> float:
        """Time on the disk for `count` jobs of `size` bytes together."""
        if kind is Kind.DELETE:
            return count * self.seek_s
        return count * self.seek_s + size / (self.write_bytes_s if kind is Kind.FREEZE else self.read_bytes_s)


DEFAULT_RATES = Rates()


@dataclass(frozen=True, slots=True)
class Bus:
    """disk: the one that is powered and mounted; since_s: since when; busy_s: when it last ended a job (or `since_s`).

    away: disks that can't be powered now; their jobs wait.
    """

    disk: int | None = None
    since_s: float = 0.0
    busy_s: float = 0.0
    away: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Run:
    job: Job


@dataclass(frozen=True, slots=True)
class Power:
    """Switch to this disk."""

    disk: int


@dataclass(frozen=True, slots=True)
class Off:
    """Nothing has been done on the powered disk for a while."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to do before this time, or before another job comes."""

    until_s: float


Action = Run | Power | Off | Rest
Decide = Callable[[Backlog, Bus, float], Action]


@dataclass(frozen=True, slots=True)
class Scheduler:
    """least_s: a session's least length while it has work that nobody EXPEDITED waits behind; idle_s: until an idle disk is powered off."""

    terms: Mapping[Kind, Terms] = field(default_factory=lambda: DEFAULT_TERMS)
    rates: Rates = DEFAULT_RATES
    least_s: float = 60.0
    idle_s: float = 60.0

    def __call__(self, backlog: Backlog, bus: Bus, now_s: float) -> Action:
        job = self._first(backlog, bus.disk, now_s) if bus.disk is not None else None
        if job is not None and self._stays(job, bus, self._pressing(backlog, bus, now_s), now_s):
            return Run(job)
        ranks = [rank for disk in backlog.disks if disk != bus.disk and disk not in bus.away for rank in self._rank(backlog, disk, now_s)]
        if ranks:
            return Power(min(ranks)[2])
        rest_s = self._next_ripe(backlog, bus)
        if bus.disk is not None:
            off_s = bus.busy_s + self.idle_s
            return Off() if now_s >= off_s else Rest(min(off_s, rest_s))
        return Rest(rest_s)

    def _stays(self, job: Job, bus: Bus, pressing: Kind | None, now_s: float) -> bool:
        """Whether the powered disk's next job is done before the disk is left."""
        if pressing is None:
            return True
        gated = job.at_s <= bus.since_s
        if pressing is Kind.EXPEDITED:
            return self._urgency(job.kind, job.at_s, now_s) is Kind.EXPEDITED and gated
        if now_s < bus.since_s + self.least_s:
            return True
        return gated and self._urgency(job.kind, job.at_s, now_s) <= pressing

    def _first(self, backlog: Backlog, disk: int, now_s: float) -> Job | None:
        """The most urgent job of a disk, of those the oldest. What is overdue counts here as it does elsewhere: else two disks whose jobs
        are all overdue would be left for each other, and nothing done on either. And it goes before what has come since."""
        kinds = backlog.disks.get(disk)
        if not kinds:
            return None
        kind = min(kinds, key=lambda kind: (self._urgency(kind, kinds[kind].oldest_s, now_s), kinds[kind].oldest_s, kind))
        return next(iter(kinds[kind].jobs.values()))

    def _pressing(self, backlog: Backlog, bus: Bus, now_s: float) -> Kind | None:
        """The most urgent kind that presses on another disk."""
        found: Kind | None = None
        for disk, kinds in backlog.disks.items():
            if disk == bus.disk or disk in bus.away:
                continue
            for kind, waiting in kinds.items():
                if now_s >= waiting.oldest_s + self.terms[kind].patience_s:
                    urgency = self._urgency(kind, waiting.oldest_s, now_s)
                    found = urgency if found is None else min(found, urgency)
        return found

    def _rank(self, backlog: Backlog, disk: int, now_s: float) -> list[tuple[Kind, float, int]]:
        """Its place among the disks that may be powered on, the least first; nothing when no job of it is ripe."""
        kinds = backlog.disks[disk]
        ripe = {kind: waiting for kind, waiting in kinds.items() if self._is_ripe(kind, waiting, now_s)}
        if not ripe:
            return []
        session_s = self.rates.switch_s + sum(self.rates.service_s(kind, len(each), each.size) for kind, each in kinds.items())
        waited_s = sum(each.age_s(now_s) for kind, each in kinds.items() if kind in THAWS or kind in ripe)
        return [(min(self._urgency(kind, waiting.oldest_s, now_s) for kind, waiting in ripe.items()), -waited_s / session_s, disk)]

    def _urgency(self, kind: Kind, oldest_s: float, now_s: float) -> Kind:
        bound_s = self.terms[kind].bound_s
        if now_s >= oldest_s + STARVED_BOUNDS * bound_s and now_s // TURN_S % TURNS == 0:
            return Kind.EXPEDITED
        return min(kind, Kind.STANDARD) if now_s >= oldest_s + bound_s else kind

    def _is_ripe(self, kind: Kind, waiting: Waiting, now_s: float) -> bool:
        terms = self.terms[kind]
        is_held = (
            waiting.oldest_s <= now_s < waiting.oldest_s + terms.hold_s
        )  # what comes from the future waited before a clock was set back
        return not is_held or waiting.size >= terms.batch_bytes

    def _next_ripe(self, backlog: Backlog, bus: Bus) -> float:
        """When the next job becomes ripe without any other coming."""
        return min(
            (
                waiting.oldest_s + self.terms[kind].hold_s
                for disk, kinds in backlog.disks.items()
                if disk not in bus.away
                for kind, waiting in kinds.items()
            ),
            default=inf,
        )


def outlook(backlog: Backlog, bus: Bus, rates: Rates, disks: Iterable[int]) -> dict[int, Outlook]:
    """What a thaw from each disk would cost now."""
    thaws = [(kind, each) for kinds in backlog.disks.values() for kind, each in kinds.items() if kind in THAWS]
    wait_s = sum(rates.service_s(kind, len(each), each.size) for kind, each in thaws)
    found = {}
    for disk in disks:
        waiting = any(kind in THAWS for kind in backlog.disks.get(disk, ()))
        found[disk] = Outlook(0, 0.0) if disk == bus.disk else Outlook(0 if waiting else 1, wait_s)
    return found
