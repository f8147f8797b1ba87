"""Work that never ends: a standing job, pass after pass."""

from __future__ import annotations

from dataclasses import dataclass, field

STANDING = "standing"
"""Argument of jobs that are a duty."""
DELAY_S = 600.0
"""Scrubs of the background begin so long after the process."""


@dataclass(frozen=True, slots=True)
class Duty:
    """pace_bytes: per second;  period_s: from the begin of one pass to the next;  delay_s: of the first after the process began."""

    pace_bytes: int
    period_s: float
    arguments: dict[str, str] = field(default_factory=dict)
    delay_s: float = DELAY_S


DUTIES = {"scrub-meta": Duty(8 << 20, 24 * 3600.0), "scrub-chunks": Duty(16 << 20, 14 * 24 * 3600.0, {"deep": "1"})}
