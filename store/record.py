"""From metadata rows to what the chunks repeat of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from meta.protocol.holding import Holding
from meta.protocol.object import Attributes, ObjectRow
from meta.protocol.upload import PartRow, UploadRow
from rawx.chunk import ChunkRecord, ObjectRecord, UploadRecord
from store.mosaic import MOSAIC

NO_ATTRIBUTES = Attributes()


def object_record(row: ObjectRow, *, part: int = 1, parts: int = 1, after: int = 0, content: str = "") -> ObjectRecord:
    """part, parts: which of the object's contents the record is for; after, content: as in ObjectRecord."""
    attributes = row.attributes
    others = _builtins(attributes)
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
        content=content,
    )


def of_one_part(record: ObjectRecord, span: Sequence[int] = ()) -> ObjectRecord:
    """The record as the chunks of one part of several keep it: of what the row lists per part only this part's.

    Otherwise the chunks of 10,000 parts would keep 10,000 entries each. A part's size is that of its metachunks.
    span: sizes of the parts, up to this one, that are one content: of an object that was copied in one piece and then grew.
    """
    if record.parts == 1:
        return record
    attributes = {name: value for name, value in record.attributes.items() if name != "parts"}
    sums = attributes.pop("part_checksums", None)
    if isinstance(sums, list | tuple) and len(sums) == record.parts:
        attributes["part_checksums"] = list(sums[record.part - max(len(span), 1) : record.part])
    if len(span) > 1:
        attributes["parts"] = list(span)
    return msgspec.structs.replace(record, attributes=attributes)


def is_stale(record: ChunkRecord, row: ObjectRow, fresh: ObjectRecord | None = None) -> bool:
    """Whether it says something else than its row, as far as one record shows. fresh: `object_record` of the row, where it is at hand."""
    told = record.object
    if told is None or _is_older_content(record, row):
        return False
    if (record.key, told.version, told.null) != (row.key, row.version, row.null) and not told.after and told.parts == 1:
        return True
    if told.parts != 1 or row.attributes.parts:
        return False  # of an object of several contents each says its part; a sync makes them alike
    fresh = fresh or object_record(row)
    if told == fresh:
        return False
    return told != msgspec.structs.replace(fresh, part=told.part, parts=told.parts, content=told.content, after=told.after)


def may_be_stale(record: ChunkRecord, row: ObjectRow) -> bool:
    """The same for a record that a new chunk repeats; where it doesn't show, its age decides. Only a content's end tells of its row."""
    told = record.object
    if not record.metachunks or _is_older_content(record, row):
        return False
    if told is None or is_stale(record, row):
        return True
    return record.seq < row.seq and (told.parts != 1 or bool(row.attributes.parts))


def may_be_of(record: ChunkRecord, holder: Holding) -> bool:
    """Whether a chunk with the record may be one of this content's; of an object of several contents the key has to do."""
    if holder.part is not None:
        return record.content == holder.part.content
    row = holder.row
    if row is None:
        return False
    several = row.marker or bool(row.attributes.parts) or MOSAIC in row.attributes.extra
    return record.content == row.content or (several and record.key == row.key)


def names_chunk(record: ChunkRecord, holder: Holding, checksum: bytes) -> bool:
    """Whether the record was written for that very chunk of the content."""
    return record.checksum == checksum.hex() and may_be_of(record, holder)


def _is_older_content(record: ChunkRecord, row: ObjectRow) -> bool:
    """Whether the row tells more than the record has to: of an object that was partly rewritten the newest content's records tell all."""
    return MOSAIC in row.attributes.extra and record.content != row.content


def span_of(record: ObjectRecord | None) -> list[int]:
    """Sizes of the parts that a content covers, when they are several."""
    parts = record.attributes.get("parts") if record is not None else None
    return list(parts) if isinstance(parts, list | tuple) else []


def attributes_of(record: ObjectRecord) -> Attributes:
    """The row's attributes as the record tells them; the way back. Raises: msgspec.ValidationError."""
    return msgspec.convert({**record.attributes, "type": record.type}, Attributes)


def upload_record(upload: UploadRow, part: PartRow) -> UploadRecord:
    """Each part repeats what the upload says: whichever parts are left, the upload is known."""
    return UploadRecord(
        upload.upload,
        part.part,
        part.size,
        part.etag,
        part.mtime_us,
        part.checksums,
        started_us=upload.started_us,
        owner=upload.owner,
        storage_class=upload.storage_class,
        policy=upload.policy,
        checksum_algorithm=upload.checksum_algorithm,
        checksum_type=upload.checksum_type,
        attributes=_builtins(upload.attributes),
    )


def upload_of(record: UploadRecord, key: str) -> UploadRow:
    """The upload's row as a part's record tells it; the way back. Raises: msgspec.ValidationError."""
    return UploadRow(
        record.upload,
        key,
        started_us=record.started_us,
        owner=record.owner,
        storage_class=record.storage_class,
        policy=record.policy,
        checksum_algorithm=record.checksum_algorithm,
        checksum_type=record.checksum_type,
        attributes=msgspec.convert(record.attributes, Attributes),
    )


def _builtins(attributes: Attributes) -> dict[str, object]:
    built: dict[str, object] = {} if attributes == NO_ATTRIBUTES else msgspec.to_builtins(attributes)
    return built
