"""How full each disk of a bus is, and which takes the next chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from glacier.election import SPARE_SHARE, Disk, elect
from glacier.worker.ledger import DiskRow, Entry
from node.errors import VolumeFull

COMPACT_LEFT = 0.25
"""A disk of which deletions left less than this share of what was ever put there is emptied, if the others have room."""
FULL, EMPTYING, LOST_DISK = "full", "emptying", "lost"
"""Why a disk takes nothing new: until deletions made room; until what lies on it has moved; for ever."""
REOPEN_FREE = 0.2
"""Share of a full disk that must be free again before it takes more."""
COMPACT_STORED = 0.5
"""Share of a disk that must have been stored on it before that is asked: one that is just being filled is none."""


class Shelf:
    """Touched by the ledger's transactions only, one at a time; others may look. used: bytes by disk, what is on its way included."""

    def __init__(self, disks: Sequence[int], *, disk_bytes: int, kin_max: int) -> None:
        self.disks = tuple(disks)
        self.totals: dict[int, int] = {}
        self.closed: dict[int, str] = {}
        self.used: Counter[int] = Counter()
        self.count: Counter[int] = Counter()
        self.stored: Counter[int] = Counter()
        self._disk_bytes = disk_bytes
        self._kin_max = kin_max

    def __repr__(self) -> str:
        return f"<Shelf disks={len(self.disks)} in use={sum(1 for used in self.used.values() if used)} closed={self.closed}>"

    def load(self, rows: Iterable[DiskRow], usage: Mapping[int, tuple[int, int]]) -> None:
        for row in rows:
            self.totals[row.disk], self.closed[row.disk], self.stored[row.disk] = row.total, row.closed, row.stored
        self.used = Counter({disk: size for disk, (size, _) in usage.items()})
        self.count = Counter({disk: count for disk, (_, count) in usage.items()})

    def total(self, disk: int) -> int:
        """Bytes of a disk; of one that never had power those of its like."""
        return self.totals.get(disk) or max(self.totals.values(), default=0) or self._disk_bytes

    def elect(self, size: int, kin: Iterable[Entry], *, without: frozenset[int] = frozenset()) -> int:
        """The disk for a chunk, which counts as being there. Raises: VolumeFull."""
        near = Counter(entry.disk for entry in kin)
        disks = [self._disk(disk, near[disk], closed=disk in without) for disk in self.disks]
        found = elect(disks, size, kin_max=self._kin_max)
        if found is None:
            raise VolumeFull("no cold disk of this bus has room: delete, or add disks")
        self.add(found, size)
        return found

    def _disk(self, disk: int, kin: int, *, closed: bool) -> Disk:
        return Disk(disk, self.total(disk), self.used[disk], kin, closed or bool(self.closed.get(disk)))

    def add(self, disk: int, size: int) -> None:
        self.used[disk] += size
        self.count[disk] += 1

    def reopen(self, disk: int) -> None:
        self.closed[disk] = ""
        self.stored[disk] = self.used[disk]

    def drop(self, disk: int, size: int) -> None:
        self.used[disk] -= size
        self.count[disk] -= 1

    def room(self, *, without: int) -> float:
        """Bytes that the other disks take yet."""
        others = [disk for disk in self.disks if disk != without and not self.closed.get(disk)]
        return sum(max(self.total(disk) * (1 - SPARE_SHARE) - self.used[disk], 0.0) for disk in others)

    def to_compact(self) -> int | None:
        """A disk that deletions emptied and that the others in use can take over."""
        for disk in sorted(self.disks, key=lambda disk: self.used[disk]):
            stored = min(self.stored[disk], self.total(disk))
            wasted = self.used[disk] < COMPACT_LEFT * stored and stored >= COMPACT_STORED * self.total(disk)
            room = sum(self.total(other) - self.used[other] for other in self.disks if self._is_open(other) and other != disk)
            if wasted and self.used[disk] and self.closed.get(disk, "") in ("", FULL) and room / 2 > self.used[disk]:
                return disk
        return None

    def _is_open(self, disk: int) -> bool:
        return bool(self.used[disk]) and not self.closed.get(disk)
