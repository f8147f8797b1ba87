"""How long a rule's day is, and when a number of them is over. Pure."""

from __future__ import annotations

from dataclasses import dataclass

DAY_US = 86_400_000_000
LAST_US = 253_402_214_400_000_000
"""31 December 9999: S3 takes days enough to go beyond, and headers can't name those."""
GRACE_US = 600_000_000
"""The bytes of a restored copy stay this much longer than its days, for whoever began to read it in time."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days as S3 counts them end at midnight, UTC: what is due after some is due at the first midnight behind them. Days of another
    length, for tests, end when they are over. What is due later than a date can say is due on the last one."""

    day_us: int = DAY_US

    def after(self, from_us: int, days: int) -> int:
        if self.day_us == DAY_US:
            return min((from_us // DAY_US + days + 1) * DAY_US, LAST_US)
        return min(from_us + days * self.day_us, LAST_US)


REAL = Calendar()
