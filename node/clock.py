"""Time as an argument, so that tests and simulations set it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two times that must not be mixed: the date, which may jump, and the time that only grows."""

    def now_us(self) -> int:
        """Microseconds since 1970, UTC."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary point; never goes back."""


class SystemClock:
    """The machine's."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()


class FakeClock:
    """Stands still until told otherwise; begins at 2026-01-01 00:00 UTC."""

    def __init__(self, now_us: int = 1_767_225_600_000_000) -> None:
        self._now_us = now_us
        self._monotonic = 0.0

    def __repr__(self) -> str:
        return f"<FakeClock now_us={self._now_us} monotonic={self._monotonic:g}>"

    def now_us(self) -> int:
        return self._now_us

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Both times pass."""
        assert seconds >= 0
        self._now_us += round(seconds * 1_000_000)
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Only the date changes, as when an operator or NTP sets it; may be negative."""
        self._now_us += round(seconds * 1_000_000)
