"""Where a content is by now: chunks are moved, written anew and given other policies while they are read, also by other processes.

Who moves chunks leaves the old ones for a while; who reads for longer than that, or just missed it, looks for the content once more and
goes on where it stood. Its bytes are the same wherever they lie.
"""

from __future__ import annotations

from collections.abc import Callable

from meta.protocol.holding import Claim, Holding
from meta.protocol.object import ObjectRow
from node.errors import FrazilError, NotFound
from rawx.chunk import Buffer
from store.context import Context
from store.get import NOT_READ, Sink
from store.layout import Layout
from store.opening import Read, reader_of, stored_reader


async def again(context: Context, bucket: str, holder: Holding) -> Holding | None:
    """The same content as it is named now; None when nothing names it any more. Raises: FrazilError."""
    container = context.container(bucket)
    try:
        if holder.row is not None:
            row = await container.get(holder.row.key, holder.row.version)
            if row.content == holder.row.content:
                return Holding(row.key, row.layout, row)
        content = holder.part.content if holder.part is not None else holder.row.content if holder.row is not None else ""
        (now,) = await container.holders([Claim(holder.key, content)])
    except NotFound:
        return None
    return now if now is not None and now.key else None


async def moved(context: Context, bucket: str, row: ObjectRow) -> ObjectRow | None:
    """The version with the layout that it has by now; None when it is the same, or the version is gone."""
    if not bucket:
        return None
    try:
        now = await again(context, bucket, Holding(row.key, row.layout, row))
    except FrazilError:  # then what was lost first is what there is to tell
        return None
    return None if now is None or now.row is None or now.layout == row.layout else now.row


def following(context: Context, row: ObjectRow, *, bucket: str, data_key: bytes = b"", stored: bool = False) -> Read:
    """As `reader_of`, or with `stored` as `stored_reader`, of an object whose chunks may be moved meanwhile. bucket "" follows nothing."""

    def reader(of: ObjectRow) -> Read:
        return stored_reader(context, of, bucket=bucket) if stored else reader_of(context, of, bucket=bucket, data_key=data_key)

    return _Following(context, row, bucket, reader).read


class _Following:
    def __init__(self, context: Context, row: ObjectRow, bucket: str, reader: Callable[[ObjectRow], Read]) -> None:
        self._context, self._row, self._bucket, self._reader = context, row, bucket, reader

    async def read(self, start: int, stop: int, sink: Sink) -> None:
        """Raises: ContentLost, ContentAway, SealBroken, Busy; what the sink raises."""
        at = start

        async def onward(piece: Buffer) -> None:
            nonlocal at
            await sink(piece)
            at += len(piece)

        try:
            await self._reader(self._row)(start, stop, onward)
        except NOT_READ:
            now = await moved(self._context, self._bucket, self._row)
            if now is None:
                raise
            self._row = now
            with self._context.afterwork.reading(Layout.parse(now.layout)):
                await self._reader(now)(at, stop, sink)
