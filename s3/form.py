"""POST of a browser's form: its fields become the headers that a PUT would have, its file the body; the rest is as for every request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote_from_bytes, urlencode

from node.http.body import Body
from node.http.message import Headers
from s3 import formclaim, postpolicy
from s3.call import Call
from s3.errors import S3Error, invalid_argument, not_implemented
from s3.formbody import READ_BYTES, Form, FormBody
from s3.formdata import FIELDS_BYTES_MAX, FieldReader, boundary_of, malformed
from s3.identity import NOT_SIGNED, Doorway, authenticate_form
from s3.shape import read
from s3.source import OBJECT_BYTES_MAX
from s3.tags import Tagging, check_tags
from s3.target import decode_key
from s3.xml import XmlRefused, parse

FILENAME = "${filename}"
FILENAME_BYTES_MAX = 1_024

_KEPT_HEADERS = frozenset((b"host", b"origin", b"referer", b"user-agent", b"x-amz-expected-bucket-owner", b"x-forwarded-for"))
"""Of the request's own headers; what the form's fields say replaces all others."""
_AS_HEADERS = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "content-type",
        "expires",
        "x-amz-expected-bucket-owner",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-storage-class",
        "x-amz-website-redirect-location",
    }
)
_AS_HEADERS_PREFIXES = ("x-amz-meta-", "x-amz-checksum-", "x-amz-server-side-encryption", "x-amz-object-lock-", "x-amz-grant-")
_PROOF = frozenset({"x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"})
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9a-z]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_URL = re.compile(r"https?://[!-~]+")


async def read_form(call: Call, door: Doorway) -> None:
    """Reads the form up to its file. Afterwards key, identity, headers and body of the call are the form's, and its policy allows them.

    Raises: S3Error; BodyIncomplete.
    """
    if call.signed is not NOT_SIGNED:
        raise S3Error("InvalidArgument", "Only one auth mechanism allowed; a form is signed by its fields.", ArgumentName="Authorization")
    boundary = boundary_of(call.request.headers.get(b"content-type", b""))
    length = call.request.content_length
    if length is not None and length > OBJECT_BYTES_MAX + 2 * FIELDS_BYTES_MAX:
        raise S3Error("EntityTooLarge", ProposedSize=str(length), MaxSizeAllowed=str(OBJECT_BYTES_MAX))
    reader = await _read_fields(call.request.body, boundary)
    fields = _expanded(reader.fields, reader.filename)
    body = FormBody(call.request.body, boundary, reader.rest)
    call.form = Form(fields, body)
    now_s = call.services.now_s()
    call.signed = await authenticate_form(fields, door)
    if not call.signed.identity.anonymous:
        policy = postpolicy.parse(fields[formclaim.POLICY])
        postpolicy.check(policy, fields, call.bucket, now_s)
        body.limit(policy)
    call.key = _key(fields)
    call.replace_headers(_headers(call.request.headers, fields))


async def _read_fields(body: Body, boundary: bytes) -> FieldReader:
    reader = FieldReader(boundary)
    piece = memoryview(bytearray(READ_BYTES))
    while not reader.done:
        count = await body.read_into(piece)
        if not count:
            raise malformed()
        reader.feed(bytes(piece[:count]))
    if not reader.file:
        raise S3Error("IncorrectNumberOfFilesInPostRequest")
    return reader


def _expanded(fields: Mapping[str, str], filename: str) -> dict[str, str]:
    """The fields with the file's name where they ask for it; before the policy is checked, as AWS has it."""
    if len(filename.encode()) > FILENAME_BYTES_MAX:
        raise S3Error("KeyTooLongError", Size=str(len(filename.encode())), MaxSizeAllowed=str(FILENAME_BYTES_MAX))
    return {name: value if name == formclaim.POLICY else value.replace(FILENAME, filename) for name, value in fields.items()}


def _key(fields: Mapping[str, str]) -> str:
    key = fields.get("key")
    if key is None:
        raise formclaim.missing_field("key")
    if not key:
        raise S3Error("UserKeyMustBeSpecified")
    return decode_key(key.encode())


def _headers(sent: Headers, fields: Mapping[str, str]) -> Headers:
    """What the form asks for, as the headers of a PUT. Raises: S3Error for fields that no PUT could have."""
    items = [(name, value) for name, value in sent.lines if name in _KEPT_HEADERS]
    for name, value in fields.items():
        if name in _AS_HEADERS or name.startswith(_AS_HEADERS_PREFIXES):
            if not _NAME.fullmatch(name) or _CONTROL.search(value):
                raise invalid_argument("The field can't be a header.", name, "")
            items.append((name.encode("ascii"), value.strip().encode()))
        elif name.startswith("x-amz-") and name not in _PROOF:
            raise not_implemented(f"The form field {name}")
    if "acl" in fields:
        items.append((b"x-amz-acl", fields["acl"].encode()))
    if fields.get("tagging"):
        items.append((b"x-amz-tagging", urlencode(_tags(fields["tagging"])).encode("ascii")))
    return Headers(items)


def _tags(document: str) -> dict[str, str]:
    """Raises: MalformedXML, InvalidTag."""
    try:
        tagging = read(parse(document.encode(), "Tagging"), Tagging)
    except XmlRefused as error:
        raise S3Error("MalformedXML") from error
    return check_tags((tag.key, tag.value) for tag in tagging.tag_set.tag)


def location_of(call: Call) -> str:
    """The URL of the object that the form has made."""
    scheme = "https" if call.request.secure else "http"
    host = call.request.headers.get(b"host", b"").decode("latin-1")
    path = call.request.raw_path.decode("latin-1").rstrip("/")
    return f"{scheme}://{host}{path}/{quote_from_bytes(call.key.encode(), safe='/-._~')}"


def redirect_of(call: Call, etag: str) -> str:
    """Where the browser is sent afterwards; "" when the form does not say, or nothing that is a URL."""
    assert call.form is not None
    wanted = call.form.fields.get("success_action_redirect") or call.form.fields.get("redirect", "")
    if not _URL.fullmatch(wanted):
        return ""
    base, mark, fragment = wanted.partition("#")
    query = urlencode({"bucket": call.bucket, "key": call.key, "etag": f'"{etag}"'})
    return f"{base}{'&' if '?' in base else '?'}{query}{mark}{fragment}"
