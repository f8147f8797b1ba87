"""What follows a request but need not be waited for: deleting replaced chunks, settling the volumes' journals, waking the record sync.

All of it is also on disk (the containers' lists, the volumes' journals), so what a full queue or a crash drops is found again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import trio

from meta.protocol import Dropped
from store.delete import Place

DROPPED_MAX = 20_000
"""Contents waiting for their chunks' deletion in memory."""
PLACES_MAX = 100_000
"""Chunks waiting for their journal entry's end."""


class Afterwork:
    """Queues between requests and workers. Only the event loop's thread touches it."""

    def __init__(self) -> None:
        self.dropped: deque[tuple[str, Dropped]] = deque(maxlen=DROPPED_MAX)
        self.settled: deque[Place] = deque(maxlen=PLACES_MAX)
        self.kicked: set[str] = set()
        self.in_flight: set[str] = set()
        self.wake = trio.Event()

    def __repr__(self) -> str:
        return f"<Afterwork dropped={len(self.dropped)} settled={len(self.settled)} kicked={len(self.kicked)}>"

    def drop(self, bucket: str, dropped: Iterable[Dropped]) -> None:
        """Chunks that no metadata names any more."""
        for each in dropped:
            self.dropped.append((bucket, each))
            self.wake.set()

    def settle(self, places: Sequence[Place]) -> None:
        """Chunks whose metadata is committed, or that are gone."""
        self.settled.extend(places)

    def kick(self, bucket: str) -> None:
        """The container has something in its lists."""
        if len(self.kicked) < DROPPED_MAX:
            self.kicked.add(bucket)
        self.wake.set()
