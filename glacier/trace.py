"""Days of an archive, made up from a seed: what is asked for, and when. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from glacier.backlog import Kind
from glacier.schedule import DAY_S, HOUR_S


@dataclass(frozen=True, slots=True)
class Request:
    """object: index in the archive; of a FREEZE the next new one (-1). size: bytes of a new object."""

    at_s: float
    kind: Kind
    object: int
    size: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """What a trace is made of. Rates are per hour over all buses; shares are of the thaws.

    zipf          how unequally objects are asked for (0: all alike)
    burst_size    objects that stand together in the archive and are asked for at once, as when somebody restores a folder
    nightly       objects that a lifecycle rule freezes at 02:00, within an hour
    archive       everything is asked for, once, at the begin
    """

    thaws: float = 0.0
    bursts: float = 0.0
    burst_size: int = 100
    zipf: float = 0.9
    freezes: float = 0.0
    nightly: int = 0
    deletes: float = 0.0
    verifies: float = 0.0
    expedited: float = 0.03
    bulk: float = 0.2
    archive: bool = False


SCENARIOS = {
    "day": Load(thaws=6, bursts=0.2, burst_size=25, freezes=2, nightly=100, deletes=2, verifies=5),
    "poisson": Load(thaws=40, zipf=0.0),
    "bursts": Load(bursts=1.5, burst_size=60),
    "zipf": Load(thaws=60, zipf=1.1),
    "archive": Load(archive=True, expedited=0.0, bulk=0.0),
}
OBJECT_BYTES_MEDIAN = 64 << 20
OBJECT_BYTES_SPREAD = 1.2
"""Sigma of the logarithm: a few large objects hold most of the bytes."""
OBJECT_BYTES_MAX = 20 << 30


def object_bytes(random: Random) -> int:
    return min(int(random.lognormvariate(0, OBJECT_BYTES_SPREAD) * OBJECT_BYTES_MEDIAN), OBJECT_BYTES_MAX)


def make_trace(load: Load, *, objects: int, hours: float, random: Random) -> list[Request]:
    """In order of time."""
    if load.archive:
        return [Request(0.0, Kind.STANDARD, number) for number in range(objects)]
    popular = _Popularity(objects, load.zipf, random)
    found: list[Request] = []
    for at_s in _poisson(load.thaws, hours, random):
        found.append(Request(at_s, _tier(load, random), popular.draw(random)))
    for at_s in _poisson(load.bursts, hours, random):
        begin, kind = random.randrange(max(objects - load.burst_size, 1)), _tier(load, random)
        found += [Request(at_s, kind, number) for number in range(begin, min(begin + load.burst_size, objects))]
    found += [Request(at_s, Kind.FREEZE, -1, object_bytes(random)) for at_s in _poisson(load.freezes, hours, random)]
    for night in range(int((hours + 22) // 24)):
        begin_s = night * DAY_S + 2 * HOUR_S
        found += [Request(begin_s + random.random() * HOUR_S, Kind.FREEZE, -1, object_bytes(random)) for _ in range(load.nightly)]
    found += [Request(at_s, Kind.DELETE, random.randrange(objects)) for at_s in _poisson(load.deletes, hours, random)]
    found += [Request(at_s, Kind.VERIFY, random.randrange(objects)) for at_s in _poisson(load.verifies, hours, random)]
    return sorted(found, key=lambda request: request.at_s)


def _tier(load: Load, random: Random) -> Kind:
    drawn = random.random()
    return Kind.EXPEDITED if drawn < load.expedited else Kind.BULK if drawn > 1 - load.bulk else Kind.STANDARD


def _poisson(per_hour: float, hours: float, random: Random) -> Iterator[float]:
    at_s = random.expovariate(per_hour) * HOUR_S if per_hour else hours * HOUR_S
    while at_s < hours * HOUR_S:
        yield at_s
        at_s += random.expovariate(per_hour) * HOUR_S


class _Popularity:
    """Draws objects by Zipf's law; which are the popular ones has nothing to do with where they stand."""

    def __init__(self, objects: int, exponent: float, random: Random) -> None:
        self._order = list(range(objects))
        random.shuffle(self._order)
        self._sums = list(accumulate(1 / rank**exponent for rank in range(1, objects + 1)))

    def draw(self, random: Random) -> int:
        return self._order[min(bisect_left(self._sums, random.random() * self._sums[-1]), len(self._order) - 1)]
