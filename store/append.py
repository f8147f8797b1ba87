"""Appending to an object: the new bytes are a content of their own, and one metadata transaction names them behind what was there.

Nothing that is stored is read or written again. In a bucket without versioning the object itself grows. Where versions are kept, the old
one must stay as it is: its chunks are copied on their volumes, as by CopyObject, and copy and new bytes are the new version.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/directory-buckets-objects-append.html
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from meta.protocol.object import NO_CONDITION, Append, Condition, ObjectRow, PutResult
from meta.protocol.upload import PARTS_MAX
from node.errors import Conflict, InvalidArgument, NotEnoughServices, ObjectNotFound, Superseded
from rawx.chunk import ChunkRecord, new_chunk_id
from store.content import ContentWriter, Tail
from store.context import Context
from store.copy import ContentSource
from store.envelope import envelope_of
from store.layout import Layout
from store.moved import following
from store.policy import PolicySet
from store.put import commit, committed, write
from store.record import object_record, of_one_part
from store.sealing import sealed
from store.source import Source, Summary

COMMITS_MAX = 5
"""Tries to name the new content while the object's tags and the like change."""
NO_RECORD = -1
"""A wish for a version that is never kept, as in store/multipart.py: the records are out of date already."""

Combine = Callable[[ObjectRow, Summary], dict[str, str]]
"""The whole's full checksum from the object as it was and the new bytes; {} when it doesn't follow from theirs."""


class InvalidWriteOffset(InvalidArgument):
    """The object does not end where the new bytes are to begin."""


class TooManyParts(InvalidArgument):
    """An object consists of at most PARTS_MAX parts, and each append is one."""


class ConditionalRequestConflict(Conflict):
    """The object was replaced while the new bytes came."""


async def append_object(
    context: Context,
    bucket: str,
    old: ObjectRow,
    source: Source,
    *,
    combine: Combine,
    condition: Condition = NO_CONDITION,
    data_key: bytes = b"",
) -> ObjectRow:
    """The object as it is now; durable and visible at return.

    old: its current version, which ends where the source begins; data_key: of one that is encrypted

    Raises: as put_object; InvalidWriteOffset, TooManyParts, ConditionalRequestConflict.
    """
    if len(old.attributes.parts) >= PARTS_MAX:
        raise TooManyParts(f"an object has at most {PARTS_MAX} parts: copy it to another, then append to that")
    settings = await context.container(bucket).settings()
    record = ChunkRecord(bucket, old.key, new_chunk_id(), "", account=settings.account)
    growth = _Growth(context, context.policies_of(settings, old.storage_class), old, record, combine, null=settings.versioning != "Enabled")
    incoming = sealed(source, old.attributes, data_key, growth.number)
    layout = await write(context, bucket, growth.writer, lambda: growth.writer.write(incoming))
    return await growth.finish(layout, condition)


class _Growth:
    """One append.

    number  of the new content among the object's
    null    the result is a null version; where the object is one already, it grows in place
    """

    def __init__(self, context: Context, policies: PolicySet, old: ObjectRow, record: ChunkRecord, combine: Combine, *, null: bool) -> None:
        self._context, self._bucket, self._old, self._combine = context, record.bucket, old, combine
        self._policies = policies
        self._in_place = null and old.null
        self._version, self._null = context.stamp(), null
        self.number = max(_numbers(old)) + 1
        self._summary: Summary
        self._row = old
        self._new: Layout  # of the new bytes
        self.writer = ContentWriter(context.fleet, context.writes, policies, record, self._describe)

    async def finish(self, layout: Layout, condition: Condition) -> ObjectRow:
        """layout: of the new bytes, which are durable."""
        context, bucket, key = self._context, self._bucket, self._old.key
        result = await commit(context, bucket, key, self.writer, lambda: self._name(layout, condition))
        context.afterwork.drop(bucket, result.dropped)
        context.learn_null(bucket, null=result.null)
        context.afterwork.look_for_stale_records(bucket)
        await committed(context, bucket, key, result.version, self.writer)
        return msgspec.structs.replace(self._row, version=result.version, null=result.null, mtime_us=result.mtime_us)

    async def _name(self, layout: Layout, condition: Condition) -> PutResult:
        context, bucket, key, old = self._context, self._bucket, self._old.key, Layout.parse(self._old.layout)
        self._new = layout
        if self._in_place:
            return await self._append(Layout.join((old, layout)), (self.writer.content,), condition)
        record = msgspec.structs.replace(self.writer.record, content=new_chunk_id())
        copier = ContentWriter(context.fleet, context.writes, self._policies, record, lambda _: Tail())
        parts = self._row.attributes.parts
        whole = object_record(self._row, part=len(parts) - 1, parts=len(parts), content=self.writer.content)
        tail = Tail(object=of_one_part(whole, parts[:-1]))
        with context.afterwork.reading(old):
            try:
                copied = await write(context, bucket, copier, lambda: copier.copy(old, tail))
            except NotEnoughServices:  # as in copy_object
                record = msgspec.structs.replace(record, content=new_chunk_id())
                copier = ContentWriter(context.fleet, context.writes, self._policies, record, lambda _: tail)
                content = ContentSource(following(context, self._old, bucket=bucket, stored=True), 0, old.size)
                copied = await write(context, bucket, copier, lambda: copier.write(content))
        joined, contents = Layout.join((copied, layout)), (copier.content, self.writer.content)
        result = await commit(context, bucket, key, copier, lambda: self._append(joined, contents, condition))
        await committed(context, bucket, key, result.version, copier)
        return result

    async def _append(self, layout: Layout, contents: tuple[str, ...], condition: Condition) -> PutResult:
        container = self._context.container(self._bucket)
        self._row = msgspec.structs.replace(self._row, layout=layout.encode())
        for _ in range(COMMITS_MAX):
            try:
                return await container.append(Append(self._row, contents, self._old.seq, self._in_place, condition))
            except Superseded:
                await self._read_again()
        raise ConditionalRequestConflict("the object's attributes were changed again and again while the new bytes were to be named")

    async def _read_again(self) -> None:
        """Goes on from the row as it is now if it is still of the same content. Raises: InvalidWriteOffset, ConditionalRequestConflict."""
        try:
            now = await self._context.container(self._bucket).get(self._old.key)
        except ObjectNotFound:
            now = ObjectRow(self._old.key)
        if now.content == self._old.content and now.seq != self._old.seq:
            self._old = now
            layout = Layout.join((Layout.parse(now.layout), self._new)).encode() if self._in_place else self._row.layout
            self._row = msgspec.structs.replace(self._grown(now, self._summary), version=NO_RECORD, layout=layout)
        elif now.size != self._old.size:
            raise InvalidWriteOffset(f"the object has {now.size} bytes by now, the offset is {self._old.size}")
        else:
            raise ConditionalRequestConflict("the object was replaced while the new bytes came")

    def _describe(self, summary: Summary) -> Tail:
        self._summary = summary
        self._row = row = self._grown(self._old, summary)
        number = len(row.attributes.parts)
        after = self._old.version if self._in_place else 0
        return Tail(object=of_one_part(object_record(row, part=number, parts=number, after=after)))

    def _grown(self, old: ObjectRow, summary: Summary) -> ObjectRow:
        """The object as it will be, but for its layout. A new version has the old one's attributes, but not its protection."""
        was = old.attributes
        sizes = was.parts or (old.size,)
        parts = (*sizes, summary.size)
        sums = self._combine(old, summary)
        attributes = msgspec.structs.replace(
            was,
            checksums=sums,
            checksum_type="FULL_OBJECT" if sums else "",
            parts=parts,
            part_checksums=(*_part_sums(old, len(sizes)), *summary.checksums.values()) if sums else (),
        )
        envelope = envelope_of(was)
        if envelope is not None:
            attributes = msgspec.structs.replace(envelope, parts=(*_numbers(old), self.number)).into(attributes)
        if not self._in_place:
            attributes = msgspec.structs.replace(attributes, retain_mode="", retain_until_us=0, legal_hold=None)
        return msgspec.structs.replace(
            old,
            version=self._version,
            null=self._null,
            mtime_us=self._version,
            size=old.size + summary.size,
            etag=_etag(old.etag, summary.etag, len(parts)),
            content=self.writer.content,
            attributes=attributes,
        )


def _numbers(row: ObjectRow) -> Sequence[int]:
    """The numbers that an object's contents have, or would have, in their sealed form; no later one may be given twice."""
    envelope = envelope_of(row.attributes)
    return (envelope.parts if envelope is not None else ()) or range(1, len(row.attributes.parts) + 1) or (0,)


def _part_sums(old: ObjectRow, parts: int) -> tuple[str, ...]:
    """The checksums of what will be the first parts; of an object in one piece its own."""
    return old.attributes.part_checksums if parts > 1 else tuple(old.attributes.checksums.values())


def _etag(old: str, new: str, parts: int) -> str:
    """No MD5 of the whole, whose bytes are not read again; it changes with every append, and its form says so."""
    return f"{hashlib.md5(f'{old}{new}'.encode('ascii'), usedforsecurity=False).hexdigest()}-{parts}"
