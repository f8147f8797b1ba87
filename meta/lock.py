"""Object lock: what a protected version withstands, how its protection may change, what a bucket's default gives. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from meta.protocol.bucket import DefaultRetention
from meta.protocol.object import Attributes
from node.errors import InvalidArgument, Locked

GOVERNANCE = "GOVERNANCE"
COMPLIANCE = "COMPLIANCE"
MODES = frozenset({GOVERNANCE, COMPLIANCE})
DAYS_MAX = 36_500
YEARS_MAX = 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def is_protected(attributes: Attributes) -> bool:
    """Whether there is anything to look at before the version goes."""
    return bool(attributes.retain_mode or attributes.retain_until_us or attributes.legal_hold)


def check_removal(attributes: Attributes, now_us: int, *, bypass_governance: bool) -> None:
    """Raises: Locked under legal hold or retention; a mode that is missing or unknown counts as the strictest."""
    if attributes.legal_hold:
        raise Locked("the version is under legal hold")
    if attributes.retain_until_us > now_us and not (attributes.retain_mode == GOVERNANCE and bypass_governance):
        raise Locked("the version is under retention")


def check_change(old: Attributes, new: Attributes, now_us: int, *, bypass_governance: bool) -> None:
    """Retention in force may be prolonged by anyone; shortened, lifted or given another mode only from GOVERNANCE, with the bypass.

    Raises: Locked.
    """
    if old.retain_until_us <= now_us:
        return
    if new.retain_mode == old.retain_mode and new.retain_until_us >= old.retain_until_us:
        return
    if old.retain_mode == GOVERNANCE and bypass_governance:
        return
    raise Locked("the version is under retention, which may only be prolonged")


def with_default(attributes: Attributes, default: DefaultRetention | None, from_us: int) -> Attributes:
    """The attributes of a new version with the bucket's default retention, unless it brings its own."""
    if default is None or attributes.retain_mode:
        return attributes
    return msgspec.structs.replace(attributes, retain_mode=default.mode, retain_until_us=_end_us(default, from_us))


def check_default(default: DefaultRetention) -> None:
    """Raises: InvalidArgument."""
    if default.mode not in MODES:
        raise InvalidArgument(f"a retention's mode is {GOVERNANCE} or {COMPLIANCE}")
    if bool(default.days) == bool(default.years) or default.days < 0 or default.years < 0:
        raise InvalidArgument("Default retention period must be a positive integer value")
    if default.days > DAYS_MAX or default.years > YEARS_MAX:
        raise InvalidArgument(f"Default retention period is too large: at most {DAYS_MAX} days or {YEARS_MAX} years")


def _end_us(default: DefaultRetention, from_us: int) -> int:
    """Years are the calendar's; one that begins on the 29th of February ends on the 1st of March."""
    begin = _EPOCH + timedelta(microseconds=from_us)
    if default.days:
        end = begin + timedelta(days=default.days)
    else:
        try:
            end = begin.replace(year=begin.year + default.years)
        except ValueError:
            end = begin.replace(year=begin.year + default.years, month=3, day=1)
    return (end - _EPOCH) // _MICROSECOND
