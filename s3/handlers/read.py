"""GET and HEAD of objects."""

from __future__ import annotations

import msgspec

from meta.protocol.object import ObjectRow
from node.errors import ObjectNotFound
from rawx.chunk import Buffer
from s3 import checksum, encryption
from s3.access import authorize_again
from s3.attributes import checksum_headers, object_headers, object_lines, version_headers
from s3.byterange import parse_range
from s3.call import Call, Header
from s3.condition import check_read, range_applies
from s3.customer_key import OF_OBJECT
from s3.errors import S3Error, invalid_argument
from s3.moment import http_date
from s3.storageclass import STANDARD, require_readable
from s3.version import encode_version, parse_version
from s3.xml import DECLARATION, NAMESPACE, escape
from store.get import NOT_READ
from store.policy import SMALL_BYTES_MAX

PARTS_SHOWN_MAX = 1_000


async def current_row(call: Call) -> ObjectRow:
    """The version the request names, never a delete marker. Raises: NoSuchKey, NoSuchVersion, MethodNotAllowed."""
    text = call.query.get("versionId") if call.query else None
    row = call.row
    if row is None:
        try:
            row = await call.container.get(call.key, None if text is None else parse_version(text))
        except ObjectNotFound as error:
            raise S3Error("NoSuchKey" if text is None else "NoSuchVersion", Key=call.key) from error
    call.found = row
    if row.marker:
        headers: list[Header] = [(b"x-amz-delete-marker", b"true"), *version_headers(row.version, row.null, call.settings)]
        if text is None:
            raise S3Error("NoSuchKey", Key=call.key, headers=tuple(headers))
        headers += [(b"Last-Modified", http_date(row.mtime_us)), (b"Allow", b"DELETE")]
        raise S3Error("MethodNotAllowed", Method=call.request.method, ResourceType="DeleteMarker", headers=tuple(headers))
    return row


class Selection(msgspec.Struct, frozen=True):
    """What of the object is sent: bytes [start, stop), with which status. `lines` are headers that are ready; data_key: when encrypted."""

    status: int
    start: int
    stop: int
    headers: list[Header]
    lines: bytes
    data_key: bytes = b""


_SELECTING = frozenset((b"range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")).union(
    (OF_OBJECT.algorithm, OF_OBJECT.key, OF_OBJECT.md5)
)
"""Without any of these headers, and without parameters, all of the object is sent."""


async def select(call: Call, row: ObjectRow) -> Selection:
    """Conditions, ranges, part numbers, encryption, and the answer's headers. Raises: S3Error."""
    request_headers = call.request.headers
    headers, lines = object_headers(call, row), object_lines(call, row)
    if not call.query and not row.attributes.extra and _SELECTING.isdisjoint(request_headers.first):
        if b"x-amz-checksum-mode" in request_headers.first:
            headers += _checksums_asked(call, row)
        return Selection(200, 0, row.size, headers, lines)
    data_key, echoed = await encryption.unlock(call, row.attributes)
    headers += echoed
    if not check_read(call, row.etag, row.mtime_us):
        return Selection(304, 0, 0, [header for header in headers if header[0] != b"Content-Type"], lines)
    range_header = request_headers.get(b"range")
    part = call.query.get("partNumber") if call.query else None
    start, stop = 0, row.size
    if part is not None:
        if range_header is not None:
            raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        start, stop = _part(row, part)
        if row.attributes.parts:
            headers.append((b"x-amz-mp-parts-count", b"%d" % len(row.attributes.parts)))
            headers += _part_checksum(call, row, int(part))
    elif range_header is not None:
        found = parse_range(range_header, row.size) if range_applies(call, row.etag, row.mtime_us) else None
        if found is None:
            range_header = None
        else:
            start, stop = found
    ranged = range_header is not None or (part is not None and row.size > 0)
    if ranged and start < stop:  # a part may have no bytes, which no range can say
        headers.append((b"Content-Range", b"bytes %d-%d/%d" % (start, stop - 1, row.size)))
    whole = stop - start == row.size and not (part is not None and row.attributes.parts)
    if whole:
        headers += _checksums_asked(call, row)
    return Selection(206 if ranged else 200, start, stop, headers, lines, data_key)


def _checksums_asked(call: Call, row: ObjectRow) -> list[Header]:
    """Of the whole object, for who asks for them."""
    if not row.attributes.checksums or call.text(b"x-amz-checksum-mode").upper() != "ENABLED":
        return []
    return checksum_headers(row.attributes.checksums, row.attributes.checksum_type)


def _part(row: ObjectRow, text: str) -> tuple[int, int]:
    """Bytes of a part; an object that was not uploaded in parts is its own part 1. Raises: InvalidArgument, InvalidPartNumber."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not 1 <= number <= 10_000:
        raise S3Error(
            "InvalidArgument",
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text,
        )
    sizes = row.attributes.parts or (row.size,)
    if number > len(sizes):
        raise S3Error("InvalidPartNumber", PartNumberRequested=text, ActualPartCount=str(len(sizes)))
    start = sum(sizes[: number - 1])
    return start, start + sizes[number - 1]


def _part_checksum(call: Call, row: ObjectRow, number: int) -> list[Header]:
    """The part's own, in place of the whole's."""
    attributes = row.attributes
    if number > len(attributes.part_checksums) or call.text(b"x-amz-checksum-mode").upper() != "ENABLED":
        return []
    return checksum_headers(dict.fromkeys(attributes.checksums, attributes.part_checksums[number - 1]), attributes.checksum_type)


async def get_object(call: Call) -> None:
    encryption.refuse_method(call)
    row = await current_row(call)
    while True:
        try:
            return await _send(call, row)
        except NOT_READ:
            if call.reply.started:
                raise
            if call.row is not None:  # who was let in to that very row is asked again for the new one
                await authorize_again(call)
            newer = await current_row(call)
            if newer.content == row.content:
                raise
            row = newer  # replaced between its row and its bytes


async def _send(call: Call, row: ObjectRow) -> None:
    await send_selected(call, row, await select(call, row))


async def send_selected(call: Call, row: ObjectRow, selection: Selection) -> None:
    reply, start, stop = call.reply, selection.start, selection.stop
    if row.storage_class != STANDARD and selection.status != 304:
        require_readable(row, call.now_us)
    if selection.status == 304 or stop == start:
        await reply.whole(selection.status, selection.headers, lines=selection.lines)
    elif row.size <= SMALL_BYTES_MAX:
        data: Buffer = await call.store.read_whole(row, bucket=call.bucket, data_key=selection.data_key)
        if stop - start != row.size:
            data = memoryview(data)[start:stop]
        await reply.whole(selection.status, selection.headers, data, lines=selection.lines)
    else:
        await _stream(call, row, selection)


async def _stream(call: Call, row: ObjectRow, selection: Selection) -> None:
    reply, start, stop = call.reply, selection.start, selection.stop

    async def send(piece: Buffer) -> None:
        if not reply.started:  # as late as this, so that an object that can't be read is still answered with an error
            await reply.start(selection.status, selection.headers, length=stop - start, lines=selection.lines)
        await reply.send(piece)

    await call.store.read(row, start, stop, send, bucket=call.bucket, data_key=selection.data_key)


async def head_object(call: Call) -> None:
    encryption.refuse_method(call)
    selection = await select(call, await current_row(call))
    length = None if selection.status == 304 else selection.stop - selection.start
    await call.reply.whole(selection.status, selection.headers, content_length=length, lines=selection.lines)


_ATTRIBUTES = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})


async def get_object_attributes(call: Call) -> None:
    wanted = {name.strip() for name in call.text(b"x-amz-object-attributes").split(",") if name.strip()}
    if not wanted or wanted - _ATTRIBUTES:
        raise S3Error("InvalidArgument", "Invalid attribute name specified.", ArgumentName="x-amz-object-attributes")
    row = await current_row(call)
    attributes = row.attributes
    await encryption.unlock(call, attributes)
    body = []
    if "ETag" in wanted:
        body.append(f"<ETag>{escape(row.etag)}</ETag>")
    if "Checksum" in wanted and attributes.checksums:
        body.append(
            f"<Checksum>{checksum_elements(attributes.checksums)}<ChecksumType>{attributes.checksum_type}</ChecksumType></Checksum>"
        )
    if "ObjectParts" in wanted and attributes.parts:
        body.append(f"<ObjectParts>{_object_parts(call, row)}</ObjectParts>")
    if "StorageClass" in wanted:
        body.append(f"<StorageClass>{escape(row.storage_class)}</StorageClass>")
    if "ObjectSize" in wanted:
        body.append(f"<ObjectSize>{row.size}</ObjectSize>")
    await call.answer_xml(
        f'{DECLARATION}<GetObjectAttributesResponse xmlns="{NAMESPACE}">{"".join(body)}</GetObjectAttributesResponse>',
        (b"Last-Modified", http_date(row.mtime_us)),
        *version_headers(row.version, row.null, call.settings),
    )


def _object_parts(call: Call, row: ObjectRow) -> str:
    sizes, sums = row.attributes.parts, row.attributes.part_checksums
    after, limit = _count(call, b"x-amz-part-number-marker", 0), min(_count(call, b"x-amz-max-parts", PARTS_SHOWN_MAX), PARTS_SHOWN_MAX)
    shown = range(after, min(after + limit, len(sizes)))
    algorithm = next(iter(row.attributes.checksums), "")
    parts = "".join(
        f"<Part><PartNumber>{at + 1}</PartNumber><Size>{sizes[at]}</Size>"
        f"{checksum_elements({algorithm: sums[at]}) if algorithm and len(sums) == len(sizes) else ''}</Part>"
        for at in shown
    )
    truncated = after + limit < len(sizes)
    following = f"<NextPartNumberMarker>{after + len(shown)}</NextPartNumberMarker>"
    return (
        f"<PartsCount>{len(sizes)}</PartsCount><PartNumberMarker>{after}</PartNumberMarker>{following}"
        f"<MaxParts>{limit}</MaxParts><IsTruncated>{str(truncated).lower()}</IsTruncated>{parts}"
    )


def _count(call: Call, header: bytes, default: int) -> int:
    """Raises: InvalidArgument."""
    text = call.text(header)
    if text and not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise invalid_argument("The value is not a count.", header.decode("ascii"), text)
    return int(text) if text else default


def checksum_elements(checksums: dict[str, str]) -> str:
    return "".join(
        f"<{checksum.ELEMENTS[name]}>{value}</{checksum.ELEMENTS[name]}>" for name, value in checksums.items() if name in checksum.ELEMENTS
    )


def version_of(row: ObjectRow) -> str:
    return encode_version(row.version, row.null)
