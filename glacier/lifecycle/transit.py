"""Objects of cold classes on their way: what their rows wish is asked of the tier, and what came of it goes into the rows.

    GLACIER, new         freeze     the tier keeps the wish; the row leaves the list of what is due
    restore under way    thaw       until the tier says that the bytes can be read; then the copy's days begin
    copy's days over     freeze     again

Every step is decided by the row alone and is repeated until its effect is in the row, so a kill at any point loses and doubles nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import inf

import msgspec
import trio

from glacier.lifecycle.calendar import GRACE_US, Calendar
from glacier.lifecycle.news import Event, Herald, News
from meta.protocol.object import Change, ObjectRow
from meta.protocol.restore import COLD_BEGIN, ColdCursor, ColdRow, Restore, restore_of
from node.errors import BucketNotFound, FrazilError, NotFound, RecordCorrupt, Superseded
from node.log import get_logger
from node.metrics import counter
from store.context import Context
from store.layout import Layout
from store.parallel import gather
from store.tier import HOT, Priority, Temperature, TierState
from store.worker import State

PAGE_ROWS = 200
TURN_ROWS = 1_000
"""Of one bucket's list, looked at in one go; the rest has its turn with the next looks, and what is new is looked at at once."""
AT_ONCE_MAX = 16
"""Versions of a page whose wishes are carried to the tier side by side."""
SCAN_PERIOD_S = 5.0
"""How often the containers' lists are looked through: other processes' requests ring no bell here."""
POLL_S = 0.5
"""How often the tier is asked for restores under way."""
SCANS_PER_DAY_MIN = 4
"""Of days that are shorter than usual."""
ASKED_MAX = 100_000
"""Contents of which it is remembered that the tier was asked; it may be asked again, which costs it a look."""
PRIORITIES = {"Expedited": Priority.EXPEDITED, "Standard": Priority.STANDARD, "Bulk": Priority.BULK}
log = get_logger("glacier.lifecycle")


@dataclass
class Turn:
    """Where the looks through a bucket's list are; it is in the order of asking.

    after   behind it the next look begins;  waits: since the list's begin there was something that must be looked at again
    seen    behind it lies what nobody has looked at
    """

    after: ColdCursor = COLD_BEGIN
    waits: bool = False
    seen: ColdCursor = COLD_BEGIN


class Transit:
    """A worker of the store's main process."""

    name = "cold tier"

    def __init__(self, context: Context, *, calendar: Calendar, herald: Herald) -> None:
        self._context = context
        self._calendar = calendar
        self._herald = herald
        self._period_s = min(SCAN_PERIOD_S, calendar.day_us / SCANS_PER_DAY_MIN / 1e6)
        self._scanned_at = -SCAN_PERIOD_S
        self._turns: dict[str, Turn] = {}
        self._told: dict[str, str] = {}
        self._asked: dict[str, tuple[Priority, int]] = {}

    def status(self) -> str:
        return f"{len(self._turns)} buckets have restores under way"

    async def work(self) -> State:
        afterwork = self._context.afterwork
        rung, afterwork.to_move = afterwork.to_move, set()
        begun = set(rung)
        if trio.current_time() - self._scanned_at >= self._period_s:
            self._scanned_at = trio.current_time()
            begun |= set(await self._context.meta.dirty_containers())
        for bucket in sorted(begun | self._turns.keys()):
            try:
                await self._look(bucket, self._turns.setdefault(bucket, Turn()), rung=bucket in rung)
            except BucketNotFound:
                self._turns.pop(bucket, None)
                self._told.pop(bucket, None)
            except FrazilError as error:
                log.warning("a bucket's cold objects can't be looked after now", extra={"bucket": bucket, "error": str(error)})
        return State.IDLE

    async def wait(self) -> None:
        await self._context.afterwork.moves.wait(min(POLL_S, self._period_s) if self._turns else self._period_s)

    async def _look(self, bucket: str, turn: Turn, *, rung: bool) -> None:
        """A turn through the list; and when somebody rang and the turn doesn't see all of it, what is new."""
        from_begin = turn.after == COLD_BEGIN
        if from_begin:
            turn.waits = False
        turn.after = await self._walk(bucket, turn, turn.after, rows_max=TURN_ROWS)
        if rung and not (from_begin and turn.after == COLD_BEGIN):
            await self._walk(bucket, turn, COLD_BEGIN, until_us=0)
            await self._walk(bucket, turn, turn.seen)
        if turn.after == COLD_BEGIN and not turn.waits:
            del self._turns[bucket]

    async def _walk(self, bucket: str, turn: Turn, after: ColdCursor, *, until_us: int | None = None, rows_max: float = inf) -> ColdCursor:
        """Does a step for each row of the list behind `after`; where to go on, COLD_BEGIN at its end."""
        container, begin, rows, failures = self._context.container(bucket), after, 0, list[FrazilError]()
        ends_us = self._context.clock.now_us() if until_us is None else until_us
        while rows < rows_max and (page := await container.cold_due(ends_us, PAGE_ROWS, after)):
            failures += await self._carry(bucket, page)
            after, rows = page[-1].cursor, rows + len(page)
            if after.due_us >= turn.seen.due_us:
                turn.seen = after
        if failures:
            self._tell(bucket, failures)
        elif begin == COLD_BEGIN and until_us is None and rows < rows_max:
            self._told.pop(bucket, None)
        return COLD_BEGIN if rows < rows_max else after

    async def _carry(self, bucket: str, page: list[ColdRow]) -> list[FrazilError]:
        """A step for each; what went wrong."""
        failures: list[FrazilError] = []
        states = await self._states(page)
        for at in range(0, len(page), AT_ONCE_MAX):
            pairs = zip(page[at : at + AT_ONCE_MAX], states[at : at + AT_ONCE_MAX], strict=True)
            outcomes = await gather([partial(self._move, bucket, each.row, state) for each, state in pairs])
            taken = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
            if taken:
                await self._context.container(bucket).cold_done(taken)
            failures += [each for each in outcomes if isinstance(each, FrazilError) and not isinstance(each, Superseded | NotFound)]
        return failures

    def _tell(self, bucket: str, failures: list[FrazilError]) -> None:
        """Once for each reason: what can't be done is tried again every few seconds."""
        words = str(failures[0])
        if words != self._told.get(bucket):
            log.warning("objects can't be moved between tiers now", extra={"bucket": bucket, "objects": len(failures), "error": words})
            self._told[bucket] = words

    async def _states(self, page: list[ColdRow]) -> list[TierState]:
        """Of what is being restored; for the rest nobody asks."""
        asked = {at: layout for at, each in enumerate(page) if (layout := _awaited(each.row))}
        states = [HOT] * len(page)
        for at, state in zip(asked, await self._context.tier.states([*asked.values()]) if asked else (), strict=True):
            states[at] = state
        return states

    async def _move(self, bucket: str, row: ObjectRow, state: TierState) -> tuple[str, int, int] | None:
        """One step of a version; its place in the list when that was the last for now. Raises: FrazilError."""
        restore = restore_of(row.attributes)
        if restore is None:
            if row.size:
                await self._context.tier.freeze(Layout.parse(row.layout))
            return row.key, row.version, row.seq
        if restore.ongoing:
            await self._thaw(bucket, row, restore, state)
        elif restore.until_us <= self._context.clock.now_us():
            await self._end(bucket, row)
        return None

    async def _thaw(self, bucket: str, row: ObjectRow, restore: Restore, state: TierState) -> None:
        """The days of a copy count from when it is there."""
        until_us = self._calendar.after(self._context.clock.now_us(), restore.days)
        if row.size and (await self._ask(row, PRIORITIES[restore.tier], until_us + GRACE_US, state) or not state.readable):
            self._turns[bucket].waits = True  # until a later look finds that the bytes are there, and will stay
            return
        self._asked.pop(row.content, None)
        ready = msgspec.structs.replace(restore, until_us=until_us)
        await self._change(bucket, row, msgspec.to_builtins(ready), Event.RESTORED)
        counter("restores_completed", "Restores whose bytes came back.", ("tier",)).labels(restore.tier).inc()

    async def _ask(self, row: ObjectRow, priority: Priority, until_us: int, state: TierState) -> bool:
        """Whether the tier had still to be told: then what it said of the content before counts no more.

        What is cold though it was asked for lies on a disk that fails: the tier takes other chunks when it is asked again.
        """
        asked, kept_us = self._asked.get(row.content, (Priority.BULK, 0))
        if asked <= priority and until_us <= kept_us and state.temperature is not Temperature.COLD:
            return False
        until_us += self._calendar.day_us  # the copy's days count from when it is there, which is later
        await self._context.tier.thaw(Layout.parse(row.layout), priority, until_us)
        if len(self._asked) >= ASKED_MAX:
            self._asked.clear()
        self._asked[row.content] = (priority, until_us)
        return True

    async def _end(self, bucket: str, row: ObjectRow) -> None:
        await self._change(bucket, row, {}, Event.RESTORE_OVER)
        counter("restores_over", "Restored copies whose days were over.").inc()

    async def _change(self, bucket: str, row: ObjectRow, restored: dict[str, object], event: Event) -> None:
        """Raises: Superseded, NotFound when the version was changed or is gone meanwhile."""
        change = Change(row.key, row.version, restored=restored, expect_content=row.content, expect_seq=row.seq)
        changed = await self._context.container(bucket).change(change)
        self._context.afterwork.look_for_stale_records(bucket)
        self._context.afterwork.look_for_cold(bucket)
        await self._herald.tell(bucket, [News(event, changed)])


def _awaited(row: ObjectRow) -> Layout | None:
    """The layout of a version that is being restored, when it can be read."""
    restore = restore_of(row.attributes)
    if not row.size or restore is None or not restore.ongoing:
        return None
    try:
        return Layout.parse(row.layout)
    except RecordCorrupt:  # told when its turn comes
        return None
