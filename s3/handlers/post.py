"""POST of a browser's form: an upload, and the answer that a page wants.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
"""

from __future__ import annotations

from s3.call import XML, Call
from s3.checksum import DEFAULT_ALGORITHM
from s3.form import location_of, redirect_of
from s3.handlers.write import write_object, written_headers
from s3.source import BodySource, Expected
from s3.xml import DECLARATION, escape

_STATUSES = {"200": 200, "201": 201}
"""Of success_action_status; with anything else the answer is 204."""


async def post_object(call: Call) -> None:
    assert call.form is not None
    row = await write_object(call, _source_of)
    headers = written_headers(call, row)
    redirect = redirect_of(call, row.etag)
    if redirect:
        await call.answer(303, *headers, (b"Location", redirect.encode("ascii")))
        return
    location = location_of(call)
    headers.append((b"Location", location.encode("latin-1")))
    status = _STATUSES.get(call.form.fields.get("success_action_status", ""), 204)
    if status != 201:
        await call.answer(status, *headers)
        return
    document = (
        f"{DECLARATION}<PostResponse><Location>{escape(location)}</Location><Bucket>{escape(call.bucket)}</Bucket>"
        f"<Key>{escape(call.key)}</Key><ETag>&quot;{row.etag}&quot;</ETag></PostResponse>"
    )
    await call.reply.whole(201, call.headers(XML, *headers), document.encode("utf-8", "surrogatepass"))


def _source_of(call: Call) -> BodySource:
    assert call.form is not None
    return BodySource(call.form.body, Expected(call), length=None, decoder=None, keep=DEFAULT_ALGORITHM)
