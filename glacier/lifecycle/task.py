"""The lifecycle job: one pass through all buckets with rules, or through one. Small steps from a position that is kept.

A step that is done twice does nothing the second time: what is due is decided by what is there, and refused when that has changed.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from glacier.lifecycle.actor import Actor
from glacier.lifecycle.calendar import Calendar
from glacier.lifecycle.news import Herald
from glacier.lifecycle.walk import Position, RulesOf, Walk
from node.errors import Damaged
from node.log import get_logger
from store.context import Context
from store.jobs.duty import STANDING
from store.tally import Tally

KIND = "lifecycle"
ROW_BYTES = 4096
"""What looking at a version counts for, at a job's pace."""
ACTION_BYTES = 64 << 10
DONE = ("expired", "deleted", "unmarked", "moved", "aborted", "locked", "superseded", "failed")
log = get_logger("glacier.lifecycle")


class LifecycleTask:
    """Implements store.jobs.task.Task."""

    def __init__(
        self, context: Context, tally: Tally, arguments: dict[str, str], *, rules_of: RulesOf, calendar: Calendar, herald: Herald
    ) -> None:
        self.pause_s = 0.0
        self._tally = tally
        self._standing = STANDING in arguments
        self._walk = Walk(context.meta, rules_of, calendar, context.clock.now_us, arguments.get("bucket", ""))
        self._actor = Actor(context, herald, tally.counts)
        self._before: Counter[str] = Counter(tally.counts)

    async def step(self, position: str) -> tuple[str | None, int]:
        """Raises: FrazilError."""
        page = await self._walk.page(msgspec.json.decode(position, type=Position) if position else Position())
        if page.problem:
            self._pass_over(page.problem)
        if page.due:
            try:
                await self._actor.perform(page.due[0].bucket, page.due)
            except Damaged as error:
                self._pass_over(f"bucket {page.due[0].bucket}: {error}")
        self._tally.counts["versions"] += page.rows
        if page.bucket_done:
            self._tell(page.bucket_done)
        if page.next is None:
            if self._standing:
                self._tally.notes = [sentence(self._tally.counts)]
            return None, 0
        return msgspec.json.encode(page.next).decode(), page.rows * ROW_BYTES + len(page.due) * ACTION_BYTES

    def _pass_over(self, problem: str) -> None:
        self._tally.counts["failed"] += 1
        log.error("a bucket's lifecycle rules can't be carried out", extra={"error": problem})

    def left(self) -> str:
        failed = self._tally.counts["failed"]
        return f"{failed} actions could not be done; the log names them, and the next pass tries them again" if failed else ""

    def _tell(self, bucket: str) -> None:
        now = {name: self._tally.counts[name] - self._before[name] for name in DONE}
        self._before = Counter(self._tally.counts)
        did = {name: number for name, number in now.items() if number}
        if did:
            log.info("a bucket's lifecycle rules were carried out", extra={"bucket": bucket, **did})


def sentence(counts: Counter[str] | dict[str, int]) -> str:
    """As a person reads it: "1,200 versions: 3 expired, 1 moved"."""
    parts = [f"{counts[name]:,} {name}" for name in DONE if counts.get(name)]
    return f"{counts.get('versions', 0):,} versions: {', '.join(parts) or 'nothing was due'}"
