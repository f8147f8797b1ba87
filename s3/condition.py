"""Conditional requests: what reads check here, and what writes hand to the metadata transaction. Pure.

Precedence on reads is AWS's and RFC 9110 13.2.2's: If-Match (else If-Unmodified-Since), then If-None-Match (else If-Modified-Since).
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from meta.protocol.object import NO_CONDITION, Condition
from s3.call import Call
from s3.errors import S3Error, not_implemented

ETAGS_MAX = 64


def parse_etags(header: bytes) -> tuple[str, ...]:
    """The entity tags of a condition, unquoted; "*" stays."""
    tags = header.decode("latin-1").split(",", ETAGS_MAX)[:ETAGS_MAX]
    return tuple(tag.strip().removeprefix("W/").strip('"') for tag in tags)


def _seconds(header: bytes | None) -> int | None:
    """A date header as seconds since 1970; an unreadable one is as if it weren't there (RFC 9110 13.1.3)."""
    if header is None:
        return None
    try:
        return _timestamp(parsedate_to_datetime(header.decode("latin-1")))
    except (ValueError, TypeError, OverflowError):
        return None


def _fails(etag: str, mtime_s: int, if_match: bytes | None, unmodified_since: bytes | None) -> str:
    if if_match is not None:
        tags = parse_etags(if_match)
        return "" if "*" in tags or etag in tags else "If-Match"
    before = _seconds(unmodified_since)
    return "If-Unmodified-Since" if before is not None and mtime_s > before else ""


def _unchanged(etag: str, mtime_s: int, if_none_match: bytes | None, modified_since: bytes | None) -> str:
    if if_none_match is not None:
        tags = parse_etags(if_none_match)
        return "If-None-Match" if "*" in tags or etag in tags else ""
    after = _seconds(modified_since)
    return "If-Modified-Since" if after is not None and mtime_s <= after else ""


def check_read(call: Call, etag: str, mtime_us: int) -> bool:
    """True when the object is to be sent, False for 304. Raises: PreconditionFailed."""
    get = call.request.headers.get
    match, none_match = get(b"if-match"), get(b"if-none-match")
    modified, unmodified = get(b"if-modified-since"), get(b"if-unmodified-since")
    if match is None and none_match is None and modified is None and unmodified is None:
        return True
    mtime_s = mtime_us // 1_000_000
    failed = _fails(etag, mtime_s, match, unmodified)
    if failed:
        raise S3Error("PreconditionFailed", Condition=failed)
    return not _unchanged(etag, mtime_s, none_match, modified)


def range_applies(call: Call, etag: str, mtime_us: int) -> bool:
    """Whether If-Range, when there is one, still means this object; a client that goes on with another's bytes would mix the two.

    Source: RFC 9110 13.1.5.
    """
    wanted = call.request.headers.get(b"if-range")
    if wanted is None:
        return True
    if wanted.startswith((b'"', b"W/")):
        return wanted == b'"%b"' % etag.encode("ascii")
    return _seconds(wanted) == mtime_us // 1_000_000


def check_copy_source(call: Call, etag: str, mtime_us: int) -> None:
    """Raises: PreconditionFailed, for either kind of condition."""
    prefix = b"x-amz-copy-source-"
    mtime_s = mtime_us // 1_000_000
    failed = _fails(etag, mtime_s, call.header(prefix + b"if-match"), call.header(prefix + b"if-unmodified-since")) or _unchanged(
        etag, mtime_s, call.header(prefix + b"if-none-match"), call.header(prefix + b"if-modified-since")
    )
    if failed:
        raise S3Error("PreconditionFailed", Condition=f"x-amz-copy-source-{failed}")


def write_condition(call: Call) -> Condition:
    """For PUT, copy and completion. Raises: NotImplemented for what AWS does not take on writes either."""
    get = call.request.headers.get
    if_match, if_none_match = get(b"if-match"), get(b"if-none-match")
    if if_match is None and if_none_match is None:
        return NO_CONDITION
    if if_none_match is not None and if_none_match.strip() != b"*":
        raise not_implemented("If-None-Match with anything but * on a write")
    return Condition(
        if_match=() if if_match is None else parse_etags(if_match),
        if_none_match=() if if_none_match is None else ("*",),
    )


def rename_condition(call: Call, prefix: bytes) -> Condition:
    """For one end of a rename, whose headers begin with `prefix`."""
    match, none_match = call.header(prefix + b"if-match"), call.header(prefix + b"if-none-match")
    modified, unmodified = _seconds(call.header(prefix + b"if-modified-since")), _seconds(call.header(prefix + b"if-unmodified-since"))
    return Condition(
        if_match=() if match is None else parse_etags(match),
        if_none_match=() if none_match is None else parse_etags(none_match),
        modified_since_us=None if modified is None else modified * 1_000_000,
        unmodified_since_us=None if unmodified is None else unmodified * 1_000_000,
    )


def check_begin(header: bytes, started_us: int) -> None:
    """An abort's condition on when the upload began. Raises: PreconditionFailed."""
    if _seconds(header) != started_us // 1_000_000:
        raise S3Error("PreconditionFailed", Condition="x-amz-if-match-initiated-time")


def delete_condition(call: Call) -> Condition:
    """If-Match of a delete, and the two that AWS adds for it. Raises: InvalidArgument."""
    return entry_condition(call.text(b"if-match"), call.text(b"x-amz-if-match-size"), call.text(b"x-amz-if-match-last-modified-time"))


def entry_condition(etag: str, size: str, modified: str) -> Condition:
    """Conditions on the object to be deleted, "" for none. `modified` is an HTTP date or ISO 8601. Raises: InvalidArgument."""
    if not etag and not size and not modified:
        return NO_CONDITION
    if size and not (size.isascii() and size.isdigit() and len(size) <= 18):
        raise S3Error("InvalidArgument", ArgumentName="Size", ArgumentValue=size)
    seconds = None
    if modified:
        seconds = _seconds(modified.encode("utf-8")) or _iso_seconds(modified)
        if seconds is None:
            raise S3Error("InvalidArgument", ArgumentName="LastModifiedTime", ArgumentValue=modified)
    return Condition(
        if_match=parse_etags(etag.encode("utf-8")) if etag else (),
        size=int(size) if size else None,
        mtime_us=None if seconds is None else seconds * 1_000_000,
    )


def _iso_seconds(text: str) -> int | None:
    try:
        return _timestamp(datetime.fromisoformat(text))
    except ValueError:
        return None


def _timestamp(moment: datetime) -> int:
    """A time without zone is UTC's, wherever this process runs."""
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
