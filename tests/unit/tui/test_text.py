"""Numbers as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.text import bytes_text
from tui.text import bar, clock, span


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB"), (3 << 62, "12.0 EiB")])
def test_sizes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "-"), (0, "0 s"), (0.0042, "4.2 ms"), (45, "45 s"), (200, "3 m 20 s"), (5 * 3600 + 130, "5 h 2 m"), (76 * 3600, "3 d 4 h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_times_of_day_are_utc() -> None:
    assert clock(1_700_000_000_000_000) == "22:13:20"


@given(st.floats(-1, 2), st.integers(1, 40))
def test_a_bar_is_as_wide_as_it_was_told(share: float, width: int) -> None:
    assert len(bar(share, width)) == width


def test_bars_are_empty_half_and_full() -> None:
    assert (bar(0, 4), bar(0.5, 4), bar(1, 4)) == ("    ", "██  ", "████")
