"""What S3 answers in XML, as values. Pure: bytes in, values out; an answer that can't be read raises Unavailable."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import unquote
from xml.etree import ElementTree

from cli.cold import Restore
from cli.exit import NeedsRestore, RestoreUnderWay
from node import errors

ANSWER_BYTES_MAX = 16 << 20
"""Longest XML answer read into memory; a page of 1,000 keys of 1,024 bytes, percent-encoded, stays below 4 MiB."""
_NAMESPACE = re.compile(r"\{[^}]*\}")

_BY_CODE: dict[str, type[errors.FrazilError]] = {
    "NoSuchBucket": errors.BucketNotFound,
    "NoSuchKey": errors.ObjectNotFound,
    "NoSuchVersion": errors.VersionNotFound,
    "NoSuchUpload": errors.UploadNotFound,
    "BucketAlreadyExists": errors.BucketTaken,
    "BucketAlreadyOwnedByYou": errors.BucketOwned,
    "BucketNotEmpty": errors.BucketNotEmpty,
    "PreconditionFailed": errors.PreconditionFailed,
    "ConditionalRequestConflict": errors.Conflict,
    "OperationAborted": errors.Conflict,
    "InvalidObjectState": NeedsRestore,
    "RestoreAlreadyInProgress": RestoreUnderWay,
    "QuotaExceeded": errors.QuotaExceeded,
    "BadDigest": errors.ChecksumMismatch,
    "XAmzContentChecksumMismatch": errors.ChecksumMismatch,
    "XAmzContentSHA256Mismatch": errors.ChecksumMismatch,
    "NotImplemented": errors.NotImplementedYet,
    "SlowDown": errors.Busy,
    "RequestTimeout": errors.BodyTooSlow,
}
_BY_STATUS: dict[int, type[errors.FrazilError]] = {
    304: errors.NotModified,
    401: errors.Denied,
    403: errors.Denied,
    404: errors.NotFound,
    409: errors.Conflict,
    412: errors.PreconditionFailed,
    429: errors.Busy,
    501: errors.NotImplementedYet,
    507: errors.VolumeFull,
}
_WORDS: dict[str, str] = {
    "NoSuchBucket": "the bucket does not exist",
    "NoSuchKey": "the object does not exist",
    "BucketNotEmpty": "the bucket is not empty",
    "BucketAlreadyExists": "the name is taken by another account's bucket",
    "AccessDenied": "access denied",
    "InvalidAccessKeyId": "the store does not know this access key",
    "SignatureDoesNotMatch": "the secret key is not the one that belongs to this access key",
    "RequestTimeTooSkewed": "this host's clock differs from the store's; set it right",
    "InvalidObjectState": "the object lies in the cold tier",
    "NoSuchLifecycleConfiguration": "the bucket has no lifecycle rules",
    "InternalError": "the store met an internal error; its log says more",
}
"""What people see instead of AWS's sentences."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a listing; etag without quotes; restore: when it was asked for."""

    key: str
    size: int
    etag: str
    modified: datetime
    storage_class: str = "STANDARD"
    restore: Restore | None = None


@dataclass(frozen=True, slots=True)
class Page:
    entries: list[Entry]
    prefixes: list[str]
    continuation: str


@dataclass(frozen=True, slots=True)
class Bucket:
    name: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Part:
    number: int
    size: int
    etag: str
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """A key (version "") or one version of it."""

    key: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    key: str
    upload: str
    started: datetime


def parse_xml(body: bytes) -> ElementTree.Element:
    """The root with all namespaces taken off. Raises: Unavailable."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise errors.Unavailable(f"the answer is no XML ({error}): is this an S3 endpoint?") from error
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
    return root


def text(element: ElementTree.Element, name: str, default: str = "") -> str:
    return element.findtext(name) or default


def parse_time(value: str) -> datetime:
    """RFC 3339 as S3 writes it. Raises: Unavailable."""
    try:
        moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError as error:
        raise errors.Unavailable(f"the answer has an unreadable time {value!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_page(body: bytes) -> Page:
    """A page of ListObjectsV2 asked for with encoding-type=url."""
    root = parse_xml(body)
    name = _decoder(root)
    entries = [
        Entry(
            key=name(text(item, "Key")),
            size=int(text(item, "Size", "0")),
            etag=text(item, "ETag").strip('"'),
            modified=parse_time(text(item, "LastModified")),
            storage_class=text(item, "StorageClass", "STANDARD"),
            restore=_restore(item),
        )
        for item in root.iterfind("Contents")
    ]
    prefixes = [name(text(item, "Prefix")) for item in root.iterfind("CommonPrefixes")]
    truncated = text(root, "IsTruncated") == "true"
    return Page(entries, prefixes, text(root, "NextContinuationToken") if truncated else "")


def _restore(item: ElementTree.Element) -> Restore | None:
    status = item.find("RestoreStatus")
    if status is None:
        return None
    until = text(status, "RestoreExpiryDate")
    return Restore(parse_time(until) if until and text(status, "IsRestoreInProgress") != "true" else None)


def parse_buckets(body: bytes) -> tuple[list[Bucket], str]:
    """(buckets, continuation token or "")."""
    root = parse_xml(body)
    buckets = [Bucket(text(item, "Name"), parse_time(text(item, "CreationDate"))) for item in root.iterfind("Buckets/Bucket")]
    return buckets, text(root, "ContinuationToken")


def parse_parts(body: bytes) -> tuple[list[Part], int]:
    """(parts, number to continue after or 0)."""
    root = parse_xml(body)
    parts = [
        Part(
            int(text(item, "PartNumber", "0")), int(text(item, "Size", "0")), text(item, "ETag").strip('"'), text(item, "ChecksumCRC64NVME")
        )
        for item in root.iterfind("Part")
    ]
    return parts, int(text(root, "NextPartNumberMarker", "0")) if text(root, "IsTruncated") == "true" else 0


def parse_versions(body: bytes) -> tuple[list[Version], tuple[str, str] | None]:
    """(versions and delete markers, (key, version) to continue after or None)."""
    root = parse_xml(body)
    name = _decoder(root)
    rows = [item for item in root if item.tag in ("Version", "DeleteMarker")]
    versions = [Version(name(text(item, "Key")), text(item, "VersionId")) for item in rows]
    return versions, _continuation(root, "NextVersionIdMarker")


def parse_uploads(body: bytes) -> tuple[list[Upload], tuple[str, str] | None]:
    """(uploads in progress, (key, upload) to continue after or None)."""
    root = parse_xml(body)
    name = _decoder(root)
    uploads = [
        Upload(name(text(item, "Key")), text(item, "UploadId"), parse_time(text(item, "Initiated"))) for item in root.iterfind("Upload")
    ]
    return uploads, _continuation(root, "NextUploadIdMarker")


def _decoder(root: ElementTree.Element) -> Callable[[str], str]:
    return unquote if text(root, "EncodingType") == "url" else str


def _continuation(root: ElementTree.Element, second: str) -> tuple[str, str] | None:
    if text(root, "IsTruncated") != "true":
        return None
    return _decoder(root)(text(root, "NextKeyMarker")), text(root, second)


def parse_deleted(body: bytes) -> list[tuple[str, errors.FrazilError]]:
    """The keys that DeleteObjects could not delete, with why."""
    return [(text(item, "Key"), to_error(0, text(item, "Code"), text(item, "Message"))) for item in parse_xml(body).iterfind("Error")]


def raise_hidden_error(root: ElementTree.Element) -> None:
    """Some answers begin as 200 and end as an error. Raises: that error."""
    if root.tag == "Error":
        raise to_error(500, text(root, "Code"), text(root, "Message"))


def error_of(status: int, body: bytes) -> errors.FrazilError:
    """The error for a status of 300 and above; `body` may be empty (HEAD) or no XML (a proxy's page)."""
    code = message = ""
    if body:
        try:
            root = parse_xml(body)
        except errors.Unavailable:
            return to_error(status, "", f"answer {status} is not S3's")
        code, message = text(root, "Code"), text(root, "Message")
    return to_error(status, code, message)


def to_error(status: int, code: str, message: str) -> errors.FrazilError:
    """The leaf for S3's code, else for the status."""
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = errors.Unavailable if status >= 500 or code in ("InternalError", "ServiceUnavailable") else errors.BadRequest
        if code == "AccessDenied":
            kind = errors.Denied
    if code in _WORDS:
        return kind(_WORDS[code])
    if not message:
        return kind(code or f"the store answered {status}")
    return kind(f"{message.rstrip('.')} ({code})" if code else message.rstrip("."))
