"""Numbers as people read them, and bars: pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_STEPS = " ▏▎▍▌▋▊▉█"


def clock(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%H:%M:%S")


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"(\d{1,12})\s*([KMG]?)(?:IB|B)?", re.IGNORECASE)


def bytes_of(text: str) -> int:
    """10MiB, 64k, 0. Raises: ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no number of bytes; write 10MiB, 64KiB, or 0")
    return int(match[1]) * _UNITS[match[2].upper()]


def bar(share: float, width: int) -> str:
    """A share of 1 as blocks with eighths, `width` characters wide."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_STEPS[rest] if rest else "")).ljust(width)
