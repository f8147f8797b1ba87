"""A volume made anew, or emptied."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from meta.protocol.holding import Holding
from store.context import Context
from store.jobs.mover import Mover
from store.jobs.retired import LOOK_S
from store.layout import Layout
from store.repair import Need
from store.scrub import Tally, judge
from store.scrub import expected as chunks_of
from store.tier import Priority

PASSES_MAX = 5
"""Of a decommission, for one that still finds something."""
COLD_S = 60.0
"""Between the passes of one that waits for thaws."""


async def thaw(context: Context, need: Need) -> None:
    """Asks for what must be read before it can be written anew; a later pass finds it. Raises: Unavailable."""
    await context.tier.thaw(Layout.parse(need.holder.layout), Priority.BULK, 0)


class RebuildVolume(Mover):
    """Makes anew what a volume should hold and doesn't."""

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally, arguments)
        self._volume = arguments["volume"]

    async def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        mine = [each for each in chunks_of(holder) if each.volume == self._volume]
        if not mine:
            return
        self._tally.saw(len(mine), 0)
        away = self._volume in self._context.fleet.retired or bool(await self._sick())
        looks = {}
        if not away:
            found = await self._context.fleet.volume(self._volume).examine([each.chunk.name for each in mine], deep=False)
            looks = {look.chunk: look for look in found}
        for each in mine:
            look = looks.get(each.chunk.name)
            if look is None or judge(each, look)[0] not in ("", "stale"):
                avoid = (self._volume,) if away else ()
                yield Need(bucket, holder, each.index, frozenset({each.chunk.position}), "its volume was rebuilt", avoid)

    async def is_cold(self, need: Need) -> None:
        await thaw(self._context, need)

    async def _sick(self) -> str:
        return next((stat.sick for stat in await self._context.fleet.stats() if stat.volume == self._volume), "it is not there")


class Decommission(Mover):
    """Moves everything off a volume, which takes nothing new any more: passes, until one finds nothing there.

    What was begun before the volume was retired may be named behind a pass's cursor; the next pass finds it.
    """

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally, arguments)
        self._volume = arguments["volume"]

    async def step(self, position: str) -> tuple[str | None, int]:
        counts = self._tally.counts
        if self._dry:
            return await super().step(position)
        if not position and not counts["passes"]:
            await trio.sleep(LOOK_S * 3)  # until every process knows that nothing new goes there: see `keep_retired`
        following, size = await super().step(position)
        if following is not None:
            return following, size
        if counts["cold"]:  # they have been asked for; such a pass decides nothing
            counts["found"] = counts["lost"] = counts["cold"] = 0
            await trio.sleep(COLD_S)
            return "", size
        counts["passes"] += 1
        if counts["found"] == counts["lost"] or counts["passes"] >= PASSES_MAX:
            return None, size
        counts["found"] = counts["lost"] = 0
        return "", size

    async def is_cold(self, need: Need) -> None:
        await thaw(self._context, need)

    def left(self) -> str:
        """Of the last pass."""
        if self._dry:
            return ""
        found, lost, passes = (self._tally.counts[name] for name in ("found", "lost", "passes"))
        if not found:
            return ""
        left = f"pass {passes} still found chunks on the volume: {found}, and too little is left of {lost} of them to make them whole"
        return f"{left}. What the log names is to be restored or deleted, then the volume emptied again"

    async def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        for each in chunks_of(holder):
            if each.volume == self._volume:
                self._tally.counts["found"] += 1
                yield Need(bucket, holder, each.index, frozenset({each.chunk.position}), "", (self._volume,), keep=True)
