"""Range headers. Pure.

A header that is no single range of bytes (malformed, another unit, several ranges) is ignored and the whole object is sent, as S3 does
(RFC 9110 14.2).
"""

from __future__ import annotations

import re

from s3.errors import S3Error

_RANGE = re.compile(rb"bytes=(\d{0,19})-(\d{0,19})")
_COPY_RANGE = re.compile(r"bytes=(\d{1,19})-(\d{1,19})")


def parse_range(header: bytes, size: int) -> tuple[int, int] | None:
    """(start, stop) of a single range within `size` bytes, None when the header is to be ignored. Raises: InvalidRange."""
    match = _RANGE.fullmatch(header.strip())
    if match is None:
        return None
    first, last = match.groups()
    if first:
        start = int(first)
        stop = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
        if start < size:
            return start, stop
    elif last:
        start = max(0, size - int(last))
        if start < size:
            return start, size
    else:
        return None
    raise S3Error(
        "InvalidRange",
        RangeRequested=header.decode("latin-1"),
        ActualObjectSize=str(size),
        headers=((b"Content-Range", b"bytes */%d" % size),),
    )


def parse_copy_range(text: str, size: int) -> tuple[int, int]:
    """(start, stop) of an x-amz-copy-source-range, which must lie within the source. Raises: InvalidArgument."""
    match = _COPY_RANGE.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise S3Error(
            "InvalidArgument",
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets "
            "of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    start, stop = int(match[1]), int(match[2]) + 1
    if stop > size:
        raise S3Error("InvalidArgument", f"Range specified is not valid for source object of size: {size}", ArgumentValue=text)
    return start, stop
