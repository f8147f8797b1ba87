"""Chunks of what was deleted stay while somebody may be reading them: on other hosts nobody knows who does, so they get a fixed time."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection


class Ripening:
    """Since when deletions stand in the lists of containers. A list's numbers grow, so one number tells of all that came before."""

    def __init__(self, reading_s: float) -> None:
        self._reading_s = reading_s
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def __repr__(self) -> str:
        return f"<Ripening reading_s={self._reading_s:g} buckets={len(self._seen)}>"

    def newest(self, bucket: str) -> int:
        """The highest number that was seen of it; 0 when none was."""
        seen = self._seen.get(bucket)
        return seen[-1][1] if seen else 0

    def keep(self, buckets: Collection[str]) -> None:
        """The lists of all others are empty: nothing is remembered of them, for the numbers of a bucket that is made anew may be lower."""
        self._seen = {bucket: seen for bucket, seen in self._seen.items() if bucket in buckets}

    def ripe(self, bucket: str, newest: int, now: float) -> int:
        """`newest` is in the list by now (s, of any steady clock). The highest number that has been for reading_s; 0 when none has."""
        seen = self._seen.setdefault(bucket, deque())
        if newest > self.newest(bucket):
            seen.append((now, newest))
        while len(seen) > 1 and seen[1][0] <= now - self._reading_s:
            seen.popleft()
        if not seen:
            del self._seen[bucket]
            return 0
        if seen[0][0] > now - self._reading_s:
            return 0
        number = seen[0][1]
        if len(seen) == 1:  # all are old enough: a list that has no more needs no memory
            del self._seen[bucket]
        return number
