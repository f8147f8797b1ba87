"""PUT of objects."""

from __future__ import annotations

from s3.attributes import attributes_of, checksum_headers, expiration_headers, storage_class_of, version_headers
from s3.call import Call
from s3.condition import write_condition
from s3.lock import require_checksum, with_bucket_default
from s3.source import source_of


async def put_object(call: Call) -> None:
    attributes = attributes_of(call)
    storage_class = storage_class_of(call)
    condition = write_condition(call)
    source = source_of(call)
    if call.settings.object_lock:
        attributes = with_bucket_default(call, attributes)
        require_checksum(attributes, "Put Object", announced=source.announced)
    row = await call.store.put_object(
        call.bucket,
        call.key,
        source,
        attributes=attributes,
        owner=call.identity.user_id or call.settings.owner,
        storage_class=storage_class,
        condition=condition,
    )
    await call.answer(
        200,
        (b"ETag", b'"%b"' % row.etag.encode("ascii")),
        *version_headers(row.version, row.null, call.settings),
        *checksum_headers(row.attributes.checksums, row.attributes.checksum_type),
        *expiration_headers(call.settings, row),
    )
