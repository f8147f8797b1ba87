"""Listings of a bucket: v1, v2 and versions."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from meta.protocol.listing import LIST_LIMIT_MAX, Listed, ListPage, ListRequest
from node.errors import ObjectNotFound, VersionNotFound
from s3.call import Call
from s3.errors import S3Error, invalid_argument
from s3.listing import common_prefixes, contents, name_element, versions
from s3.target import KEY_BYTES_MAX
from s3.token import decode_token, encode_token
from s3.version import parse_version
from s3.xml import DECLARATION, NAMESPACE, escape


def encoding_of(call: Call) -> str:
    """Raises: InvalidArgument."""
    encoding = call.query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", encoding)
    return encoding


def name_of(call: Call, parameter: str) -> str:
    """A prefix, marker or delimiter. Raises: KeyTooLongError."""
    value = call.query.get(parameter, "")
    if len(value) > KEY_BYTES_MAX or len(value.encode()) > KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError", Size=str(len(value.encode())), MaxSizeAllowed=str(KEY_BYTES_MAX))
    return value


_OPTIONAL = frozenset({"", "RestoreStatus"})


async def _page(call: Call, request: ListRequest) -> ListPage:
    """max-keys 0 asks nothing and gets nothing, and is not truncated. Raises: InvalidArgument."""
    optional = call.header(b"x-amz-optional-object-attributes")
    if optional is not None:
        text = optional.decode("latin-1")
        names = {name.strip() for name in text.split(",")}
        if names - _OPTIONAL:
            raise invalid_argument("Invalid attribute name specified", "x-amz-optional-object-attributes", text)
        request = msgspec.structs.replace(request, restores="RestoreStatus" in names)
    return await call.container.list(request) if request.limit else ListPage([], [], truncated=False)


async def owners_of(call: Call, rows: Iterable[Listed]) -> dict[str, str]:
    return {owner: await call.services.keyring.display_name(owner) for owner in {row.owner for row in rows}}


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _encoding_element(encoding: str) -> str:
    return f"<EncodingType>{encoding}</EncodingType>" if encoding else ""


async def list_objects(call: Call) -> None:
    if call.query.get("list-type", "1") != "1":
        raise invalid_argument("Invalid List Type specified in Request", "list-type", call.query["list-type"])
    encoding = encoding_of(call)
    prefix, delimiter, marker = name_of(call, "prefix"), name_of(call, "delimiter"), name_of(call, "marker")
    limit = call.number("max-keys", LIST_LIMIT_MAX, most=LIST_LIMIT_MAX)
    page = await _page(call, ListRequest(prefix=prefix, delimiter=delimiter, after=marker, limit=limit))
    following = name_element("NextMarker", page.next_after, encoding) if page.truncated and delimiter else ""
    shown = contents(page.rows, encoding, await owners_of(call, page.rows), call.now_us)
    await call.answer_xml(
        f'{DECLARATION}<ListBucketResult xmlns="{NAMESPACE}"><Name>{escape(call.bucket)}</Name>{name_element("Prefix", prefix, encoding)}'
        f"{name_element('Marker', marker, encoding)}{following}<MaxKeys>{limit}</MaxKeys>"
        f"{name_element('Delimiter', delimiter, encoding) if delimiter else ''}{_encoding_element(encoding)}"
        f"<IsTruncated>{_boolean(page.truncated)}</IsTruncated>"
        f"{shown}{common_prefixes(page.prefixes, encoding)}</ListBucketResult>"
    )


async def list_objects_v2(call: Call) -> None:
    encoding = encoding_of(call)
    prefix, delimiter, start_after = name_of(call, "prefix"), name_of(call, "delimiter"), name_of(call, "start-after")
    limit = call.number("max-keys", LIST_LIMIT_MAX, most=LIST_LIMIT_MAX)
    binding = f"{call.bucket}/{call.settings.created_us}/{delimiter}/{prefix}"
    token = call.query.get("continuation-token")
    if token == "":
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", "")
    after = decode_token(token, binding) if token is not None else start_after
    page = await _page(call, ListRequest(prefix=prefix, delimiter=delimiter, after=after, limit=limit))
    owners = await owners_of(call, page.rows) if call.query.get("fetch-owner") == "true" else None
    following = f"<NextContinuationToken>{encode_token(page.next_after, binding)}</NextContinuationToken>" if page.truncated else ""
    await call.answer_xml(
        f'{DECLARATION}<ListBucketResult xmlns="{NAMESPACE}"><Name>{escape(call.bucket)}</Name>{name_element("Prefix", prefix, encoding)}'
        f"{f'<ContinuationToken>{escape(token)}</ContinuationToken>' if token is not None else ''}{following}"
        f"{name_element('StartAfter', start_after, encoding) if start_after else ''}"
        f"<KeyCount>{len(page.rows) + len(page.prefixes)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
        f"{name_element('Delimiter', delimiter, encoding) if delimiter else ''}{_encoding_element(encoding)}"
        f"<IsTruncated>{_boolean(page.truncated)}</IsTruncated>"
        f"{contents(page.rows, encoding, owners, call.now_us)}{common_prefixes(page.prefixes, encoding)}</ListBucketResult>"
    )


async def _version_marker(call: Call, key: str, text: str) -> int | None:
    """Number of the version to continue behind. "null" is looked up, for only its number says where it stands in time."""
    if not text:
        if key and "version-id-marker" in call.query:
            raise invalid_argument("A version-id marker cannot be empty.", "version-id-marker", "")
        return None
    if not key:
        raise invalid_argument("A version-id marker cannot be specified without a key marker.", "version-id-marker", text)
    number = parse_version(text)
    if number:
        return number
    try:
        return (await call.container.get(key, 0)).version
    except (ObjectNotFound, VersionNotFound):
        return None


async def list_object_versions(call: Call) -> None:
    encoding = encoding_of(call)
    prefix, delimiter, key_marker = name_of(call, "prefix"), name_of(call, "delimiter"), name_of(call, "key-marker")
    version_text = call.query.get("version-id-marker", "")
    limit = call.number("max-keys", LIST_LIMIT_MAX, most=LIST_LIMIT_MAX)
    version_marker = await _version_marker(call, key_marker, version_text)
    page = await _page(
        call, ListRequest(prefix=prefix, delimiter=delimiter, after=key_marker, after_version=version_marker, limit=limit, versions=True)
    )
    following = ""
    if page.truncated:
        following = name_element("NextKeyMarker", page.next_after, encoding)
        if page.next_version is not None:
            following += f"<NextVersionIdMarker>{page.next_version:016x}</NextVersionIdMarker>"
    shown = versions(page.rows, encoding, await owners_of(call, page.rows), call.now_us)
    await call.answer_xml(
        f'{DECLARATION}<ListVersionsResult xmlns="{NAMESPACE}"><Name>{escape(call.bucket)}</Name>{name_element("Prefix", prefix, encoding)}'
        f"{name_element('KeyMarker', key_marker, encoding)}{name_element('VersionIdMarker', version_text, '')}{following}"
        f"<MaxKeys>{limit}</MaxKeys>"
        f"{name_element('Delimiter', delimiter, encoding) if delimiter else ''}{_encoding_element(encoding)}"
        f"<IsTruncated>{_boolean(page.truncated)}</IsTruncated>"
        f"{shown}{common_prefixes(page.prefixes, encoding)}</ListVersionsResult>"
    )
