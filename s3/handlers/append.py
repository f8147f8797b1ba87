"""PUT with x-amz-write-offset-bytes: the body goes behind the object that is there.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/directory-buckets-objects-append.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meta.protocol.object import Condition, ObjectRow
from meta.protocol.restore import COLD_CLASSES
from node.errors import ObjectNotFound, PreconditionFailed
from s3 import checksum, encryption
from s3.attributes import attributes_of
from s3.call import Call
from s3.condition import write_condition
from s3.errors import S3Error, invalid_argument
from s3.notification import CREATED_PUT
from s3.publish import publish_row
from s3.source import source_of
from store.source import Summary

WRITE_OFFSET = b"x-amz-write-offset-bytes"
OFFSET_DIGITS_MAX = 18


Create = Callable[[Condition], Awaitable[ObjectRow]]
"""PUT of the body as a new object."""


async def append_object(call: Call, text: str, create: Create) -> ObjectRow:
    """text: the offset, which must be where the object ends; at 0 there need not be one."""
    if not text.isascii() or not text.isdigit() or len(text) > OFFSET_DIGITS_MAX:
        raise invalid_argument("The write offset is not a number of bytes.", WRITE_OFFSET.decode("ascii"), text)
    old = await _current(call)
    if int(text) != (old.size if old else 0):
        refusal = S3Error("InvalidWriteOffset")
        if call.access.may("s3:GetObject"):
            refusal.details["ObjectSize"] = str(old.size if old else 0)
        raise refusal
    if old is not None:
        if old.storage_class in COLD_CLASSES:  # also of one that is restored: only the copy would grow
            raise S3Error("InvalidObjectState", StorageClass=old.storage_class)
        return await _grow(call, old)
    asked = write_condition(call)
    try:
        return await create(Condition(if_match=asked.if_match, if_none_match=("*",)))  # whoever brings other first bytes meanwhile wins
    except PreconditionFailed as error:
        if asked.if_none_match:
            raise
        raise S3Error("InvalidWriteOffset") from error


async def _current(call: Call) -> ObjectRow | None:
    try:
        row = await call.container.get(call.key)
    except ObjectNotFound:
        return None
    return None if row.marker else row


async def _grow(call: Call, old: ObjectRow) -> ObjectRow:
    """The object keeps its attributes, whatever the request says of them."""
    data_key = await encryption.unlock_for_append(call, old.attributes)
    attributes_of(call)
    full = old.attributes.checksum_type == checksum.FULL_OBJECT
    kept = next((name for name in old.attributes.checksums if full and name in checksum.COMBINED), "")

    def combine(before: ObjectRow, summary: Summary) -> dict[str, str]:
        if not kept:
            return {}
        pieces = ((before.attributes.checksums, before.size), (summary.checksums, summary.size))
        whole = checksum.combine(kept, checksum.FULL_OBJECT, pieces)
        return {} if whole is None else {kept: whole}

    source = source_of(call, keep=kept, always=True)
    condition = write_condition(call)
    row = await call.store.append_object(call.bucket, old, source, combine=combine, condition=condition, data_key=data_key)
    if call.settings.documents:
        await publish_row(call, CREATED_PUT, row)
    return row
