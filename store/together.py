"""Small objects that are put together: one hop to a thread, one sync and one message for all of them.

Each is what a PUT of its own makes of it, durable and visible at return; but what a PUT does beside the syscalls, tasks, limits and waits,
is done once for all. One of which a volume fails is left to be put by itself, as one that is refused; nothing stays of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from meta.protocol.object import PUT_MANY_MAX, Attributes, ObjectRow
from node.errors import FrazilError, NotEnoughServices, decode_error
from rawx.chunk import ChunkRecord, new_chunk_id
from rawx.fanout import Put, put_all
from store.content import ContentWriter, Tail
from store.context import REFUSALS, Context
from store.parallel import gather
from store.policy import SMALL_BYTES_MAX, PolicySet
from store.put import new_row, visible, with_summary
from store.record import object_record
from store.source import Summary

TOGETHER_MAX = 256
"""As many as share a sync of chunks (rawx/device.py): while the disk is slow, each batch is waited for twice."""
TOGETHER_BYTES_MAX = SMALL_BYTES_MAX
"""Of one of them: larger ones may be codes, and are hashed in a thread."""
STORAGE_CLASS = "STANDARD"


class Small(NamedTuple):
    """One of them. attributes: that tell of no encryption."""

    key: str
    data: bytes
    attributes: Attributes


class _Object:
    """One on its way. refusal: why it is not going on."""

    def __init__(self, context: Context, record: ChunkRecord, policies: PolicySet, row: ObjectRow, data: bytes) -> None:
        self.row = row
        self.data = data
        self.puts: Sequence[Put] = ()
        self.refusal: FrazilError | None = None
        self.writer = ContentWriter(context.fleet, context.writes, policies, record, self._describe)

    def __repr__(self) -> str:
        return f"<_Object {self.row.key!r} refusal={self.refusal}>"

    def _describe(self, summary: Summary) -> Tail:
        self.row = with_summary(self.row, summary, self.writer.policy.name)
        return Tail(object=object_record(self.row))


async def put_together(context: Context, bucket: str, smalls: Sequence[Small], *, owner: str) -> list[ObjectRow | FrazilError]:
    """For each, in order, the row or why it was not stored, as put_object would raise it, or NotEnoughServices where that may do better.

    At most TOGETHER_MAX, all with different keys. Raises: BucketNotFound, NotEnoughServices; then nothing was stored.
    """
    settings = await context.container(bucket).settings()
    policies = context.policies_of(settings, STORAGE_CLASS)
    objects = []
    for small in smalls:
        record = ChunkRecord(bucket, small.key, new_chunk_id(), "", account=settings.account)
        row = new_row(context, record, small.attributes, owner=owner, storage_class=STORAGE_CLASS, version=context.stamp())
        objects.append(_Object(context, record, policies, row, small.data))
    context.afterwork.in_flight.update(each.writer.content for each in objects)
    try:
        await _write(context, bucket, objects)
        return await _name(context, bucket, objects)
    finally:
        context.afterwork.in_flight.difference_update(each.writer.content for each in objects)


async def _write(context: Context, bucket: str, objects: Sequence[_Object]) -> None:
    """Makes the chunks of all durable."""
    try:
        for each in objects:
            each.puts = await each.writer.begin_whole(memoryview(each.data))
        outcomes, _ = await put_all([put for each in objects for put in each.puts])
    except BaseException:
        for each in objects:
            await context.undo(bucket, each.writer)
        raise
    at = 0
    for each in objects:
        own, at = outcomes[at : at + len(each.puts)], at + len(each.puts)
        layout = each.writer.end_whole(own)
        if layout is not None:
            each.row = msgspec.structs.replace(each.row, layout=layout.encode())
            continue
        each.refusal = NotEnoughServices("it could not be put together with others")
        await context.undo(bucket, each.writer)


async def _name(context: Context, bucket: str, objects: Sequence[_Object]) -> list[ObjectRow | FrazilError]:
    """One transaction makes all visible whose chunks are there."""
    written = [each for each in objects if each.refusal is None]
    messages = [written[at : at + PUT_MANY_MAX] for at in range(0, len(written), PUT_MANY_MAX)]
    await gather([partial(_send, context, bucket, message) for message in messages])
    return [each.refusal or each.row for each in objects]


async def _send(context: Context, bucket: str, message: Sequence[_Object]) -> None:
    """Those that come at the same time share a transaction."""
    try:
        outcomes = await context.container(bucket).put_many([each.row for each in message])
    except BaseException as error:
        for each in message:
            await _refuse(context, bucket, each, error)
        if not isinstance(error, FrazilError):
            raise
        return
    for each, outcome in zip(message, outcomes, strict=True):
        if outcome.result is not None:
            each.row = await visible(context, bucket, each.row, each.writer, outcome.result)
        else:
            await _refuse(context, bucket, each, decode_error(outcome.error, 500))


async def _refuse(context: Context, bucket: str, each: _Object, error: BaseException) -> None:
    if isinstance(error, FrazilError):
        each.refusal = error
    if isinstance(error, REFUSALS):
        await context.undo(bucket, each.writer)
    else:
        await context.settle_doubt(bucket, each.row.key, each.writer)
