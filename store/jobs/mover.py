"""Writing chunks anew elsewhere, content by content."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial

from meta.protocol.holding import Cursor, Holding
from node.errors import ContentAway, ContentCold, ContentLost, NotEnoughServices, RecordCorrupt, Superseded
from node.log import get_logger
from store.context import Context
from store.jobs.task import CONTENTS, Walk
from store.layout import Layout
from store.moved import again
from store.parallel import stream
from store.repair import Need, remake
from store.tally import Tally

MOVE_ROWS = 100
"""Contents that one step of a move looks at."""
MOVES_AT_ONCE = 16
"""Contents: while some are decoded, others are synced, many by one sync, and their changes of metadata go together."""
TRIES_MAX = 3
"""For a content that changes while a chunk of it is written anew; then the step is tried again."""
log = get_logger("store.jobs")


class Mover(Walk):
    """Writes chunks anew elsewhere; with "dry" among the arguments it only counts them.

    passed_over: as what the metachunks are counted that there are no volumes for now, or too few to read them from, so that they hold up
    nothing else; "" = the former do.
    """

    passed_over = ""

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally, "")
        self._dry = "dry" in arguments
        self._why = ""

    async def visit(self, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
        holders = await self._context.container(bucket).walk(cursor, MOVE_ROWS)
        readable = [holder for holder in holders if self._is_readable(bucket, holder)]
        await self.prepare(readable)
        sizes = await stream([partial(self._move_all, bucket, holder) for holder in readable], MOVES_AT_ONCE)
        self._tally.counts[CONTENTS] += len(holders)
        return (holders[-1].cursor if holders else None), sum(sizes)

    def _is_readable(self, bucket: str, holder: Holding) -> bool:
        """Whether its layout is; one that isn't holds up none of the others."""
        try:
            Layout.parse(holder.layout)
        except RecordCorrupt as error:
            self._tally.counts["lost"] += 1
            log.error("a layout can't be read", extra={"bucket": bucket, "key": holder.key, "error": str(error)})
            return False
        return True

    async def prepare(self, holders: Sequence[Holding]) -> None:
        """Before `needs` is asked of each of these. Raises: Unavailable."""

    async def is_cold(self, need: Need) -> None:
        """What is to be moved lies on cold disks: it stays where it is. Raises: Unavailable."""

    def needs(self, bucket: str, holder: Holding) -> AsyncIterator[Need]:
        raise NotImplementedError

    def left(self) -> str:
        lost = self._tally.counts["lost"]
        return f"{lost} metachunks can't be made whole: too little of them can be read, the log names them" if lost else super().left()

    async def _move_all(self, bucket: str, holder: Holding) -> int:
        """One after another, for each changes the layout that the next must find as it is. Raises: Superseded, Unavailable."""
        needs = [need async for need in self.needs(bucket, holder)]
        if self._dry:
            return sum(map(self._plan, needs))
        return sum([await self._move(need, afresh=number > 0) for number, need in enumerate(needs)])

    def _plan(self, need: Need) -> int:
        """Counts what would be written; nothing is, so it costs nothing of the pace."""
        layout = Layout.parse(need.holder.layout)
        metachunk = layout.metachunks[need.index]
        self._tally.counts["planned"] += len(need.positions)
        self._tally.counts["bytes"] += len(need.positions) * layout.policies[metachunk.policy].chunk_bytes(metachunk.size)
        return 0

    async def _move(self, need: Need, *, afresh: bool) -> int:
        """A content that changes meanwhile is looked at again, one that can't be made whole is told. Raises: Superseded, Unavailable."""
        for number in range(TRIES_MAX):
            if afresh or number:
                now = await self._now(need)
                if now is None:
                    return 0
                need = now
            try:
                size = await remake(self._context, need)
            except Superseded:
                continue
            except ContentCold:
                self._tally.counts["cold"] += 1
                await self.is_cold(need)
                return 0
            except (ContentLost, ContentAway, NotEnoughServices) as error:
                self._pass_over(need, error)
                return 0
            self._tally.counts["moved"] += len(need.positions)
            self._tally.counts["bytes"] += size
            return size
        raise Superseded(f"{need.bucket}/{need.holder.key} was changed again and again while its chunks were to be written anew")

    def _pass_over(self, need: Need, error: ContentLost | ContentAway | NotEnoughServices) -> None:
        """Counts a metachunk that is not written anew now. Raises: NotEnoughServices."""
        if self.passed_over and not isinstance(error, ContentLost):
            self._tally.counts[self.passed_over] += 1
            self._why = str(error)
        elif isinstance(error, NotEnoughServices):
            raise error
        else:
            self._tally.counts["lost"] += 1
            log.error("a metachunk can't be made whole", extra={"bucket": need.bucket, "error": str(error)})

    async def _now(self, need: Need) -> Need | None:
        """The same chunks where they are named now; None when nothing names them any more."""
        now = await again(self._context, need.bucket, need.holder)
        if now is None:
            return None
        mine = {chunk.id for chunk in Layout.parse(need.holder.layout).metachunks[need.index].chunks if chunk.position in need.positions}
        for index, metachunk in enumerate(Layout.parse(now.layout).metachunks):
            if mine <= {chunk.id for chunk in metachunk.chunks}:
                return replace(need, holder=now, index=index)
        return None
