"""Numbers as people read them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui.text import bar, clock


def test_times_of_day_are_utc() -> None:
    assert clock(1_700_000_000_000_000) == "22:13:20"


@given(st.floats(-1, 2), st.integers(1, 40))
def test_a_bar_is_as_wide_as_it_was_told(share: float, width: int) -> None:
    assert len(bar(share, width)) == width


def test_bars_are_empty_half_and_full() -> None:
    assert (bar(0, 4), bar(0.5, 4), bar(1, 4)) == ("    ", "██  ", "████")
