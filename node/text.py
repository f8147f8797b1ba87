"""Numbers and strange texts as people read them."""

from __future__ import annotations

SECONDS_TOLD_MIN = 10
"""Minutes up to which seconds are told as well."""
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def bytes_text(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    size = float(count)
    for unit in _UNITS:
        if abs(size) < 1024 or unit == _UNITS[-1]:
            return f"{count:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("the last unit returns")


def span_text(seconds: float) -> str:
    """Two units at most: 0.0042 -> "4.2 ms", 45 -> "45 s", 200 -> "3 min 20 s", 4000 -> "1 h 6 min", 90000 -> "1 d 1 h"; what is unknown
    (negative) is "-"."""
    if seconds < 0:
        return "-"
    if 0 < seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    if not minutes:
        return f"{whole} s"
    return f"{minutes} min {whole % 60} s" if whole % 60 and minutes < SECONDS_TOLD_MIN else f"{minutes} min"


def visible(text: str) -> str:
    """Control characters and undecodable bytes made harmless for a terminal; ordinary text is untouched."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode() for character in text
    )
