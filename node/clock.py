"""Time as an argument, so that tests and simulations set it."""

from __future__ import annotations

import time
from collections.abc import Sequence
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


TOLERANCE_US = 2_000_000
"""Hosts this close agree: what NTP does is not second-guessed."""


class SharedClock:
    """The machine's date, put right by what the others say when it is off; several processes then tell about the same time."""

    def __init__(self, base: Clock | None = None) -> None:
        self._base = base or SystemClock()
        self.offset_us = 0

    def __repr__(self) -> str:
        return f"<SharedClock offset={self.offset_us / 1e6:+.1f} s>"

    def now_us(self) -> int:
        return self._base.now_us() + self.offset_us

    def monotonic(self) -> float:
        return self._base.monotonic()

    def heard(self, dates_us: Sequence[int]) -> None:
        """What others say the date is now. Their middle counts, of two the one nearer to ours: one wrong host never decides."""
        if not dates_us:
            return
        own, ordered = self._base.now_us(), sorted(dates_us)
        middles = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
        offset_us = min((middle - own for middle in middles), key=abs)
        self.offset_us = offset_us if abs(offset_us) > TOLERANCE_US else 0


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
