"""Which volumes take the chunks of a metachunk: drawn by lot, weighted by free space or score. Pure: the random source is an argument.

Theory of operation. Over hosts a draw must not put too much in one place. All rules are limits on how many chunks one place of a level may
have: a least distance d between any two chunks is a limit of one per place at the level where places are d apart. Strict limits hold.
Wished ones (fair limits, wished distance, and an even spread over all places that the pool has) are raised together, one chunk at a time,
until enough volumes are found; where that went beyond the wishes `judge` tells from the volumes, and it is kept with the metachunk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from node.errors import NotEnoughServices
from store.location import LEVELS, Location

FREE_BYTES_MIN = 256 << 20
"""A volume with less takes no new chunks: the file system needs room for records, journals and what is in flight."""
FREE_SHARE_MIN = 0.02
"""The same as a share of the volume, which wins where it is smaller (small volumes)."""
INODES_FREE_MIN = 100
NOWHERE = Location(("",) * len(LEVELS))


@dataclass(frozen=True, slots=True)
class Candidate:
    """weight: the likelihood of being drawn, relative to the others; 0: takes no chunks. location, slots: where hosts are told apart.

    site: the data centre of the boards that its chunks go to when they are cold, "" = it has none
    """

    volume: str
    weight: float
    location: Location = NOWHERE
    slots: frozenset[str] = frozenset()
    site: str = ""


Limits = tuple[int, ...]
"""Chunks of one metachunk that one place may have, per level of store.location.LEVELS; 0: as many as there are."""
UNLIMITED: Limits = (0,) * len(LEVELS)
UNEVEN, NEAR, FALLBACK = 1, 2, 4
"""What `judge` finds: more chunks in one place than is fair; nearer than wished; on volumes of a slot that stood in for another."""


@dataclass(frozen=True, slots=True)
class Target:
    """Some chunks of each metachunk. count: how many, 0 = the rest; slots: the first that has room, "" = any volume."""

    slots: tuple[str, ...] = ("",)
    count: int = 0


@dataclass(frozen=True, slots=True)
class Pool:
    """How a metachunk spreads. distance_min, strict: always; distance_wished, fair: while it can be had.

    groups: how many places there are per level, those that are down included; for the even spread that is wished anyway
    sites: always, volumes whose boards are in one of these data centres; none: any
    """

    targets: tuple[Target, ...] = (Target(),)
    distance_min: int = 1
    distance_wished: int = 1
    strict: Limits = UNLIMITED
    fair: Limits = UNLIMITED
    groups: tuple[int, ...] = ()
    sites: frozenset[str] = frozenset()

    def takes(self, candidate: Candidate) -> bool:
        """Whether chunks may ever be there."""
        return not self.sites or candidate.site in self.sites

    def means(self, candidate: Candidate) -> bool:
        """Whether chunks should be there: of a slot that comes first, and with boards at the right site."""
        first = {target.slots[0] for target in self.targets}
        return self.takes(candidate) and ("" in first or not first.isdisjoint(candidate.slots))

    def hard(self) -> Limits:
        return _with_distance(self.strict, self.distance_min)

    def wished(self, count: int) -> Limits:
        """For a metachunk of `count` chunks."""
        even = tuple(-(-count // groups) if groups > 1 else 0 for groups in self.groups) or UNLIMITED
        return _with_distance(_tighter(self.fair, even), self.distance_wished)


def _with_distance(limits: Limits, distance: int) -> Limits:
    first = len(LEVELS) - distance
    return tuple(1 if level == first else limit for level, limit in enumerate(limits)) if distance > 0 else limits


def _tighter(one: Limits, other: Limits) -> Limits:
    return tuple(min(pair) if all(pair) else max(pair) for pair in zip(one, other, strict=True))


def weight(bytes_free: int, bytes_total: int, inodes_free: int, *, sick: bool, read_only: bool) -> float:
    """Free bytes in GiB of a volume that can take chunks, else 0."""
    if sick or read_only or inodes_free < INODES_FREE_MIN:
        return 0.0
    if bytes_free < min(FREE_BYTES_MIN, bytes_total * FREE_SHARE_MIN):
        return 0.0
    return bytes_free / (1 << 30)


def draw(candidates: Iterable[Candidate], count: int, random: Random, *, without: Collection[str] = ()) -> list[str]:
    """`count` different volumes, none of `without`: hard, for two chunks of a metachunk on one volume would be lost together.

    Each has the key random ** (1 / weight) and the highest keys win: a weighted draw without replacement in one pass
    (Efraimidis and Spirakis, 2006). Raises: NotEnoughServices.
    """
    keyed = [(random.random() ** (1.0 / each.weight), each.volume) for each in candidates if each.weight > 0 and each.volume not in without]
    if len(keyed) < count:
        raise NotEnoughServices(f"{_needed(count)}, usable for writing: {len(keyed)}")
    keyed.sort(reverse=True)
    return [volume for _, volume in keyed[:count]]


def spread(
    candidates: Iterable[Candidate],
    least: int,
    count: int,
    random: Random,
    pool: Pool,
    *,
    without: Collection[str] = (),
    beside: Sequence[Location] = (),
) -> list[str]:
    """`count` volumes as the pool wishes, or fewer but not less than `least`.

    beside: where other chunks of the same metachunk are. Raises: NotEnoughServices.
    """
    fitting = [each for each in candidates if each.weight > 0 and each.volume not in without and pool.takes(each)]
    keyed = [(random.random() ** (1.0 / each.weight), each) for each in fitting]
    keyed.sort(key=lambda pair: pair[0], reverse=True)
    drawing = _Drawing(pool, count + len(beside), beside)
    ordered = [each for _, each in keyed]
    for target in pool.targets:
        wanted = min(target.count or count, count - len(drawing.chosen))
        for slot in target.slots:
            wanted -= drawing.take([each for each in ordered if not slot or slot in each.slots], wanted)
    if len(drawing.chosen) < least:
        held = f"; {len(ordered)} take chunks, but the pool's limits allow no more of them" if len(ordered) >= least else ""
        held += f"; their boards must be in {' or '.join(sorted(pool.sites))}" if pool.sites else ""
        raise NotEnoughServices(f"{_needed(least)}, usable for writing: {len(drawing.chosen)}{held}")
    return drawing.chosen


class _Drawing:
    """How many chunks each place has got so far."""

    def __init__(self, pool: Pool, count: int, beside: Sequence[Location]) -> None:
        self.chosen: list[str] = []
        self._count = count
        self._hard, self._wished = pool.hard(), pool.wished(count)
        self._tally: Counter[tuple[str, ...]] = Counter()
        for location in beside:
            self._add(location)

    def take(self, ordered: Sequence[Candidate], wanted: int) -> int:
        """The first that fit, one more in each place from turn to turn: up to the wishes, and beyond. How many it took."""
        before = len(self.chosen)
        for slack in range(1 - max(1, *self._wished), self._count):
            for each in ordered:
                if len(self.chosen) - before >= wanted:
                    return wanted
                if self._fits(each.location, slack) and each.volume not in self.chosen:
                    self.chosen.append(each.volume)
                    self._add(each.location)
        return len(self.chosen) - before

    def _fits(self, location: Location, slack: int) -> bool:
        for level, (hard, wished) in enumerate(zip(self._hard, self._wished, strict=True)):
            if hard or wished:
                there = self._tally[location.group(level)]
                if (hard and there >= hard) or (wished and there >= max(1, wished + slack)):
                    return False
        return True

    def _add(self, location: Location) -> None:
        self._tally.update(location.group(level) for level in range(len(LEVELS)))


def judge(places: Sequence[Candidate], pool: Pool) -> int:
    """What of a finished metachunk is worse than the pool wishes: UNEVEN, NEAR, FALLBACK added up; 0 when all is well."""
    found = 0
    wished = _tighter(pool.fair, Pool(groups=pool.groups).wished(len(places))) if pool.groups else pool.fair
    for level, limit in enumerate(wished):
        if limit and max(Counter(each.location.group(level) for each in places).values(), default=0) > limit:
            found |= UNEVEN
    locations = [each.location for each in places]
    if any(one.distance(other) < pool.distance_wished for at, one in enumerate(locations) for other in locations[:at]):
        found |= NEAR
    if not all(map(pool.means, places)):
        found |= FALLBACK
    return found


@dataclass(frozen=True, slots=True)
class Topology:
    """All volumes of the pools, those that are down included.

    pools: by policy, and by storage class for those that have one of their own
    readable: those that answer reads;  gone: no member any more, given up by an operator with all that they held
    """

    members: Mapping[str, Candidate]
    readable: frozenset[str]
    pools: Mapping[str, Pool]
    pool: Pool
    gone: frozenset[str] = frozenset()

    def pool_of(self, policy: str) -> Pool:
        """The one that the policy, or storage class, draws from."""
        return self.pools.get(policy, self.pool)

    def means(self, volumes: Iterable[str], policy: str) -> bool:
        """Whether all of these, as far as they are known, are where chunks of the policy should be."""
        pool = self.pool_of(policy)
        return all(pool.means(self.members[each]) for each in volumes if each in self.members)

    def judge(self, volumes: Iterable[str], policy: str) -> int:
        """See `judge`; a volume that nobody knows any more is passed over."""
        return judge([self.members[each] for each in volumes if each in self.members], self.pool_of(policy))


def misplaced(places: Mapping[int, Candidate], members: Iterable[Candidate], pool: Pool) -> Iterator[tuple[int, frozenset[str]]]:
    """The positions of a metachunk that should be elsewhere, each with the volumes where they would be no better.

    members: all volumes there are.
    """
    known = list(members)
    moved: set[int] = set()
    for level, limit in enumerate(pool.wished(len(places))):
        groups: dict[tuple[str, ...], list[int]] = {}
        for position, each in places.items():
            groups.setdefault(each.location.group(level), []).append(position)
        full = {group for group, inside in groups.items() if limit and len(inside) >= limit}
        avoid = frozenset(each.volume for each in known if each.location.group(level) in full)
        for inside in groups.values():
            for position in inside[limit:] if limit else ():
                if position not in moved:
                    moved.add(position)
                    yield position, avoid
    others = frozenset(each.volume for each in known if not pool.means(each))
    for position, each in places.items():
        if each.volume in others and position not in moved:
            yield position, others


def _needed(count: int) -> str:
    return "1 volume is needed" if count == 1 else f"{count} volumes are needed"
