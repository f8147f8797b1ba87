"""What no schedule can beat: computed from the trace and from where the objects lie. Pure.

Power cycles, the larger of two counts. Each object needs as many disks as hold enough of its fragments, whatever others need of other disks
(a restore of everything). And on one bus: of thaws one after another, whose times do not overlap and whose disks differ, each needs
power-ons of its own, for the disk of the one before must have been left (a day). The second count depends on how long a thaw may wait: it
holds for every schedule that lets nobody wait longer than the given times.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from glacier.backlog import THAWS, Kind
from glacier.simulation import ON_W, SPIN_UP_W, Archived, Board
from glacier.trace import Request


@dataclass(frozen=True, slots=True)
class Bound:
    power_cycles: int
    makespan_s: float
    energy_wh: float


def lower_bound(board: Board, objects: Sequence[Archived], trace: Sequence[Request], longest_s: Mapping[Kind, float]) -> Bound:
    """longest_s: how long the first byte of each kind may take."""
    firsts: dict[int, Request] = {}
    for request in trace:
        if request.kind in THAWS:
            firsts.setdefault(request.object, request)
    thaws = list(firsts.values())
    chains = sum(_chain(board, objects, thaws, bus, longest_s) for bus in range(board.buses))
    cycles = max(_apart(board, (objects[thaw.object] for thaw in thaws)), chains)
    freezes = [request for request in trace if request.kind is Kind.FREEZE]
    service_s = sum(_service_s(board, objects, request) for request in [*thaws, *freezes])
    spin_s = cycles * board.rates.spin_up_s
    last_s = max((request.at_s for request in [*thaws, *freezes]), default=0.0)
    energy_ws = spin_s * SPIN_UP_W + service_s * ON_W
    return Bound(cycles, max((service_s + spin_s) / board.buses, last_s), energy_ws / 3600)


def _service_s(board: Board, objects: Sequence[Archived], request: Request) -> float:
    if request.kind is Kind.FREEZE:
        count, fragment = board.data + board.parity, -(-request.size // board.data)
    else:
        count, fragment = board.data, objects[request.object].fragment
    return board.rates.service_s(request.kind, count, count * fragment)


def _disks_needed(held: Mapping[tuple[int, int], int], fragments: int) -> int:
    """The fewest of these disks that hold so many fragments."""
    count = 0
    for each in sorted(held.values(), reverse=True):
        if fragments <= 0:
            break
        fragments -= each
        count += 1
    return count


def _apart(board: Board, stored: Iterable[Archived]) -> int:
    """Disks that all of these objects need together, at the least: of each what the disks of those counted before can't give it.

    Objects that share little with them are counted first, for they say most.
    """
    sets = {frozenset(Counter(each.disks).items()) for each in stored}
    holdings = sorted(map(dict, sets), key=lambda held: sorted(held))
    seen: set[tuple[int, int]] = set()
    total = 0
    for shared in range(board.data):
        for held in holdings:
            had = sum(count for disk, count in held.items() if disk in seen)
            if had == shared:
                total += _disks_needed({disk: count for disk, count in held.items() if disk not in seen}, board.data - had)
                seen.update(held)
    return total


def _chain(board: Board, objects: Sequence[Archived], thaws: Iterable[Request], bus: int, longest_s: Mapping[Kind, float]) -> int:
    """Power-ons of one bus, for thaws that follow each other without overlap, each on other disks than the one before."""
    total, end_s = 0, -1.0
    before: set[int] = set()
    for thaw in sorted(thaws, key=lambda thaw: thaw.at_s + longest_s.get(thaw.kind, 0.0)):
        places = objects[thaw.object].disks
        mine = Counter(disk for at, disk in places if at == bus)
        left = board.data - (len(places) - mine.total())
        if left <= 0 or thaw.at_s <= end_s or not before.isdisjoint(mine):
            continue
        for held in sorted(mine.values(), reverse=True):
            if left > 0:
                total, left = total + 1, left - held
        end_s, before = thaw.at_s + longest_s.get(thaw.kind, 0.0), set(mine)
    return total
