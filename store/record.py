"""From metadata rows to what the chunks repeat of them. Pure."""

from __future__ import annotations

import msgspec

from meta.protocol import Attributes, ObjectRow
from rawx.chunk import ObjectRecord

NO_ATTRIBUTES = Attributes()


def object_record(row: ObjectRow, *, part: int = 1, parts: int = 1, after: int = 0) -> ObjectRecord:
    """part, parts: which of the object's contents the record is for; after: as in ObjectRecord."""
    attributes = row.attributes
    others: dict[str, object] = {}
    if attributes != NO_ATTRIBUTES:
        others = msgspec.to_builtins(attributes)
        others.pop("type", None)  # has its own field
    return ObjectRecord(
        version=row.version,
        size=row.size,
        etag=row.etag,
        mtime_us=row.mtime_us,
        type=attributes.type,
        owner=row.owner,
        storage_class=row.storage_class,
        null=row.null,
        marker=row.marker,
        part=part,
        parts=parts,
        after=after,
        attributes=others,
    )


def of_one_part(record: ObjectRecord) -> ObjectRecord:
    """The record as the chunks of one part of several keep it: of what the row lists per part only this part's.

    Otherwise the chunks of 10,000 parts would keep 10,000 entries each. A part's size is that of its metachunks.
    """
    if record.parts == 1:
        return record
    attributes = {name: value for name, value in record.attributes.items() if name != "parts"}
    sums = attributes.pop("part_checksums", None)
    if isinstance(sums, list | tuple) and len(sums) == record.parts:
        attributes["part_checksums"] = [sums[record.part - 1]]
    return msgspec.structs.replace(record, attributes=attributes)


def attributes_of(record: ObjectRecord) -> Attributes:
    """The row's attributes as the record tells them; the way back."""
    return msgspec.convert({**record.attributes, "type": record.type}, Attributes)
