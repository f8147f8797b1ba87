"""Object lock as requests and answers write it. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from meta.lock import MODES, with_default
from meta.protocol.bucket import BucketSettings, DefaultRetention
from meta.protocol.object import Attributes
from s3.call import Call, Header, Rights
from s3.errors import S3Error, invalid_argument, not_implemented
from s3.xml import Element, XmlRefused, elements_of, text_of

ON, OFF = "ON", "OFF"
_MODE, _UNTIL, _HOLD = b"x-amz-object-lock-mode", b"x-amz-object-lock-retain-until-date", b"x-amz-object-lock-legal-hold"
_BYPASS = b"x-amz-bypass-governance-retention"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_LAST_MS = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MILLISECOND
NUMBER_CHARACTERS_MAX = 9


def require_lock(settings: BucketSettings) -> None:
    """Raises: InvalidRequest in a bucket without object lock."""
    if not settings.object_lock:
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")


def may_bypass(call: Call, access: Rights) -> bool:
    """Whether the request asks to pass over governance retention, and its identity may for this key."""
    return call.text(_BYPASS).lower() == "true" and access.may("s3:BypassGovernanceRetention")


def protected_as_asked(call: Call, attributes: Attributes) -> Attributes:
    """The attributes with what the x-amz-object-lock-* headers ask for; authorized before. Raises: InvalidArgument, InvalidRequest."""
    mode, until, hold = call.text(_MODE), call.text(_UNTIL), call.text(_HOLD)
    if not mode and not until and not hold:
        return attributes
    require_lock(call.settings)
    if mode or until:
        if not mode or not until:
            raise S3Error("InvalidArgument", "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied")
        if mode not in MODES:
            raise invalid_argument("Unknown wormMode directive.", _MODE.decode("ascii"), mode)
        try:
            until_us = parse_moment(until)
        except ValueError as error:
            raise invalid_argument("The retain until date must be provided in ISO 8601 format", _UNTIL.decode("ascii"), until) from error
        require_future(call, until_us, until)
        attributes = msgspec.structs.replace(attributes, retain_mode=mode, retain_until_us=until_us)
    if hold:
        if hold not in (ON, OFF):
            raise invalid_argument("Legal Hold must be either of 'ON' or 'OFF'", _HOLD.decode("ascii"), hold)
        attributes = msgspec.structs.replace(attributes, legal_hold=hold == ON)
    return attributes


def with_bucket_default(call: Call, attributes: Attributes) -> Attributes:
    """What the metadata's transaction will make of a new version, so that its chunks' records say it from the start."""
    return with_default(attributes, call.settings.default_retention, int(call.services.now_s() * 1_000_000))


def require_checksum(attributes: Attributes, request: str, *, announced: bool) -> None:
    """What may not be deleted had better be what was meant. Raises: InvalidRequest."""
    if not announced and (attributes.retain_mode or attributes.legal_hold):
        raise S3Error(
            "InvalidRequest", f"Content-MD5 OR x-amz-checksum- HTTP header is required for {request} requests with Object Lock parameters"
        )


def require_future(call: Call, until_us: int, text: str) -> None:
    """Raises: InvalidArgument."""
    if until_us <= int(call.services.now_s() * 1_000_000):
        raise invalid_argument("The retain until date must be in the future!", _UNTIL.decode("ascii"), text)


def lock_headers(call: Call, attributes: Attributes) -> list[Header]:
    """Of GET and HEAD, for those who may know."""
    headers: list[Header] = []
    if attributes.retain_mode and call.access.may("s3:GetObjectRetention"):
        headers.append((_MODE, attributes.retain_mode.encode("ascii")))
        headers.append((_UNTIL, moment(attributes.retain_until_us).encode("ascii")))
    if attributes.legal_hold is not None and call.access.may("s3:GetObjectLegalHold"):
        headers.append((_HOLD, (ON if attributes.legal_hold else OFF).encode("ascii")))
    return headers


def moment(time_us: int) -> str:
    """A retention's end, in milliseconds: `parse_moment` gives the same time back, so that a client may send what it got."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time_us // 1_000 % 1_000:03}Z"


def parse_moment(text: str) -> int:
    """Microseconds, rounded up to a millisecond; a time without zone is UTC's. Raises: ValueError, also for what `moment` can't write."""
    found = datetime.fromisoformat(text.strip())
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    milliseconds = -((_EPOCH - found) // _MILLISECOND)
    if milliseconds > _LAST_MS:
        raise ValueError("a time is before the year 10000")
    return milliseconds * 1_000


def parse_configuration(document: Element) -> DefaultRetention | None:
    """The default of an ObjectLockConfiguration. Raises: XmlRefused, InvalidArgument, NotImplemented."""
    if text_of(document, "ObjectLockEnabled") != "Enabled":
        raise XmlRefused("ObjectLockEnabled is Enabled")
    if "Rule" not in document:
        return None
    defaults = elements_of(_only(document, "Rule"), "DefaultRetention")
    if len(defaults) != 1:
        raise XmlRefused("a rule has one DefaultRetention")
    (default,) = defaults
    if "DefaultEventHold" in default:
        raise not_implemented("DefaultEventHold")
    mode, days, years = _mode(default), text_of(default, "Days", ""), text_of(default, "Years", "")
    if bool(days) == bool(years):
        raise XmlRefused("a period is in days or in years")
    number = _number(days or years)
    return DefaultRetention(mode, days=number) if days else DefaultRetention(mode, years=number)


def parse_retention(document: Element) -> tuple[str, str]:
    """Mode and end of a Retention, both "" when it is to be lifted. Raises: XmlRefused, NotImplemented."""
    if "EventHold" in document or "EventHoldDuration" in document:
        raise not_implemented("EventHold")
    if not document:
        return "", ""
    return _mode(document), text_of(document, "RetainUntilDate")


def _only(document: Element, name: str) -> Element:
    found = elements_of(document, name)
    if len(found) != 1:
        raise XmlRefused(f"{name} must be there once")
    return found[0]


def _mode(element: Element) -> str:
    mode = text_of(element, "Mode")
    if mode not in MODES:
        raise XmlRefused("there is no such mode")
    return mode


def _number(text: str) -> int:
    """Raises: XmlRefused when it is no number, InvalidArgument when no period can be that long."""
    digits = text.strip()
    if not digits.removeprefix("-").isdecimal() or not digits.isascii():
        raise XmlRefused("a period is a number")
    if len(digits) > NUMBER_CHARACTERS_MAX or int(digits) <= 0:
        raise S3Error("InvalidArgument", "Default retention period must be a positive integer value")
    return int(digits)
