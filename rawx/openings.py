"""Chunks kept open between the calls of one reader: opening reads the attributes, and what is being read may be deleted meanwhile."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from rawx.protocol import Rawx, Reader

IDLE_S = 10.0
"""How long a chunk stays open after its last call: a slow reader asks at least so often, and a deleted chunk keeps its space no longer."""
OPEN_MAX = 512
Key = tuple[str, str, bytes]


class Openings:
    """Readers that nobody uses now, the longest idle first. A reader serves one call at a time."""

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        self._now = now
        self._idle: OrderedDict[tuple[Key, int], tuple[Reader, float]] = OrderedDict()
        self._by_key: dict[Key, list[int]] = {}
        self._numbers = 0

    def __repr__(self) -> str:
        return f"<Openings idle={len(self._idle)}>"

    @asynccontextmanager
    async def use(self, volume: Rawx, chunk: str, checksum: bytes) -> AsyncIterator[Reader]:
        """An open reader; after a failure it isn't kept. Raises: as Rawx.open."""
        key = (volume.volume_id, chunk, checksum)
        reader = self._take(key) or await volume.open(chunk, checksum)
        try:
            yield reader
        except BaseException:
            await reader.aclose()
            raise
        self._keep(key, reader)
        await self.expire()

    async def expire(self) -> None:
        """Closes what was idle for too long, or is too much."""
        while self._idle:
            (key, number), (reader, since) = next(iter(self._idle.items()))
            if self._now() - since < IDLE_S and len(self._idle) <= OPEN_MAX:
                return
            self._forget(key, number)
            await reader.aclose()

    async def aclose(self) -> None:
        while self._idle:
            (key, number), (reader, _) = next(iter(self._idle.items()))
            self._forget(key, number)
            await reader.aclose()

    def _take(self, key: Key) -> Reader | None:
        numbers = self._by_key.get(key)
        if not numbers:
            return None
        number = numbers[-1]
        reader, _ = self._idle[key, number]
        self._forget(key, number)
        return reader

    def _keep(self, key: Key, reader: Reader) -> None:
        self._numbers += 1
        self._idle[key, self._numbers] = reader, self._now()
        self._by_key.setdefault(key, []).append(self._numbers)

    def _forget(self, key: Key, number: int) -> None:
        del self._idle[key, number]
        numbers = self._by_key[key]
        numbers.remove(number)
        if not numbers:
            del self._by_key[key]
