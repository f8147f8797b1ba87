"""Uploads in parts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

from meta.protocol.listing import LIST_LIMIT_MAX, ListRequest
from meta.protocol.upload import PARTS_MAX, PartRow, UploadPage, UploadRow
from s3 import checksum, encryption
from s3.attributes import (
    abortion_headers,
    attributes_of,
    checksum_headers,
    expiration_headers,
    refuse_hoisted,
    storage_class_of,
    version_headers,
)
from s3.byterange import parse_copy_range
from s3.call import Call
from s3.condition import check_begin, check_copy_source, write_condition
from s3.customer_key import OF_SOURCE
from s3.errors import S3Error, invalid_argument
from s3.handlers.copy import copy_result, source_headers, too_large_to_copy
from s3.handlers.listing import encoding_of, name_of
from s3.handlers.read import checksum_elements
from s3.listing import common_prefixes, name_element, user_elements, writer_for
from s3.lock import require_checksum, with_bucket_default
from s3.moment import iso_date
from s3.notification import CREATED_PARTS
from s3.publish import publish_row
from s3.source import OBJECT_BYTES_MAX, read_document, source_of
from s3.storageclass import require_readable
from s3.xml import DECLARATION, NAMESPACE, XmlRefused, elements_of, escape, text_of
from store.copy import CopyKeys
from store.multipart import WantedPart

SIZE_DIGITS_MAX = 18


def _upload_id(call: Call) -> str:
    """Raises: NoSuchUpload."""
    upload = call.query["uploadId"]
    if len(upload) != 32 or not upload.isalnum():
        raise S3Error("NoSuchUpload", UploadId=upload)
    return upload


def _part_number(call: Call) -> int:
    text = call.query["partNumber"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    if not 1 <= number <= PARTS_MAX:
        raise invalid_argument(f"Part number must be an integer between 1 and {PARTS_MAX}, inclusive", "partNumber", text)
    return number


async def create_upload(call: Call) -> None:
    attributes = attributes_of(call)
    wish = encryption.wish_of(call)
    algorithm = kind = ""
    named = call.header(b"x-amz-checksum-algorithm")
    if named is not None:
        algorithm = checksum.parse_algorithm(named.decode("latin-1"))
        kind = checksum.parse_type(call.text(b"x-amz-checksum-type"), algorithm)
    elif call.header(b"x-amz-checksum-type") is not None:
        raise S3Error("InvalidRequest", "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
    attributes, _ = await encryption.begin(call, wish, attributes)
    upload = await call.store.create_upload(
        call.bucket,
        UploadRow(
            upload=os.urandom(16).hex(),
            key=call.key,
            started_us=int(call.services.now_s() * 1_000_000),
            owner=call.owner,
            storage_class=storage_class_of(call),
            checksum_algorithm=algorithm,
            checksum_type=kind,
            attributes=attributes,
        ),
    )
    headers = (
        [(b"x-amz-checksum-algorithm", algorithm.upper().encode("ascii")), (b"x-amz-checksum-type", kind.encode("ascii"))]
        if algorithm
        else []
    )
    await call.answer_xml(
        f'{DECLARATION}<InitiateMultipartUploadResult xmlns="{NAMESPACE}">'
        f"<Bucket>{escape(call.bucket)}</Bucket><Key>{escape(call.key)}</Key>"
        f"<UploadId>{upload.upload}</UploadId></InitiateMultipartUploadResult>",
        *headers,
        *abortion_headers(call.settings, upload),
        *encryption.echo(call, attributes, context=True),
    )


async def upload_part(call: Call) -> None:
    number = _part_number(call)
    refuse_hoisted(call)
    upload = await call.container.get_upload(call.key, _upload_id(call))
    data_key = await encryption.unlock_upload(call, upload.attributes)
    source = source_of(call, keep=upload.checksum_algorithm or checksum.DEFAULT_ALGORITHM)
    if upload.checksum_algorithm and upload.checksum_algorithm != source.algorithm:
        raise S3Error(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {upload.checksum_algorithm}, "
            f"actual checksum Type: {source.algorithm}",
        )
    if call.settings.object_lock:
        require_checksum(with_bucket_default(call, upload.attributes), "Put Part", announced=source.announced)
    part = await call.store.put_part(call.bucket, call.key, upload, number, source, data_key=data_key)
    await call.answer(
        200,
        (b"ETag", b'"%b"' % part.etag.encode("ascii")),
        *checksum_headers(part.checksums, "")[:-1],
        *encryption.echo(call, upload.attributes),
    )


async def upload_part_copy(call: Call) -> None:
    number = _part_number(call)
    assert call.source is not None
    row = call.source.row
    source_key, _ = await encryption.unlock(call, row.attributes, OF_SOURCE)
    upload = await call.container.get_upload(call.key, _upload_id(call))
    keys = CopyKeys(source_key, await encryption.unlock_upload(call, upload.attributes))
    check_copy_source(call, row.etag, row.mtime_us)
    require_readable(row, call.now_us)
    copy_range = call.header(b"x-amz-copy-source-range")
    start, stop = (0, row.size) if copy_range is None else parse_copy_range(copy_range.decode("latin-1"), row.size)
    if stop - start > OBJECT_BYTES_MAX:
        raise too_large_to_copy()
    part = await call.store.copy_part(row, start, stop, call.bucket, call.key, upload, number, keys=keys, source_bucket=call.source.bucket)
    await call.answer_xml(
        f'{DECLARATION}<CopyPartResult xmlns="{NAMESPACE}">{copy_result(part.etag, part.mtime_us)}'
        f"{checksum_elements(part.checksums)}</CopyPartResult>",
        *source_headers(call),
        *encryption.echo(call, upload.attributes),
    )


async def complete_upload(call: Call) -> None:
    upload_id = _upload_id(call)
    parts = _parts_of(await read_document(call, "CompleteMultipartUpload", of_body=False, empty=True))
    wanted = _wanted_checksum(call)
    size = call.header(b"x-amz-mp-object-size")
    if size is not None and not (size.isdigit() and len(size) <= SIZE_DIGITS_MAX):
        raise invalid_argument("Value for x-amz-mp-object-size header is invalid.", "x-amz-mp-object-size", size.decode("latin-1"))

    def check(upload: UploadRow, rows: Sequence[PartRow]) -> tuple[dict[str, str], str]:
        """Called with the parts as they are, before the object is visible: the whole's checksum, verified against what the client says."""
        if size is not None and sum(row.size for row in rows) != int(size):
            raise S3Error("InvalidRequest", "The provided 'x-amz-mp-object-size' header does not match what was computed.")
        if upload.checksum_type == checksum.COMPOSITE:
            _require_part_checksums(upload.checksum_algorithm, parts)
        return whole_checksum(upload, rows, wanted, call.text(b"x-amz-checksum-type"))

    row = await call.store.complete_upload(call.bucket, call.key, upload_id, parts, condition=write_condition(call), check=check)
    if call.settings.documents:
        await publish_row(call, CREATED_PARTS, row)
    host = call.request.headers.get(b"host", b"").decode("latin-1")
    location = f"{'https' if call.request.secure else 'http'}://{host}{call.request.raw_path.decode('latin-1')}"
    kind = f"<ChecksumType>{row.attributes.checksum_type}</ChecksumType>" if row.attributes.checksums else ""
    await call.answer_xml(
        f'{DECLARATION}<CompleteMultipartUploadResult xmlns="{NAMESPACE}"><Location>{escape(location)}</Location>'
        f"<Bucket>{escape(call.bucket)}</Bucket><Key>{escape(call.key)}</Key><ETag>&quot;{escape(row.etag)}&quot;</ETag>{checksum_elements(row.attributes.checksums)}{kind}"
        "</CompleteMultipartUploadResult>",
        *version_headers(row.version, row.null, call.settings),
        *expiration_headers(call.settings, row),
        *encryption.echo(call, row.attributes),
    )


def _parts_of(document: dict[str, object]) -> list[WantedPart]:
    """(number, ETag, checksums) as listed. Raises: MalformedXML, InvalidPartOrder."""
    parts: list[WantedPart] = []
    try:
        elements = elements_of(document, "Part")
        if not 1 <= len(elements) <= PARTS_MAX:
            raise XmlRefused(f"between 1 and {PARTS_MAX} parts make an object")
        for element in elements:
            number = text_of(element, "PartNumber").strip()
            if not number.isascii() or not number.isdigit() or len(number) > 5:
                raise XmlRefused("PartNumber is no number")
            sums = {name: text_of(element, title) for name, title in checksum.ELEMENTS.items() if title in element}
            parts.append((int(number), text_of(element, "ETag").strip().strip('"'), sums))
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    if any(later[0] <= earlier[0] for earlier, later in pairwise(parts)):
        raise S3Error("InvalidPartOrder")
    return parts


def _require_part_checksums(algorithm: str, parts: Sequence[WantedPart]) -> None:
    """Raises: InvalidRequest."""
    missing = next((number for number, _, sums in parts if algorithm not in sums), None)
    if missing is not None:
        raise S3Error(
            "InvalidRequest",
            f"The upload was created using a {algorithm} checksum. The complete request must include the checksum for each part. "
            f"It was missing for part {missing} in the request.",
        )


def _wanted_checksum(call: Call) -> tuple[str, str]:
    """Algorithm and value of the whole as the client computed it, ("", "") when it does not say. Raises: InvalidRequest."""
    for header, algorithm in checksum.HEADERS.items():
        value = call.text(header)
        if value:
            try:
                checksum.parse_value(algorithm, value.partition("-")[0])
            except ValueError as error:
                raise S3Error("InvalidRequest", f"Value for {header.decode('ascii')} header is invalid.") from error
            return algorithm, value
    return "", ""


def whole_checksum(upload: UploadRow, rows: Sequence[PartRow], wanted: tuple[str, str], kind_wanted: str) -> tuple[dict[str, str], str]:
    """The object's checksum and its type from its parts'. Raises: BadDigest, InvalidRequest."""
    algorithm = upload.checksum_algorithm or _common_algorithm(rows)
    kind = upload.checksum_type or (checksum.FULL_OBJECT if algorithm in checksum.COMBINED else checksum.COMPOSITE)
    if upload.checksum_algorithm and kind_wanted and kind_wanted.upper() != kind:
        raise S3Error("InvalidRequest", f"The upload was created with the {kind} checksum type; {kind_wanted} was given.")
    value = checksum.combine(algorithm, kind, [(row.checksums, row.size) for row in rows])
    if wanted[0] == algorithm and (value is None or wanted[1] not in (value, value.partition("-")[0])):
        raise S3Error("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
    if wanted[0] and wanted[0] != algorithm:
        raise S3Error("InvalidRequest", f"The upload was created with the {algorithm} checksum algorithm; {wanted[0]} was given.")
    return ({}, "") if value is None else ({algorithm: value}, kind)


def _common_algorithm(rows: Sequence[PartRow]) -> str:
    """Of an upload that began without one: what all its parts have."""
    common = set(checksum.ALGORITHMS).intersection(*(row.checksums for row in rows))
    return min(common, default=checksum.DEFAULT_ALGORITHM)


async def abort_upload(call: Call) -> None:
    upload_id = _upload_id(call)
    begun = call.header(b"x-amz-if-match-initiated-time")
    if begun is not None:
        check_begin(begun, (await call.container.get_upload(call.key, upload_id)).started_us)
    await call.store.abort_upload(call.bucket, call.key, upload_id)
    await call.answer(204)


async def list_parts(call: Call) -> None:
    upload_id = _upload_id(call)
    limit = call.number("max-parts", LIST_LIMIT_MAX, most=LIST_LIMIT_MAX)
    after = call.number("part-number-marker", 0, most=PARTS_MAX)
    page = await call.container.list_parts(call.key, upload_id, after, max(limit, 1))
    rows, truncated = (page.parts, page.truncated) if limit else ([], False)
    name = await call.services.keyring.display_name(page.upload.owner)
    owner = user_elements(page.upload.owner, {page.upload.owner: name})
    body = "".join(
        f"<Part><PartNumber>{row.part}</PartNumber><LastModified>{iso_date(row.mtime_us)}</LastModified><ETag>&quot;{row.etag}&quot;</ETag>"
        f"<Size>{row.size}</Size>{checksum_elements(row.checksums)}</Part>"
        for row in rows
    )
    await call.answer_xml(
        f'{DECLARATION}<ListPartsResult xmlns="{NAMESPACE}"><Bucket>{escape(call.bucket)}</Bucket><Key>{escape(call.key)}</Key>'
        f"<UploadId>{upload_id}</UploadId><Initiator>{owner}</Initiator><Owner>{owner}</Owner>"
        f"<StorageClass>{escape(page.upload.storage_class)}</StorageClass><PartNumberMarker>{after}</PartNumberMarker>"
        f"<NextPartNumberMarker>{rows[-1].part if rows else after}</NextPartNumberMarker><MaxParts>{limit}</MaxParts>"
        f"<IsTruncated>{'true' if truncated else 'false'}</IsTruncated>{_announced(page.upload)}{body}</ListPartsResult>",
        *abortion_headers(call.settings, page.upload),
    )


def _announced(upload: UploadRow) -> str:
    """The checksum that the upload was begun with."""
    algorithm = upload.checksum_algorithm.upper()
    return f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm><ChecksumType>{upload.checksum_type}</ChecksumType>" if algorithm else ""


async def list_uploads(call: Call) -> None:
    encoding = encoding_of(call)
    prefix, delimiter, key_marker = name_of(call, "prefix"), name_of(call, "delimiter"), name_of(call, "key-marker")
    upload_marker = call.query.get("upload-id-marker", "") if key_marker else ""
    limit = call.number("max-uploads", LIST_LIMIT_MAX, most=LIST_LIMIT_MAX)
    request = ListRequest(prefix=prefix, delimiter=delimiter, after=key_marker, limit=limit)
    page = await call.container.list_uploads(request, upload_marker) if limit else UploadPage([], [], truncated=False)
    names = {owner: await call.services.keyring.display_name(owner) for owner in {row.owner for row in page.uploads}}
    write = writer_for(encoding, [row.key for row in page.uploads])
    body = "".join(
        f"<Upload><Key>{write(row.key)}</Key><UploadId>{row.upload}</UploadId>"
        f"<Initiator>{user_elements(row.owner, names)}</Initiator><Owner>{user_elements(row.owner, names)}</Owner>"
        f"<StorageClass>{escape(row.storage_class)}</StorageClass><Initiated>{iso_date(row.started_us)}</Initiated>"
        f"{_announced(row)}</Upload>"
        for row in page.uploads
    )
    following = ""
    if page.truncated:
        following = name_element("NextKeyMarker", page.next_key, encoding) + name_element("NextUploadIdMarker", page.next_upload, "")
    await call.answer_xml(
        f'{DECLARATION}<ListMultipartUploadsResult xmlns="{NAMESPACE}"><Bucket>{escape(call.bucket)}</Bucket>'
        f"{name_element('KeyMarker', key_marker, encoding)}{name_element('UploadIdMarker', upload_marker, '')}{following}"
        f"{name_element('Prefix', prefix, encoding)}{name_element('Delimiter', delimiter, encoding) if delimiter else ''}"
        f"{f'<EncodingType>{encoding}</EncodingType>' if encoding else ''}<MaxUploads>{limit}</MaxUploads>"
        f"<IsTruncated>{'true' if page.truncated else 'false'}</IsTruncated>{body}{common_prefixes(page.prefixes, encoding)}"
        "</ListMultipartUploadsResult>"
    )
