"""The freeze job: one pass through all versions of cold classes, which wishes those to the boards that no board has or awaits.

A row tells its wish once. A store may get boards when it has objects of cold classes already, a volume may get its worker later, and a
worker's memory may be lost: so the rows are gone through from time to time. Small steps from a position that is kept; a step twice does
no more.
"""

from __future__ import annotations

import msgspec

from glacier.boards import Boards
from glacier.lifecycle.calendar import DAY_US, GRACE_US
from meta.protocol.container import Container
from meta.protocol.holding import Holding
from meta.protocol.listing import Listed, ListRequest
from meta.protocol.object import ObjectRow
from meta.protocol.restore import COLD_CLASSES, restore_of
from node.errors import BaseNotFound, BucketNotFound, ContentAway, ContentLost, Damaged, NotEnoughServices, NotFound, Superseded
from node.log import get_logger
from store.context import Context
from store.jobs.duty import STANDING, Duty
from store.layout import Layout
from store.recode import is_right, recode
from store.tally import Tally
from store.tier import Priority, Temperature

KIND = "freeze"
ROWS = 200
BUCKETS_PAGE = 100
ROW_BYTES, WISH_BYTES = 4096, 64 << 10
"""What looking at a version, and having one frozen, count for at the job's pace; what is moved for it counts for its bytes."""
STEP_BYTES = 64 << 20
"""A step ends once it has moved so much: it is what a pace can be kept with."""
DUTY = Duty(8 << 20, 24 * 3600.0, delay_s=60.0)
"""120 objects in a second: 10 million in a day. Their workers freeze them when their disks allow it."""
log = get_logger("glacier.lifecycle")


class Position(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a pass is: behind this version."""

    bucket: str = ""
    key: str = ""
    version: int = 0


class FreezeTask:
    """Implements store.jobs.task.Task."""

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str], *, boards: Boards) -> None:
        self._context, self._tally, self._boards = context, tally, boards
        self._only = arguments.get("bucket", "")
        self._standing = STANDING in arguments
        self.pause_s = 0.0

    async def step(self, position: str) -> tuple[str | None, int]:
        """Raises: FrazilError."""
        if not self._boards.workers:  # a cluster, before its first
            return None, 0
        if not position:
            self._tally.counts["versions"] = self._tally.counts["planned"] = 0
            self._tally.begin_pass()
        place = msgspec.json.decode(position, type=Position) if position else Position(self._only or await self._next_bucket(""))
        following, cost = await self._page_or_pass_over(place) if place.bucket else (None, 0)
        if following is None and place.bucket and not self._only:
            bucket = await self._next_bucket(place.bucket)
            following = Position(bucket) if bucket else None
        if following is None:
            if self._standing:
                self._tally.notes = [sentence(self._tally.counts["versions"], self._tally.counts["planned"])]
            return None, cost
        return msgspec.json.encode(following).decode(), cost

    def left(self) -> str:
        return "; ".join(self._tally.damaged_buckets())

    async def _next_bucket(self, after: str) -> str:
        """The next that has versions of cold classes; "" when there is none."""
        while found := await self._context.meta.accounts.buckets("", after=after, limit=BUCKETS_PAGE):
            for entry in found:
                try:
                    counters = await self._context.container(entry.bucket).counters()
                except BucketNotFound:
                    continue  # removed while we came to it
                except (Damaged, BaseNotFound):
                    return entry.bucket  # told when its turn comes
                if any(counters.classes.get(name, (0, 0))[0] for name in COLD_CLASSES):
                    return entry.bucket
            after = found[-1].bucket
        return ""

    async def _page_or_pass_over(self, place: Position) -> tuple[Position | None, int]:
        """Raises: FrazilError; Damaged only for the one bucket that was asked for."""
        try:
            return await self._page(place)
        except (Damaged, BaseNotFound) as error:
            if self._only:
                raise
            self._tally.pass_over_bucket(place.bucket, error)
            return None, 0

    async def _page(self, place: Position) -> tuple[Position | None, int]:
        container = self._context.container(place.bucket)
        request = ListRequest(after=place.key, after_version=place.version or None, limit=ROWS, versions=True, restores=True)
        try:
            page = await container.list(request)
        except BucketNotFound:
            return None, 0
        rows = await self._rows(container, [each for each in page.rows if _is_to_be_cold(each)])
        states = await self._boards.states([Layout.parse(row.layout) for row in rows]) if rows else []
        hot = [row for row, state in zip(rows, states, strict=True) if state.temperature is Temperature.HOT]
        cost, last = len(page.rows) * ROW_BYTES, Position(place.bucket, page.next_after, page.next_version or 0)
        moved = 0
        for row in hot:
            placed, size = await self._placed(place.bucket, row)
            moved += size
            if placed is not None:
                await self._freeze(container, placed)
                self._tally.counts["planned"] += 1
                cost += WISH_BYTES
            if moved >= STEP_BYTES and row is not rows[-1]:
                self._tally.counts["versions"] += rows.index(row) + 1
                return Position(place.bucket, row.key, row.version), cost + moved
        self._tally.counts["versions"] += len(rows)
        return (last if page.truncated else None), cost + moved

    async def _rows(self, container: Container, listed: list[Listed]) -> list[ObjectRow]:
        found = []
        for each in listed:
            try:
                found.append(await container.get(each.key, each.version))
            except NotFound:  # gone meanwhile
                continue
        return found

    async def _placed(self, bucket: str, row: ObjectRow) -> tuple[ObjectRow | None, int]:
        """The version on volumes that lead to the boards of its class, and the bytes that were moved there; None while it can't be."""
        context = self._context
        own = context.classes.get(row.storage_class)
        if own is None or not own.pool or is_right(Layout.parse(row.layout), own, context.fleet):
            return row, 0
        size = 0
        try:
            size = await recode(context, bucket, Holding(row.key, row.layout, row), own)
            return await context.container(bucket).get(row.key, row.version), size
        except (Superseded, NotFound, ContentLost, ContentAway, NotEnoughServices) as error:
            told = {"bucket": bucket, "key": row.key, "error": str(error)}
            log.warning("a version can't be moved to volumes that lead to the boards of its class; it stays where it is", extra=told)
            return None, size

    async def _freeze(self, container: Container, row: ObjectRow) -> None:
        """Unless a restore was asked for since the row was read: then its bytes stay."""
        layout = Layout.parse(row.layout)
        await self._boards.freeze(layout)
        try:
            now = await container.get(row.key, row.version)
        except NotFound:  # so its chunks are deleted, and forgotten
            return
        if now.storage_class not in COLD_CLASSES:
            await self._boards.melt(layout)
        elif (restore := restore_of(now.attributes)) is not None:
            until_us = restore.until_us or self._context.clock.now_us() + (restore.days + 1) * DAY_US
            await self._boards.thaw(layout, Priority.EXPEDITED, until_us + GRACE_US)


def _is_to_be_cold(listed: Listed) -> bool:
    return listed.storage_class in COLD_CLASSES and bool(listed.size) and listed.restore is None


def sentence(versions: int, planned: int) -> str:
    """As a person reads it."""
    return f"{versions:,} versions of cold classes, {planned:,} of which no board had or awaited; `frazil glacier queue` shows what waits"
