"""Numbers as people read them, and bars: pure."""

from __future__ import annotations

from datetime import UTC, datetime

_STEPS = " ▏▎▍▌▋▊▉█"


def clock(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%H:%M:%S")


def bar(share: float, width: int) -> str:
    """A share of 1 as blocks with eighths, `width` characters wide."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_STEPS[rest] if rest else "")).ljust(width)
