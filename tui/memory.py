"""What a dashboard remembers from its opening on, however often what it reads from is opened anew."""

from __future__ import annotations

from dataclasses import dataclass, field

from tui.cold import Meters
from tui.journal import Journal


@dataclass
class Memory:
    journal: Journal = field(default_factory=Journal)
    meters: Meters = field(default_factory=Meters)
