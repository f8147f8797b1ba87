"""Scrubs as long work."""

from __future__ import annotations

from meta.protocol.holding import Cursor
from node.errors import FrazilError
from node.log import get_logger
from store.context import Context
from store.jobs.task import Walk
from store.scrub import Scrub, Tally

SHARE_DIGITS = 8
"""Of a chunk's id, which is random: where among the chunks of its volume it lies."""
SHARE_STEPS = 1_000_000
SHALLOW_CHUNK_BYTES = 4096
"""What looking at a chunk without reading it counts for."""
log = get_logger("store.jobs")


class ScrubMetadata(Walk):
    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally, arguments.get("bucket", ""))
        self._deep = "deep" in arguments
        self._scrub = Scrub(context, tally, deep=self._deep, repair="dry" not in arguments)

    async def visit(self, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
        before = self._scrub.tally.counts["chunks"]
        following, size = await self._scrub.holders(bucket, cursor)
        return following, size if self._deep else (self._scrub.tally.counts["chunks"] - before) * SHALLOW_CHUNK_BYTES


class ScrubChunks:
    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        self._fleet = context.fleet
        self._only = arguments.get("volume", "")
        self._deep = "deep" in arguments
        self._scrub = Scrub(context, tally, deep=self._deep, repair="dry" not in arguments)

    async def step(self, position: str) -> tuple[str | None, int]:
        names = [self._only] if self._only else sorted(self._fleet.volumes)
        volume, _, after = position.partition(" ")
        volume = volume or names[0]
        before = self._scrub.tally.counts["chunks"]
        try:
            following, size = await self._scrub.files(volume, after)
        except FrazilError as error:
            if self._only:
                raise
            log.warning("a volume can't be looked through now", extra={"volume": volume, "error": str(error)})
            following, size = None, 0
        cost = size if self._deep else (self._scrub.tally.counts["chunks"] - before) * SHALLOW_CHUNK_BYTES
        later = [name for name in names if name > volume]
        within = 1.0 if following is None else int(following[:SHARE_DIGITS], 16) / 16**SHARE_DIGITS
        self._scrub.tally.share(int((len(names) - len(later) - 1 + within) * SHARE_STEPS), len(names) * SHARE_STEPS)
        if following is not None:
            return f"{volume} {following}", cost
        return (f"{later[0]} " if later else None), cost

    def left(self) -> str:
        return ""
