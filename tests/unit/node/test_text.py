"""Numbers as people read them."""

from __future__ import annotations

import pytest

from node.text import bytes_text, span_text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 62, "12.0 EiB")])
def test_sizes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "-"),
        (0, "0 s"),
        (0.0042, "4.2 ms"),
        (59.9, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (750, "12 min"),
        (4_000, "1 h 6 min"),
        (90_000, "1 d 1 h"),
        (86_400 * 40, "40 d 0 h"),
    ],
)
def test_spans_are_told_in_two_units(seconds: float, text: str) -> None:
    assert span_text(seconds) == text
