"""What S3 says of an object's restore, and the words for it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from cli.output import time_json, time_text

COLD_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
TIERS = ("expedited", "standard", "bulk")
_ONGOING = re.compile(r'ongoing-request="(true|false)"')
_UNTIL = re.compile(r'expiry-date="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Restore:
    """until: of a copy that is there; None while it is under way."""

    until: datetime | None = None

    @property
    def ongoing(self) -> bool:
        return self.until is None

    @property
    def words(self) -> str:
        return "being restored" if self.until is None else f"restored until {time_text(self.until)}"

    def fields(self) -> dict[str, object]:
        """For JSON."""
        return {"ongoing": self.ongoing} | ({} if self.until is None else {"until": time_json(self.until)})


def parse_restore(header: str) -> Restore | None:
    """Of an x-amz-restore header; None when there is none, or it says nothing that is known."""
    ongoing, until = _ONGOING.search(header), _UNTIL.search(header)
    if ongoing is None:
        return None
    if ongoing[1] == "true" or until is None:
        return Restore()
    return Restore(parsedate_to_datetime(until[1]))
