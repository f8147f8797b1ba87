"""PUT: a durable content, then one metadata transaction that makes it visible; whatever fails in between leaves nothing."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import msgspec
import trio

from meta.container import LocalContainer
from meta.protocol.object import NO_CONDITION, Attributes, Condition, ObjectRow, PutResult
from node.errors import DeadlineExceeded
from node.lane import PENDING, Job
from rawx.chunk import ChunkRecord
from store.content import ContentWriter, Tail
from store.context import REFUSALS, Context
from store.layout import Layout
from store.mosaic import without_mosaic
from store.record import object_record
from store.sealing import sealed
from store.source import Source, Summary

T = TypeVar("T")
Restate = Callable[[Attributes], Attributes]
"""The attributes that an object is to have, from those that were known when its bytes began to come."""
WRITE_S_MAX = 12 * 3600.0
"""Where many gateways write: after twice this time a chunk that no metadata names is nobody's any more, whoever wrote it."""


async def put_object(
    context: Context,
    bucket: str,
    key: str,
    source: Source,
    *,
    attributes: Attributes,
    owner: str,
    storage_class: str = "STANDARD",
    condition: Condition = NO_CONDITION,
    stored: ObjectRow | None = None,
    data_key: bytes = b"",
    restate: Restate | None = None,
) -> ObjectRow:
    """Durable and visible at return.

    stored: the source gives the bytes of this object as they are stored; its size and ETag are kept, nothing is encrypted
    data_key: for attributes that tell of encryption
    restate: called once the last byte is there; the object is of that time then, however long its bytes took

    Raises: what the source raises; BucketNotFound, PreconditionFailed, ObjectNotFound, Locked, QuotaExceeded; NotEnoughServices, Busy.
    """
    version = context.stamp()
    attributes = without_mosaic(attributes)
    record, policies = await context.new_content(bucket, key, storage_class)
    row = new_row(context, record, attributes, owner=owner, storage_class=storage_class, version=version)

    def describe(summary: Summary) -> Tail:
        nonlocal row
        if restate is not None:
            now = context.stamp()
            row = msgspec.structs.replace(row, version=now, mtime_us=now, attributes=restate(row.attributes))
        row = with_summary(row, summary, writer.policy.name, stored)
        return Tail(object=object_record(row))

    container = context.container(bucket)

    async def name(layout: Layout) -> AbstractContextManager[Job]:
        nonlocal row
        row = msgspec.structs.replace(row, layout=layout.encode())
        assert isinstance(container, LocalContainer)
        return await container.put_job(row, condition)

    writer = ContentWriter(context.fleet, context.writes, policies, record, describe)
    incoming = sealed(source, attributes, data_key, 0) if stored is None else source
    naming = name if isinstance(container, LocalContainer) else None
    layout = await write(context, bucket, writer, lambda: writer.write(incoming, naming))
    if writer.named is PENDING:
        row = msgspec.structs.replace(row, layout=layout.encode())
    return await commit_object(context, bucket, row, writer, condition)


def new_row(context: Context, record: ChunkRecord, attributes: Attributes, *, owner: str, storage_class: str, version: int) -> ObjectRow:
    """Of a content that is to be written; the version is a wish."""
    return ObjectRow(
        key=record.key,
        version=version,
        null=context.guess_null(record.bucket),
        mtime_us=version,
        storage_class=storage_class,
        owner=owner,
        content=record.content,
        attributes=attributes,
    )


async def commit_object(context: Context, bucket: str, row: ObjectRow, writer: ContentWriter, condition: Condition) -> ObjectRow:
    """Makes a written content the object `row`, unless that was tried already; the row as it is stored."""

    async def name() -> PutResult:
        named = writer.named
        if named is PENDING:
            return await context.container(bucket).put(row, condition)
        if isinstance(named, BaseException):
            raise named
        assert isinstance(named, PutResult)
        return named

    return await visible(context, bucket, row, writer, await commit(context, bucket, row.key, writer, name))


async def visible(context: Context, bucket: str, row: ObjectRow, writer: ContentWriter, result: PutResult) -> ObjectRow:
    """What follows upon the transaction that named a written content; the row as it is stored."""
    context.afterwork.drop(bucket, result.dropped)
    context.learn_null(bucket, null=result.null)
    await committed(context, bucket, row.key, result.version, writer)
    if result.version == row.version and result.null == row.null:
        return row
    context.afterwork.look_for_stale_records(bucket)  # its chunks' records name another version
    return msgspec.structs.replace(row, version=result.version, null=result.null, mtime_us=result.mtime_us)


async def write(context: Context, bucket: str, writer: ContentWriter, call: Callable[[], Awaitable[Layout]]) -> Layout:
    """Runs the writer's `write` or `copy`; whatever it raises, nothing is left then but what metadata names."""
    context.afterwork.in_flight.add(writer.content)
    try:
        with trio.move_on_after(WRITE_S_MAX if context.many_gateways else math.inf):
            return await call()
        raise DeadlineExceeded(f"the body took more than {WRITE_S_MAX / 3600:g} hours")
    except BaseException:
        if writer.named is PENDING:
            await context.undo(bucket, writer)
        else:
            await context.settle_doubt(bucket, writer.record.key, writer)
        context.afterwork.in_flight.discard(writer.content)
        raise


async def commit(context: Context, bucket: str, key: str, writer: ContentWriter, call: Callable[[], Awaitable[T]]) -> T:
    """Runs the metadata transaction that names a written content; takes the content back when the transaction surely did not happen."""
    try:
        return await call()
    except REFUSALS:
        await context.undo(bucket, writer)
        raise
    except BaseException:
        await context.settle_doubt(bucket, key, writer)
        raise
    finally:
        context.afterwork.in_flight.discard(writer.content)


async def committed(context: Context, bucket: str, key: str, version: int, writer: ContentWriter) -> None:
    """The content is visible: what was flagged while writing it is remembered."""
    remembered = True
    if not writer.whole:
        for finding in writer.unwritten(bucket, key, version):
            context.fleet.found(finding)
        doubtful = writer.doubtful()
        remembered = not doubtful.metachunks or await context.remember_deletion(bucket, doubtful)
    if remembered:
        context.afterwork.settle(writer.places())


def with_summary(row: ObjectRow, summary: Summary, policy: str, stored: ObjectRow | None = None) -> ObjectRow:
    if stored is not None:
        return msgspec.structs.replace(row, size=stored.size, etag=stored.etag, policy=policy)
    attributes = row.attributes
    if summary.checksums:
        attributes = msgspec.structs.replace(attributes, checksums=summary.checksums, checksum_type="FULL_OBJECT")
    return msgspec.structs.replace(row, size=summary.size, etag=summary.etag, policy=policy, attributes=attributes)
