"""Numbers as people read them, and bars: pure."""

from __future__ import annotations

from datetime import UTC, datetime

_STEPS = " ▏▎▍▌▋▊▉█"


def span(seconds: float) -> str:
    """Two units at most: "45 s", "3 m 20 s", "5 h 2 m", "3 d 4 h"; what is unknown (negative) is "-"."""
    if seconds < 0:
        return "-"
    whole = int(seconds)
    if whole < 60:
        return f"{seconds * 1e3:.1f} ms" if seconds and seconds < 1 else f"{whole} s"
    for large, small, names in ((60, 1, "m s"), (3600, 60, "h m"), (86400, 3600, "d h")):
        if whole < large * (60 if large == 60 else 24) or large == 86400:
            first, second = names.split()
            return f"{whole // large} {first} {whole % large // small} {second}"
    raise AssertionError


def clock(at_us: int) -> str:
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%H:%M:%S")


def bar(share: float, width: int) -> str:
    """A share of 1 as blocks with eighths, `width` characters wide."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_STEPS[rest] if rest else "")).ljust(width)
