"""Times as S3 writes them: HTTP dates in headers, ISO 8601 with milliseconds in XML. Both in whole seconds, as AWS keeps them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache

DATES_CACHED = 16_384


@lru_cache(maxsize=DATES_CACHED)
def _http_date(time_s: int) -> bytes:
    return formatdate(time_s, usegmt=True).encode("ascii")


@lru_cache(maxsize=DATES_CACHED)
def _iso_date(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).replace(tzinfo=None).isoformat() + ".000Z"  # strftime writes the year 1 as "1"


def http_date(time_us: int) -> bytes:
    return _http_date(time_us // 1_000_000)


def iso_date(time_us: int) -> str:
    return _iso_date(time_us // 1_000_000)
