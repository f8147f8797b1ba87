"""What a rebuild found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from meta.protocol.object import ObjectRow
from store.rebuild.assembly import Unwhole

PROBLEMS_KEPT_MAX = 10_000
Progress = Callable[[str, int], None]
"""progress(what, count): so many more chunks looked at ("chunks"), or rows restored ("rows")."""


@dataclass(slots=True)
class Report:
    """What a rebuild found.

    damaged   chunks that could not be used, by problem;  unwhole: contents that could not be restored
    thin      versions restored from fewer chunks than a write is acknowledged with: an interrupted deletion may have left them
    guessed   buckets whose settings no chunk told
    """

    chunks: int = 0
    versions: int = 0
    markers: int = 0
    uploads: int = 0
    parts: int = 0
    buckets: int = 0
    replaced: int = 0
    stale: int = 0
    seconds: float = 0.0
    damaged: Counter[str] = field(default_factory=Counter)
    unwhole: list[Unwhole] = field(default_factory=list)
    unwhole_count: int = 0
    thin: list[tuple[str, str, int]] = field(default_factory=list)
    thin_count: int = 0
    guessed: list[str] = field(default_factory=list)
    accounts: bool = False

    def tell(self, unwhole: Unwhole) -> None:
        self.unwhole_count += 1
        if len(self.unwhole) < PROBLEMS_KEPT_MAX:
            self.unwhole.append(unwhole)

    def tell_thin(self, bucket: str, row: ObjectRow) -> None:
        self.thin_count += 1
        if len(self.thin) < PROBLEMS_KEPT_MAX:
            self.thin.append((bucket, row.key, row.version))
