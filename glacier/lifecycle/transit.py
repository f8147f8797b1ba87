"""Objects of cold classes on their way: what their rows wish is asked of the tier, and what came of it goes into the rows.

    GLACIER, new         freeze     the tier keeps the wish; the row leaves the list of what is due
    restore under way    thaw       until the tier says that the bytes can be read; then the copy's days begin
    copy's days over     freeze     again

Every step is decided by the row alone and is repeated until its effect is in the row, so a kill at any point loses and doubles nothing.
"""

from __future__ import annotations

from functools import partial

import msgspec
import trio

from glacier.lifecycle.calendar import GRACE_US, Calendar
from glacier.lifecycle.news import Event, Herald, News
from meta.protocol.object import Change, ObjectRow
from meta.protocol.restore import COLD_BEGIN, ColdRow, Restore, restore_of
from node.errors import BucketNotFound, FrazilError, NotFound, RecordCorrupt, Superseded
from node.log import get_logger
from node.metrics import counter
from store.context import Context
from store.layout import Layout
from store.parallel import gather
from store.tier import HOT, Priority, Temperature, TierState
from store.worker import State

PAGE_ROWS = 200
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


class Transit:
    """A worker of the store's main process."""

    name = "cold tier"

    def __init__(self, context: Context, *, calendar: Calendar, herald: Herald) -> None:
        self._context = context
        self._calendar = calendar
        self._herald = herald
        self._period_s = min(SCAN_PERIOD_S, calendar.day_us / SCANS_PER_DAY_MIN / 1e6)
        self._scanned_at = -SCAN_PERIOD_S
        self._thawing: set[str] = set()
        self._asked: dict[str, tuple[Priority, int]] = {}

    def status(self) -> str:
        return f"{len(self._thawing)} buckets have restores under way"

    async def work(self) -> State:
        afterwork = self._context.afterwork
        buckets, afterwork.to_move = afterwork.to_move | self._thawing, set()
        self._thawing = set()
        if trio.current_time() - self._scanned_at >= self._period_s:
            self._scanned_at = trio.current_time()
            buckets |= set(await self._context.meta.dirty_containers())
        for bucket in sorted(buckets):
            try:
                await self._move_all(bucket)
            except BucketNotFound:
                continue
            except FrazilError as error:
                log.warning("a bucket's cold objects can't be looked after now", extra={"bucket": bucket, "error": str(error)})
        return State.IDLE

    async def wait(self) -> None:
        await self._context.afterwork.moves.wait(min(POLL_S, self._period_s) if self._thawing else self._period_s)

    async def _move_all(self, bucket: str) -> None:
        container, after = self._context.container(bucket), COLD_BEGIN
        while page := await container.cold_due(self._context.clock.now_us(), PAGE_ROWS, after):
            states = await self._states(page)
            for at in range(0, len(page), AT_ONCE_MAX):
                pairs = zip(page[at : at + AT_ONCE_MAX], states[at : at + AT_ONCE_MAX], strict=True)
                outcomes = await gather([partial(self._move, bucket, each.row, state) for each, state in pairs])
                taken = [outcome for outcome in outcomes if isinstance(outcome, tuple)]
                if taken:
                    await container.cold_done(taken)
                for outcome in outcomes:
                    if isinstance(outcome, FrazilError) and not isinstance(outcome, Superseded | NotFound):
                        log.warning("an object can't be moved between tiers now", extra={"bucket": bucket, "error": str(outcome)})
            after = page[-1].cursor

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
            self._thawing.add(bucket)  # until a later look finds that the bytes are there, and will stay
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
