"""Uploads in parts. A part is a content of its own; completion makes one object of them in one metadata transaction, no byte moves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from meta.protocol.container import Container
from meta.protocol.object import NO_CONDITION, Attributes, Condition, ObjectRow, PutResult
from meta.protocol.upload import PARTS_MAX, Complete, PartRow, UploadRow, parts_digest
from node.errors import InvalidArgument, NotFound, Superseded, UploadNotFound
from store.content import ContentWriter, Tail
from store.context import Context
from store.envelope import with_parts
from store.fleet import OF_A_PART
from store.layout import Layout
from store.put import commit, committed, write
from store.record import upload_record
from store.sealing import sealed
from store.source import Source, Summary

PART_BYTES_MIN = 5 << 20
"""Every part but the last. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

COMPLETIONS_MAX = 3
NO_RECORD = -1
"""A wish for a version that is never kept: the chunks' records name none yet, so the row joins the records to sync."""

WantedPart = tuple[int, str, dict[str, str]]
"""(number, ETag, checksums) as the client lists it."""
Check = Callable[[UploadRow, Sequence[PartRow]], tuple[dict[str, str], str]]
"""Called with the upload and its parts before the object is visible; the whole's checksums and their type. May refuse by raising."""

Describe = Callable[[Attributes], Attributes]


class _PartRefused(InvalidArgument):
    """details: what S3 says of the part, by its names."""

    def __init__(self, message: str = "", **details: str) -> None:
        super().__init__(message)
        self.details = details


class InvalidPart(_PartRefused):
    """A part is not there, or not as the client names it."""


class InvalidPartOrder(InvalidArgument):
    pass


class EntityTooSmall(_PartRefused):
    pass


async def put_part(
    context: Context, bucket: str, key: str, upload: UploadRow, part: int, source: Source, *, data_key: bytes = b""
) -> PartRow:
    """Durable at return; replaces an earlier part of that number. data_key: of an upload that is encrypted.

    Raises: as put_object; UploadNotFound.
    """
    stamp = context.stamp()

    record, policies = await context.new_content(bucket, key, upload.storage_class)

    def row_of(summary: Summary) -> PartRow:
        return PartRow(part, summary.size, summary.etag, record.content, mtime_us=stamp, checksums=summary.checksums)

    def describe(summary: Summary) -> Tail:
        return Tail(upload=upload_record(upload, row_of(summary)))

    writer = ContentWriter(context.fleet, context.writes, policies, record, describe)
    incoming = sealed(source, upload.attributes, data_key, part)
    layout = await write(context, bucket, writer, lambda: writer.write(incoming))
    row = msgspec.structs.replace(row_of(writer.summary), layout=layout.encode())
    dropped = await commit(context, bucket, key, writer, lambda: context.container(bucket).put_part(key, upload.upload, row))
    context.afterwork.drop(bucket, dropped)
    await committed(context, bucket, key, OF_A_PART, writer)
    return row


async def complete_upload(
    context: Context,
    bucket: str,
    key: str,
    upload: str,
    parts: Sequence[WantedPart],
    *,
    condition: Condition = NO_CONDITION,
    check: Check | None = None,
    describe: Describe = lambda attributes: attributes,
) -> ObjectRow:
    """The finished object. Repeating it gives the same answer for a day. describe: its attributes, from the upload's.

    Raises: InvalidPart, InvalidPartOrder, EntityTooSmall, UploadNotFound, PreconditionFailed, Locked, QuotaExceeded; what `check` raises.
    """
    for _ in range(COMPLETIONS_MAX):
        try:
            return await _complete(context, bucket, key, upload, parts, condition, check, describe)
        except Superseded:  # a part was replaced, which the next look tells, or its chunks were moved
            continue
    raise InvalidPart("parts were replaced again and again while the upload was completed")


async def _complete(
    context: Context,
    bucket: str,
    key: str,
    upload: str,
    parts: Sequence[WantedPart],
    condition: Condition,
    check: Check | None,
    describe: Describe,
) -> ObjectRow:
    """Raises: as complete_upload; Superseded."""
    container = context.container(bucket)
    try:
        page = await container.list_parts(key, upload, 0, PARTS_MAX, layouts=True)
    except UploadNotFound:
        done = await container.complete_upload(Complete(upload, ObjectRow(key), ()))  # the first completion's result, when there was one
        return await _completed(container, key, upload, done)
    rows = choose_parts(page.parts, parts)
    checksums, kind = check(page.upload, rows) if check is not None else ({}, "")
    layout = Layout.join(Layout.parse(each.layout) for each in rows)
    row = ObjectRow(
        key=key,
        version=NO_RECORD,
        size=sum(each.size for each in rows),
        etag=whole_etag(rows),
        storage_class=page.upload.storage_class,
        policy=layout.policies[0].name,  # of the first bytes: what a rebuild from the chunks finds, too
        owner=page.upload.owner,
        content=upload,
        layout=layout.encode(),
        attributes=msgspec.structs.replace(
            with_parts(describe(page.upload.attributes), [each.part for each in rows]),
            checksums=checksums,
            checksum_type=kind,
            parts=tuple(each.size for each in rows),
            part_checksums=tuple(next(iter(each.checksums.values()), "") for each in rows) if checksums else (),
        ),
    )
    digest = parts_digest(each.layout for each in rows)
    result = await container.complete_upload(Complete(upload, row, tuple((each.part, each.content) for each in rows), condition, digest))
    context.afterwork.drop(bucket, result.dropped)
    context.afterwork.look_for_stale_records(bucket)
    context.learn_null(bucket, null=result.null)
    return msgspec.structs.replace(row, version=result.version, null=result.null, mtime_us=result.mtime_us)


async def _completed(container: Container, key: str, upload: str, done: PutResult) -> ObjectRow:
    """What an earlier completion made. Raises: UploadNotFound when it was replaced or deleted since."""
    try:
        row = await container.get(key, 0 if done.null else done.version)
    except NotFound as error:
        raise UploadNotFound("the upload was completed, and the object is gone since") from error
    if row.content != upload:
        raise UploadNotFound("the upload was completed, and the object was replaced since")
    return row


async def abort_upload(context: Context, bucket: str, key: str, upload: str) -> None:
    """Raises: UploadNotFound."""
    context.afterwork.drop(bucket, await context.container(bucket).abort_upload(key, upload))


def choose_parts(there: Sequence[PartRow], wanted: Sequence[WantedPart]) -> list[PartRow]:
    """The rows of the parts the client lists. Pure. Raises: InvalidPart, InvalidPartOrder, EntityTooSmall.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
    """
    if not wanted:
        raise InvalidPart("an object needs at least one part")
    if any(later[0] <= earlier[0] for earlier, later in pairwise(wanted)):
        raise InvalidPartOrder("the parts are not in ascending order")
    by_number = {row.part: row for row in there}
    rows: list[PartRow] = []
    for number, etag, checksums in wanted:
        row = by_number.get(number)
        if row is None or row.etag != etag.strip('"'):
            raise InvalidPart(f"part {number} is not there, or has another ETag", PartNumber=str(number), ETag=etag)
        if any(row.checksums.get(name, value) != value for name, value in checksums.items()):
            raise InvalidPart(f"part {number} has another checksum", PartNumber=str(number), ETag=etag)
        rows.append(row)
    small = next((row for row in rows[:-1] if row.size < PART_BYTES_MIN), None)
    if small is not None:
        raise EntityTooSmall(
            f"part {small.part} has {small.size} bytes; all but the last need {PART_BYTES_MIN}",
            ProposedSize=str(small.size),
            MinSizeAllowed=str(PART_BYTES_MIN),
            PartNumber=str(small.part),
            ETag=small.etag,
        )
    return rows


def whole_etag(rows: Sequence[PartRow]) -> str:
    """MD5 of the parts' MD5s, and their number: what clients compare."""
    digest = hashlib.md5(b"".join(bytes.fromhex(row.etag) for row in rows), usedforsecurity=False)
    return f"{digest.hexdigest()}-{len(rows)}"
