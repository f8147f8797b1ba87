"""Serves a bucket as a website: to everybody, without signatures, through the same authorization, with HTML where S3 has XML.

Who reads a website is anonymous, so that only what the bucket's owner made public is seen; parameters of the query mean nothing.
"""

from __future__ import annotations

from html import escape
from http import HTTPStatus
from urllib.parse import quote

from meta.protocol.object import ObjectRow
from node.errors import FrazilError
from s3 import encryption
from s3.access import authorize
from s3.attributes import object_headers, object_lines
from s3.call import Call
from s3.errors import S3Error, to_s3
from s3.handlers.cors import preflight
from s3.handlers.read import Selection, current_row, get_object, head_object, send_selected
from s3.router import ROUTES
from s3.target import decode_key, decode_path, is_bucket_name
from s3.website import MOVED, WEBSITE, Moved, Website, escape_path

_GET_OBJECT = next(route for route in ROUTES if route.operation == "GetObject")
_REDIRECT = "x-amz-website-redirect-location"
_HTML = (b"Content-Type", b"text/html; charset=utf-8")
ANY_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_METHODS = b"GET, HEAD, OPTIONS"


async def serve_site(call: Call, bucket: str) -> None:
    """Answers once, whatever happens but bugs."""
    call.bucket = bucket
    website: Website | None = None
    path = ""
    try:
        path = decode_key(decode_path(call.request.raw_path)[1:])
        if call.request.method == "OPTIONS":
            call.key = path
            await preflight(call)
            return
        if call.request.method not in ("GET", "HEAD"):
            raise S3Error("MethodNotAllowed", Method=call.request.method, headers=((b"Allow", _METHODS),))
        website = await _website(call)
        await _serve(call, website, path)
    except FrazilError as error:
        if call.reply.started:
            raise
        await _refuse(call, website, path, to_s3(error))


async def _website(call: Call) -> Website:
    """Raises: NoSuchBucket, NoSuchWebsiteConfiguration."""
    if not is_bucket_name(call.bucket):  # there are buckets of the store's own
        raise S3Error("NoSuchBucket", BucketName=call.bucket)
    call.settings = await call.container.settings()
    website = WEBSITE.of(call.settings)
    if website is None:
        raise S3Error("NoSuchWebsiteConfiguration", BucketName=call.bucket)
    return website


async def _serve(call: Call, website: Website, path: str) -> None:
    moved = website.moved(path, _origin(call))
    if moved is not None:
        await _send_elsewhere(call, moved)
        return
    try:
        row = await _find(call, website.key_of(path))
    except FrazilError as error:
        if path and not path.endswith("/") and to_s3(error).status in (403, 404) and await _is_folder(call, website, path):
            await _send_elsewhere(call, Moved(302, f"/{escape_path(path)}/"))
            return
        raise
    location = row.attributes.headers.get(_REDIRECT)
    if location is not None:
        await _send_elsewhere(call, Moved(MOVED, quote(location, safe=ANY_ASCII)))
        return
    await (head_object(call) if call.request.method == "HEAD" else get_object(call))


async def _find(call: Call, key: str) -> ObjectRow:
    """Raises: AccessDenied, NoSuchKey; it depends on the bucket which of them is told of what isn't there."""
    call.route, call.key, call.row = _GET_OBJECT, key, None
    await authorize(call)
    return await current_row(call)


async def _is_folder(call: Call, website: Website, path: str) -> bool:
    try:
        await _find(call, website.key_of(f"{path}/"))
    except FrazilError:
        return False
    return True


def _origin(call: Call) -> str:
    host = call.request.headers.get(b"host", b"").decode("latin-1")
    return f"{'https' if call.request.secure else 'http'}://{host}"


async def _send_elsewhere(call: Call, moved: Moved) -> None:
    await call.answer(moved.status, (b"Location", moved.location.encode("ascii")))


async def _refuse(call: Call, website: Website | None, path: str, refusal: S3Error) -> None:
    """By a rule for that error elsewhere, by the bucket's own page, or by a plain one."""
    call.refused = refusal.code
    moved = website.moved(path, _origin(call), refusal.status) if website is not None else None
    if moved is not None:
        await _send_elsewhere(call, moved)
        return
    if refusal.status == 304:
        await call.answer(304, *refusal.headers)
        return
    lost = None
    if website is not None and website.error_document is not None and 400 <= refusal.status < 500:
        try:
            await _send_page(call, website.error_document.key, refusal.status)
            return
        except FrazilError as error:
            if call.reply.started:
                raise
            lost = to_s3(error)
    page = _page(call, refusal, path, lost)
    await call.reply.whole(refusal.status, call.headers(_HTML, *refusal.headers), page)


async def _send_page(call: Call, key: str, status: int) -> None:
    """The bucket's own error page. Raises: FrazilError."""
    row = await _find(call, key)
    data_key, echoed = await encryption.unlock(call, row.attributes)
    selection = Selection(status, 0, row.size, object_headers(call, row) + echoed, object_lines(call, row), data_key)
    if call.request.method == "HEAD":
        await call.reply.whole(status, selection.headers, content_length=row.size, lines=selection.lines)
    else:
        await send_selected(call, row, selection)


def _page(call: Call, refusal: S3Error, path: str, lost: S3Error | None) -> bytes:
    title = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
    details = dict(refusal.details) or ({"Key": path} if refusal.code == "NoSuchKey" else {})
    facts = {"Code": refusal.code, "Message": refusal.message, **details}
    facts |= {"RequestId": call.request.id, "HostId": call.services.options.host_id}
    items = "".join(f"<li>{name}: {escape(value)}</li>\n" for name, value in facts.items())
    more = ""
    if lost is not None:
        more = (
            "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n"
            f"<ul>\n<li>Code: {lost.code}</li>\n<li>Message: {escape(lost.message)}</li>\n</ul>\n"
        )
    return (
        f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n{items}</ul>\n{more}<hr/>\n</body>\n</html>\n"
    ).encode("utf-8", "replace")
