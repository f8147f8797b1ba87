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
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def http_date(time_us: int) -> bytes:
    return _http_date(time_us // 1_000_000)


def iso_date(time_us: int) -> str:
    return _iso_date(time_us // 1_000_000)
