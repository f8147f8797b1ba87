"""Evening out how full the volumes are."""

from __future__ import annotations

from collections.abc import AsyncIterator

from meta.protocol.holding import Holding
from store.context import Context
from store.jobs.mover import Mover
from store.repair import Need
from store.scrub import expected as chunks_of
from store.tally import Tally

SPREAD = 0.02
"""Rebalancing ends when no volume is fuller than all together by more than this share."""


class Rebalance(Mover):
    """Moves chunks from the fullest volumes to the emptiest, where that spreads a metachunk no worse: else they would be moved back."""

    passed_over = "kept"

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally, arguments)
        self._excess: dict[str, int] | None = None
        """What each volume had too much when this process began, less what it moved since. Not as it is now: what was moved leaves its disk
        only when its deletion is due, and counted once more then if that were asked again."""

    async def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        full, fuller = await self._uneven()
        if self._excess is None:
            self._excess = dict(full)
        for each in chunks_of(holder):
            if each.size and self._excess.get(each.volume, 0) > 0:
                self._excess[each.volume] -= each.size
                yield Need(bucket, holder, each.index, frozenset({each.chunk.position}), "", fuller, keep=True, no_worse=True)

    async def _move(self, need: Need, *, afresh: bool) -> int:
        """What stays where it is leaves its place among what is to be moved to others."""
        size = 0
        try:
            size = await super()._move(need, afresh=afresh)
        finally:
            if not size and self._excess is not None:
                for each in chunks_of(need.holder):
                    if each.index == need.index and each.chunk.position in need.positions:
                        self._excess[each.volume] += each.size
        return size

    async def _uneven(self) -> tuple[dict[str, int], frozenset[str]]:
        """Bytes too much, of the volumes that have too many; and all that are not emptier than the whole."""
        stats = [stat for stat in await self._context.fleet.stats() if stat.bytes_total and not stat.sick]
        total = sum(stat.bytes_total for stat in stats)
        if not total:
            return {}, frozenset()
        mean = sum(stat.bytes_total - stat.bytes_free for stat in stats) / total
        used = {stat.volume: (stat.bytes_total - stat.bytes_free) / stat.bytes_total for stat in stats}
        full = {stat.volume: int((used[stat.volume] - mean) * stat.bytes_total) for stat in stats if used[stat.volume] > mean + SPREAD}
        return full, frozenset(volume for volume, share in used.items() if share >= mean)
