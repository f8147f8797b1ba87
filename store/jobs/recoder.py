"""Another storage policy for what is stored already, while it is read and written."""

from __future__ import annotations

from functools import partial

from meta.protocol.bucket import BucketSettings
from meta.protocol.holding import Cursor, Holding
from node.errors import ContentAway, ContentCold, ContentLost, FrazilError, RecordCorrupt, Superseded
from node.log import get_logger
from store.context import Context
from store.jobs.task import CONTENTS, Walk
from store.layout import Layout
from store.moved import again
from store.parallel import gather
from store.policy import PolicySet
from store.recode import is_right, recode
from store.tally import Tally
from store.tier import Temperature

WALK_ROWS = 50
CONTENTS_AT_ONCE = 4
TRIES_MAX = 3
"""For a content that changes while it is written anew; then the step is tried again."""
PASSES_MAX = 5
"""For a bucket in which the last pass still found something: what was begun before the policy changed."""
OLDEST = 1 << 62
"""A version that every other is older than."""
log = get_logger("store.jobs")


class ChangePolicy(Walk):
    """Gives a bucket's contents the policy that the bucket says, or another: passes, until one finds nothing to do.

    What lies on sleeping disks stays as it is, and is counted as cold.
    """

    def __init__(self, context: Context, tally: Tally, arguments: dict[str, str]) -> None:
        super().__init__(context, tally, arguments["bucket"])
        self._prefix, self._policy, self._dry = arguments.get("prefix", ""), arguments.get("policy", ""), "dry" in arguments

    async def step(self, position: str) -> tuple[str | None, int]:
        counts = self._tally.counts
        following, size = await super().step(position)
        if following is not None:
            return following, size
        counts["passes"] += 1
        if self._dry or counts["found"] == counts["lost"] or counts["passes"] >= PASSES_MAX:
            return None, size
        counts["found"] = counts["lost"] = counts["cold"] = 0
        return "", size

    def left(self) -> str:
        found, lost, cold = (self._tally.counts[name] for name in ("found", "lost", "cold"))
        if lost:
            return f"too little is left of {lost} contents to write them anew: the log names them"
        if found and not self._dry:
            return f"after {PASSES_MAX} passes there was still something to change: run it again"
        return f"{cold} contents lie on sleeping disks and stayed as they are" if cold and not self._dry else ""

    async def visit(self, bucket: str, cursor: Cursor) -> tuple[Cursor | None, int]:
        container = self._context.container(bucket)
        settings = await container.settings()
        if self._prefix and cursor == Cursor():
            cursor = Cursor(self._prefix, OLDEST)
        holders = await container.walk(cursor, WALK_ROWS)
        mine = [(holder, self._policies(settings, holder)) for holder in holders if holder.key.startswith(self._prefix)]
        wrong = [(holder, policies) for holder, policies in mine if policies is not None and self._is_wrong(bucket, holder, policies)]
        size = 0
        for at in range(0, len(wrong), CONTENTS_AT_ONCE):
            calls = [partial(self._change, bucket, holder, policies) for holder, policies in wrong[at : at + CONTENTS_AT_ONCE]]
            for outcome in await gather(calls):
                if isinstance(outcome, FrazilError):
                    raise outcome
                size += outcome
        self._tally.counts[CONTENTS] += len(holders)
        return (holders[-1].cursor if holders else None), size

    def _policies(self, settings: BucketSettings, holder: Holding) -> PolicySet | None:
        """None for a part of an upload where its class may have policies of its own: the object will tell."""
        if self._policy:
            return PolicySet.of_bucket(self._policy, len(self._context.fleet.volumes))
        if holder.row is None and self._context.classes:
            return None
        return self._context.policies_of(settings, "STANDARD" if holder.row is None else holder.row.storage_class)

    def _is_wrong(self, bucket: str, holder: Holding, policies: PolicySet) -> bool:
        try:
            return not is_right(Layout.parse(holder.layout), policies, self._context.fleet)
        except RecordCorrupt as error:
            self._tally.counts["lost"] += 1
            log.error("a layout can't be read", extra={"bucket": bucket, "key": holder.key, "error": str(error)})
            return False

    async def _change(self, bucket: str, holder: Holding, policies: PolicySet) -> int:
        """Bytes of the content. Raises: Superseded, NotEnoughServices, Unavailable."""
        counts = self._tally.counts
        layout = Layout.parse(holder.layout)
        (state,) = await self._context.tier.states([layout])
        if state.temperature is not Temperature.HOT:
            counts["cold"] += 1
            return 0
        counts["found"] += 1
        if self._dry:
            counts["bytes"] += layout.size
            return 0
        now: Holding | None = holder
        for _ in range(TRIES_MAX):
            if now is None:
                return 0  # deleted or replaced: what came in its place was written with the new policy, or the next pass finds it
            try:
                size = await recode(self._context, bucket, now, policies)
            except Superseded:
                now = await again(self._context, bucket, holder)
                continue
            except ContentCold:  # it was frozen just now
                counts["found"] -= 1
                counts["cold"] += 1
                return 0
            except ContentAway as error:  # another pass finds it
                log.warning("a content can't be written anew now", extra={"bucket": bucket, "key": holder.key, "error": str(error)})
                return 0
            except ContentLost as error:
                counts["lost"] += 1
                log.error("a content can't be written anew", extra={"bucket": bucket, "key": holder.key, "error": str(error)})
                return 0
            counts["changed"] += 1
            counts["bytes"] += size
            return size
        raise Superseded(f"{bucket}/{holder.key} was changed again and again while it was to be written anew")
