"""PUT of objects, and the POST of a form, which is another way to say the same."""

from __future__ import annotations

from collections.abc import Callable

from meta.protocol.object import Condition, ObjectRow
from s3 import encryption
from s3.attributes import attributes_of, checksum_headers, expiration_headers, storage_class_of, version_headers
from s3.call import Call, Header
from s3.condition import write_condition
from s3.handlers.append import WRITE_OFFSET, append_object
from s3.lock import require_checksum, with_bucket_default
from s3.notification import CREATED_POST, CREATED_PUT
from s3.publish import publish_row
from s3.source import BodySource, source_of


async def put_object(call: Call) -> None:
    offset = call.request.headers.get(WRITE_OFFSET)
    if offset is None:
        row = await write_object(call, source_of)
        await call.answer(200, *written_headers(call, row))
        return
    row = await append_object(call, offset.decode("latin-1"), lambda condition: write_object(call, source_of, condition))
    await call.answer(200, (b"x-amz-object-size", b"%d" % row.size), *written_headers(call, row))


async def write_object(call: Call, make_source: Callable[[Call], BodySource], condition: Condition | None = None) -> ObjectRow:
    """Stores what `make_source` makes of the body, as the headers say; what they alone refute is refused before the body is asked for.

    condition: in place of the headers'.
    """
    attributes = attributes_of(call)
    wish = encryption.wish_of(call)
    storage_class = storage_class_of(call)
    if condition is None:
        condition = write_condition(call)
    source = make_source(call)
    if call.settings.object_lock:
        attributes = with_bucket_default(call, attributes)
        require_checksum(attributes, "Put Object", announced=source.announced)
    attributes, data_key = await encryption.begin(call, wish, attributes)
    row = await call.store.put_object(
        call.bucket,
        call.key,
        source,
        attributes=attributes,
        owner=call.owner,
        storage_class=storage_class,
        condition=condition,
        data_key=data_key,
    )
    if call.settings.documents:
        call.found = row
        await publish_row(call, CREATED_PUT if call.form is None else CREATED_POST, row)
    return row


def written_headers(call: Call, row: ObjectRow) -> list[Header]:
    return [
        (b"ETag", b'"%b"' % row.etag.encode("ascii")),
        *version_headers(row.version, row.null, call.settings),
        *checksum_headers(row.attributes.checksums, row.attributes.checksum_type),
        *expiration_headers(call.settings, row),
        *encryption.echo(call, row.attributes, context=True),
    ]
