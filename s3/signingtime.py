"""When a request was signed, and whether that is too long ago. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

from s3.errors import S3Error

SKEW_S_MAX = 15 * 60
DATE_BYTES_MAX = 128
TIMESTAMP = re.compile(rb"\d{8}T\d{6}Z")


def header_time(values: Mapping[bytes, bytes]) -> tuple[bytes, int]:
    """When the request says it was made: as `timestamp_of`. Raises: AccessDenied."""
    stamp = values.get(b"x-amz-date", values.get(b"date"))
    if not stamp or len(stamp) > DATE_BYTES_MAX:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    return timestamp_of(stamp)


@lru_cache(maxsize=1_024)
def timestamp_of(stamp: bytes) -> tuple[bytes, int]:
    """The ISO 8601 basic form and seconds since 1970 of an x-amz-date or a Date header. Raises: AccessDenied."""
    try:
        if TIMESTAMP.fullmatch(stamp):
            moment = datetime.strptime(stamp.decode("ascii"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        else:
            moment = parsedate_to_datetime(stamp.decode("latin-1")).astimezone(UTC)
        if moment.timestamp() < 0:
            raise ValueError("before 1970")
        return moment.strftime("%Y%m%dT%H%M%SZ").encode("ascii"), int(moment.timestamp())
    except (ValueError, TypeError, OverflowError) as error:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from error


def check_skew(timestamp: bytes, time_s: int, now_s: float) -> None:
    """Raises: RequestTimeTooSkewed."""
    if abs(now_s - time_s) > SKEW_S_MAX:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=timestamp.decode("ascii"),
            ServerTime=iso(now_s),
            MaxAllowedSkewMilliseconds=str(SKEW_S_MAX * 1000),
        )


def expired(end_s: int, now_s: float) -> S3Error:
    return S3Error("AccessDenied", "Request has expired", Expires=iso(end_s), ServerTime=iso(now_s))


def iso(time_s: float) -> str:
    return datetime.fromtimestamp(int(time_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
