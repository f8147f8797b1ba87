"""Scrubs as long work."""

from __future__ import annotations

from functools import partial

import msgspec

from meta.protocol.holding import Cursor
from node.errors import FrazilError
from node.log import get_logger
from store.context import Context
from store.jobs.task import Walk, volumes_of
from store.parallel import gather
from store.scrub import Scrub
from store.tally import Tally

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
        only = frozenset(volumes_of(arguments))
        self._scrub = Scrub(context, tally, deep=self._deep, repair="dry" not in arguments, volumes=only)

    async def visit(self, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
        before = self._scrub.tally.counts["chunks"]
        following, size = await self._scrub.holders(bucket, cursor)
        return following, size if self._deep else (self._scrub.tally.counts["chunks"] - before) * SHALLOW_CHUNK_BYTES


class ScrubChunks:
    """Goes through volumes: those of a host one after another, the hosts side by side; each looks at its own bytes.

    The position says of each volume that was begun where its next step begins; null when it is done.
    """

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        self.pause_s = 0.0
        self._fleet, self._tally = context.fleet, tally
        self._only = volumes_of(arguments)
        self._deep = "deep" in arguments
        make = partial(Scrub, context, tally, deep=self._deep, repair="dry" not in arguments, bucket=arguments.get("bucket", ""))
        self._make = make
        self._scrubs: dict[str, Scrub] = {}

    async def step(self, position: str) -> tuple[str | None, int]:
        at: dict[str, str | None] = msgspec.json.decode(position, type=dict[str, str | None]) if position else {}
        names = self._only or tuple(sorted(self._fleet.volumes))
        before = self._tally.counts["chunks"]
        turn = [volumes[0] for volumes in self._hosts([name for name in names if at.get(name, "") is not None]).values()]
        size = 0
        for volume, outcome in zip(turn, await gather([partial(self._look, name, at.get(name) or "") for name in turn]), strict=True):
            if isinstance(outcome, FrazilError):
                self._pass_over(volume, outcome)
                at[volume] = None
            else:
                at[volume] = outcome[0]
                size += outcome[1]
        self._tally.share(sum(_within(at.get(name, "")) for name in names), len(names) * SHARE_STEPS)
        over = all(at.get(name, "") is None for name in names)
        return (
            None if over else msgspec.json.encode(at).decode(),
            size if self._deep else (self._tally.counts["chunks"] - before) * SHALLOW_CHUNK_BYTES,
        )

    def _hosts(self, volumes: list[str]) -> dict[str, list[str]]:
        hosts: dict[str, list[str]] = {}
        for volume in volumes:
            hosts.setdefault(self._fleet.whereabouts(volume).rpartition(".")[0], []).append(volume)
        return hosts

    async def _look(self, volume: str, after: str) -> tuple[str | None, int]:
        """Raises: FrazilError; when it is the only volume that was asked for, the step is to be tried again."""
        scrub = self._scrubs.setdefault(volume, self._make())
        following, size = await scrub.files(volume, after)
        if following is None:
            del self._scrubs[volume]
        return following, size

    def _pass_over(self, volume: str, error: FrazilError) -> None:
        """Raises: FrazilError when it is the one that is to be looked through."""
        if self._only == (volume,):
            raise error
        log.warning("a volume can't be looked through now", extra={"volume": volume, "error": str(error)})
        self._tally.passed_over(volume, self._fleet.whereabouts(volume))

    def left(self) -> str:
        return ""


def _within(after: str | None) -> int:
    """How much of a volume is done, of SHARE_STEPS."""
    return SHARE_STEPS if after is None else int(int(after[:SHARE_DIGITS] or "0", 16) / 16**SHARE_DIGITS * SHARE_STEPS)
