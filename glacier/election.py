"""Which disk a chunk goes to, and from which disks an object is read: pure functions of what the disks hold and what they are doing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disk:
    """kin: chunks of the same metachunk that lie on it already; used: bytes; closed: takes nothing (lost, or being emptied)."""

    number: int
    total: int
    used: int
    kin: int = 0
    closed: bool = False


SPARE_SHARE = 0.05
"""Left free on every disk: file systems on shingled disks get slow when they are full."""


def elect(disks: Iterable[Disk], size: int, *, kin_max: int = 1) -> int | None:
    """The disk for a chunk of `size` bytes, None when none has room: the fullest one in use, so that as few as possible are.

    No disk gets more than kin_max chunks of one metachunk, so that losing it loses no more of any; where there are too few disks for that,
    those with the fewest get them.
    """
    fitting = [disk for disk in disks if not disk.closed and disk.used + size <= disk.total * (1 - SPARE_SHARE)]
    best = min(fitting, key=lambda disk: (max(disk.kin, kin_max - 1), disk.used == 0, -disk.used, disk.number), default=None)
    return None if best is None else best.number


@dataclass(frozen=True, slots=True)
class Place:
    """Where one chunk of a metachunk lies. bus, disk: None when it is on a volume still (hot), which costs nothing."""

    position: int
    disk: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What reading from a disk costs now. power_ons: 0 when it is powered, or will be anyway; wait_s: until its next job begins, about.

    shunned: of equals the others are taken, so that many thaws agree on few disks (`is_shunned`).
    """

    power_ons: int
    wait_s: float
    shunned: bool = False


UNKNOWN = Outlook(1, 0.0)


def is_shunned(rank: int, needed: int, chunks: int) -> bool:
    """Of the board's disks, one after another in the order in which they fill, those that are read only when there is no other way.

    Objects that were frozen in turn lie on sets of disks that change by one disk at a time. For a restore of everything on a board of 56,
    thaws that each take their first fragments spin up to 1.4 times the fewest disks possible, those that agree on these 1.25 times.
    """
    return rank % chunks >= needed


def cheapest(places: Sequence[Place], needed: int, outlook: Mapping[tuple[str, int], Outlook]) -> list[int]:
    """The positions to fetch so that `needed` are hot: the fewest power-ons, then not shunned, then the least waiting.

    Chunks that share a disk share its power-on. [] when enough are hot already; all cold ones when there are fewer than needed.
    Of equals the lower positions: data fragments need no decoding.
    """
    missing = needed - sum(1 for place in places if place.disk is None)
    by_disk: dict[tuple[str, int], list[int]] = {}
    for place in sorted(places, key=lambda place: place.position):
        if place.disk is not None:
            by_disk.setdefault(place.disk, []).append(place.position)
    chosen: list[int] = []
    while by_disk and len(chosen) < missing:
        wanted = missing - len(chosen)

        def cost(disk: tuple[str, int], wanted: int = wanted) -> tuple[float, bool, float, int]:
            seen, count = outlook.get(disk, UNKNOWN), min(len(by_disk[disk]), wanted)
            return seen.power_ons / count, seen.shunned, seen.wait_s, by_disk[disk][0]

        best = min(by_disk, key=cost)
        chosen += by_disk.pop(best)[:wanted]
    return sorted(chosen)
