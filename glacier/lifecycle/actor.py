"""Carrying out what is due: one conditional transaction for each, refused by the metadata when it no longer rests upon what is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from glacier.lifecycle.news import Event, Herald, News
from glacier.lifecycle.plan import Kind
from glacier.lifecycle.walk import Due
from meta.protocol.object import DeleteRequest, DeleteResult, Seen
from node.errors import FrazilError, NotFound, Superseded
from node.log import get_logger
from node.metrics import counter
from store.context import Context
from store.parallel import gather
from store.transition import transition

MOVES_AT_ONCE = 16
LOCKED = "Locked"
SUPERSEDED = "Superseded"
log = get_logger("glacier.lifecycle")


class Actor:
    """counts: what was done, by name; "locked" for what object lock keeps, "superseded" for what was otherwise by then."""

    def __init__(self, context: Context, herald: Herald, counts: Counter[str]) -> None:
        self._context = context
        self._herald = herald
        self._counts = counts

    async def perform(self, bucket: str, dues: Sequence[Due]) -> None:
        """All of one bucket, as a walk brings it. Raises: FrazilError when it can't be done now, or nobody can be told.

        What a decision rests upon must not go before it: moves come first, and a key's older versions before its newer ones.
        """
        news = await self._each([due for due in dues if due.action.kind not in _DELETIONS])
        news += await self._delete([due for due in reversed(dues) if due.action.kind in _DELETIONS], bucket)
        if news:
            await self._herald.tell(bucket, news)

    async def _delete(self, dues: Sequence[Due], bucket: str) -> list[News]:
        if not dues:
            return []
        results = await self._context.container(bucket).delete_many([_request(due) for due in dues])
        news = []
        for due, result in zip(dues, results, strict=True):
            if result.error:
                self._refused(due, result)
                continue
            self._context.afterwork.drop(bucket, result.dropped)
            if result.made_marker:
                self._context.afterwork.add_marker(bucket, result.key, result.version)
            self._did(due)
            news.append(News(Event.EXPIRED, deletion=result))
        return news

    def _refused(self, due: Due, result: DeleteResult) -> None:
        if result.error == LOCKED:
            self._counts["locked"] += 1
        elif result.error == SUPERSEDED:
            self._counts["superseded"] += 1
        else:
            self._counts["failed"] += 1
            log.warning("an object could not be deleted", extra={"bucket": due.bucket, "code": result.error, "error": result.message})

    async def _each(self, dues: Sequence[Due]) -> list[News]:
        """Uploads and moves, some side by side."""
        news, failure = [], None
        for at in range(0, len(dues), MOVES_AT_ONCE):
            batch = dues[at : at + MOVES_AT_ONCE]
            for due, outcome in zip(batch, await gather([partial(self._one, due) for due in batch]), strict=True):
                if isinstance(outcome, Superseded | NotFound):
                    self._counts["superseded"] += 1
                elif isinstance(outcome, FrazilError):
                    failure = outcome
                else:
                    self._did(due)
                    news += outcome
        if failure is not None:
            self._counts["failed"] += 1
            log.warning("not all that is due could be done now", extra={"error": str(failure)})
        return news

    async def _one(self, due: Due) -> list[News]:
        if due.upload is not None:
            dropped = await self._context.container(due.bucket).abort_upload(due.key, due.upload.upload)
            self._context.afterwork.drop(due.bucket, dropped)
            return []
        assert due.row is not None
        seen = Seen(due.row.seq, due.action.newer)
        return [News(Event.MOVED, await transition(self._context, due.bucket, due.row, due.action.storage_class, seen))]

    def _did(self, due: Due) -> None:
        name = _DONE[due.action.kind]
        self._counts[name] += 1
        counter("lifecycle_actions", "What lifecycle rules have done.", ("action",)).labels(name).inc()


_DELETIONS = frozenset({Kind.EXPIRE, Kind.DELETE, Kind.UNMARK})
_DONE = {
    Kind.EXPIRE: "expired",
    Kind.DELETE: "deleted",
    Kind.UNMARK: "unmarked",
    Kind.MOVE: "moved",
    Kind.ABORT: "aborted",
}


def _request(due: Due) -> DeleteRequest:
    row, action = due.row, due.action
    assert row is not None
    seen = Seen(row.seq, action.newer, action.alone)
    return DeleteRequest(row.key, None if action.kind is Kind.EXPIRE else row.version, owner=row.owner, seen=seen)
