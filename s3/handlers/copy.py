"""Copy of objects within the store."""

from __future__ import annotations

import msgspec

from meta.protocol.object import Attributes, ObjectRow
from meta.protocol.restore import without_restore
from s3 import checksum, encryption
from s3.attributes import (
    REDIRECT,
    acl_of,
    attributes_of,
    check_redirect,
    expiration_headers,
    refuse_not_yet,
    storage_class_of,
    version_headers,
)
from s3.call import Call, Header
from s3.condition import check_copy_source, write_condition
from s3.errors import S3Error, invalid_argument
from s3.handlers.read import checksum_elements
from s3.lock import protected_as_asked, with_bucket_default
from s3.moment import iso_date
from s3.notification import CREATED_COPY
from s3.publish import publish_row
from s3.source import OBJECT_BYTES_MAX
from s3.storageclass import require_readable
from s3.tags import TAGGING_HEADER, tags_of_header
from s3.version import encode_version
from s3.xml import DECLARATION, NAMESPACE, escape

COPY, REPLACE = "COPY", "REPLACE"


def directive(call: Call, header: bytes) -> str:
    """Raises: InvalidArgument."""
    value = call.text(header, COPY)
    if value not in (COPY, REPLACE):
        raise invalid_argument(f"Unknown {'metadata' if b'metadata' in header else 'tagging'} directive.", header.decode("ascii"), value)
    return value


def too_large_to_copy() -> S3Error:
    return S3Error(
        "InvalidRequest", f"The specified copy source is larger than the maximum allowable size for a copy source: {OBJECT_BYTES_MAX}"
    )


async def copy_object(call: Call) -> None:
    refuse_not_yet(call)
    assert call.source is not None
    source = call.source.row
    wish = encryption.wish_of(call)
    metadata, tagging = directive(call, b"x-amz-metadata-directive"), directive(call, b"x-amz-tagging-directive")
    check_copy_source(call, source.etag, source.mtime_us)
    require_readable(source, call.now_us)
    storage_class = storage_class_of(call)
    if source.size > OBJECT_BYTES_MAX:
        raise too_large_to_copy()
    onto_itself = call.source.bucket == call.bucket and source.key == call.key and "versionId=" not in call.text(b"x-amz-copy-source")
    if (
        onto_itself
        and metadata == COPY
        and storage_class == source.storage_class
        and call.header(b"x-amz-website-redirect-location") is None
        and not encryption.changes(call, wish, source.attributes)
    ):
        raise S3Error(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, "
            "storage class, website redirect location or encryption attributes.",
        )
    digests = _wanted_digests(call, source)
    attributes, keys = await encryption.begin_copy(call, wish, source.attributes, _attributes(call, source, metadata, tagging))
    row = await call.store.copy_object(
        source,
        call.source.bucket,
        call.bucket,
        call.key,
        attributes=attributes,
        owner=call.owner,
        storage_class=storage_class,
        condition=write_condition(call),
        keys=keys,
        digests=digests,
    )
    if call.settings.documents:
        await publish_row(call, CREATED_COPY, row)
    kind = f"<ChecksumType>{row.attributes.checksum_type}</ChecksumType>" if row.attributes.checksums else ""
    await call.answer_xml(
        f'{DECLARATION}<CopyObjectResult xmlns="{NAMESPACE}">{copy_result(row.etag, row.mtime_us)}'
        f"{checksum_elements(row.attributes.checksums)}{kind}</CopyObjectResult>",
        *version_headers(row.version, row.null, call.settings),
        *source_headers(call),
        *expiration_headers(call.settings, row),
        *encryption.echo(call, row.attributes, context=True),
    )


def _wanted_digests(call: Call, source: ObjectRow) -> frozenset[str]:
    """What is to be computed for the copy: the algorithm that is asked for, unless the source has its checksum. Raises: InvalidRequest."""
    named = call.header(b"x-amz-checksum-algorithm")
    if named is None:
        return frozenset()
    algorithm = checksum.parse_algorithm(named.decode("latin-1"))
    there = source.attributes.checksum_type == checksum.FULL_OBJECT and algorithm in source.attributes.checksums
    return frozenset() if there else frozenset({algorithm})


def _attributes(call: Call, source: ObjectRow, metadata: str, tagging: str) -> Attributes:
    """The copy's attributes: content facts from the source, the rest as the directives say. ACL and protection are never copied."""
    old = without_restore(source.attributes)
    new = (
        attributes_of(call)
        if metadata == REPLACE
        else protected_as_asked(call, msgspec.structs.replace(old, acl=acl_of(call), retain_mode="", retain_until_us=0, legal_hold=None))
    )
    if call.settings.object_lock:
        new = with_bucket_default(call, new)
    redirect = call.header(REDIRECT)
    headers = {name: value for name, value in new.headers.items() if metadata == REPLACE or name != "x-amz-website-redirect-location"}
    if redirect is not None:
        headers["x-amz-website-redirect-location"] = redirect.decode("latin-1")
        check_redirect(headers["x-amz-website-redirect-location"])
    return msgspec.structs.replace(
        new,
        headers=headers,
        tags=tags_of_header(call.header(TAGGING_HEADER)) if tagging == REPLACE else old.tags,
        checksums=old.checksums,
        checksum_type=old.checksum_type,
        parts=old.parts,
        part_checksums=old.part_checksums,
    )


def copy_result(etag: str, mtime_us: int) -> str:
    return f"<LastModified>{iso_date(mtime_us)}</LastModified><ETag>&quot;{escape(etag)}&quot;</ETag>"


def source_headers(call: Call) -> list[Header]:
    """x-amz-copy-source-version-id, when the source's bucket has versions."""
    source = call.source
    if source is None or not source.settings.versioning:
        return []
    return [(b"x-amz-copy-source-version-id", encode_version(source.row.version, source.row.null).encode("ascii"))]
