"""What follows a request but need not be waited for: deleting replaced chunks, settling the volumes' journals, waking the record sync.

All of it is also on disk (the containers' lists, the volumes' journals), so what a full queue or a crash drops is found again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import trio

from meta.protocol.object import Dropped
from store.delete import Place
from store.holds import Holds
from store.layout import Layout

DROPPED_MAX = 20_000
"""Contents whose chunks wait in memory for their deletion."""
SETTLED_MAX = 100_000
"""Chunks that wait in memory for the end of their journal entry."""
KICKED_MAX = 10_000
"""Buckets waiting for a look into their lists."""
UNSURE_MAX = 100_000
"""Chunks whose new record may be there without being durable."""


class Bell:
    """Wakes whoever waits; rung while nobody waits, it wakes the next one at once."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = trio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self, timeout_s: float) -> None:
        with trio.move_on_after(timeout_s):
            await self._event.wait()
        self._event = trio.Event()


class Afterwork:
    """Queues between requests and workers. Only the event loop's thread touches it.

    in_flight   contents that this process is writing: no sweep may take them for leftovers
    unsure      chunks whose record could not be brought up to date: it may be there without being durable
    holds       the same told to the other processes of this host, and by them
    read        layouts by which this process is reading now: the deletion of their chunks waits for a later scan of the container's list
    """

    def __init__(self, holds: Holds | None = None) -> None:
        self.holds = holds
        self.dropped: deque[tuple[str, Dropped]] = deque(maxlen=DROPPED_MAX)
        self.settled: deque[Place] = deque(maxlen=SETTLED_MAX)
        self.markers: deque[tuple[str, str, int]] = deque(maxlen=DROPPED_MAX)
        self.to_delete: set[str] = set()
        self.to_sync: set[str] = set()
        self.in_flight: set[str] = set()
        self.unsure: dict[str, None] = {}
        self.read: dict[object, Layout] = {}
        self.deletions = Bell()
        self.syncs = Bell()
        self.to_move: set[str] = set()
        self.moves = Bell()

    def __repr__(self) -> str:
        return f"<Afterwork dropped={len(self.dropped)} settled={len(self.settled)} to_sync={len(self.to_sync)}>"

    @property
    def pending(self) -> int:
        return len(self.dropped) + len(self.markers) + len(self.to_sync) + len(self.to_delete)

    @contextmanager
    def reading(self, layout: Layout) -> Iterator[None]:
        """While this lasts, the content keeps its chunks though it be replaced or deleted: whoever began to read it gets all of it."""
        token = object()
        self.read[token] = layout
        told = "" if self.holds is None else self.holds.hold(layout)
        try:
            yield
        finally:
            del self.read[token]
            if told and self.holds is not None:
                self.holds.release(told)

    def held(self, places: Iterable[Place]) -> set[str]:
        """Which of these chunks somebody is reading: whole contents, or single chunks that were moved beside the reader."""
        ids = {bytes.fromhex(chunk) for _, chunk in places}
        layouts = {id(layout): layout for layout in self.read.values()}.values()
        return {chunk.name for layout in layouts for metachunk in layout.metachunks for chunk in metachunk.chunks if chunk.id in ids}

    @contextmanager
    def updating(self, chunk: str) -> Iterator[None]:
        """A record is being written: if that fails, it may be seen and yet be lost with the power, so seeing it proves nothing."""
        self.unsure[chunk] = None
        if len(self.unsure) > UNSURE_MAX:
            del self.unsure[next(iter(self.unsure))]
        yield
        self.unsure.pop(chunk, None)

    def drop(self, bucket: str, dropped: Iterable[Dropped]) -> None:
        """Chunks that no metadata names any more."""
        for each in dropped:
            self.dropped.append((bucket, each))
            self.deletions.ring()

    def settle(self, places: Iterable[Place]) -> None:
        """Chunks whose metadata is committed, or that are gone."""
        self.settled.extend(places)

    def add_marker(self, bucket: str, key: str, version: int) -> None:
        """A delete marker that needs a chunk for its record."""
        self.markers.append((bucket, key, version))
        self.syncs.ring()

    def look_for_deletions(self, bucket: str) -> None:
        """The container's list of deletions has grown."""
        if len(self.to_delete) < KICKED_MAX:
            self.to_delete.add(bucket)
        self.deletions.ring()

    def look_for_cold(self, bucket: str) -> None:
        """The container's list of cold versions has something that is due."""
        if len(self.to_move) < KICKED_MAX:
            self.to_move.add(bucket)
        self.moves.ring()

    def look_for_stale_records(self, bucket: str) -> None:
        if len(self.to_sync) < KICKED_MAX:
            self.to_sync.add(bucket)
        self.syncs.ring()
