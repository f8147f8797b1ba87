"""The bytes of an open file as a store takes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Fill = Callable[[int, memoryview], Awaitable[None]]
"""Fills a buffer with the file's bytes from a place on."""


class FileSource:
    """The bytes [start, stop) of a file as it is: a store.source.Source. The file must not change meanwhile."""

    def __init__(self, fill: Fill, start: int, stop: int) -> None:
        self.length: int | None = stop - start
        self.digests: frozenset[str] = frozenset()
        self._fill, self._at, self._stop = fill, start, stop

    async def fill(self, buffer: memoryview) -> int:
        count = min(len(buffer), self._stop - self._at)
        if count:
            await self._fill(self._at, buffer[:count])
        self._at += count
        return count

    def complete(self, digests: dict[str, bytes]) -> dict[str, str]:
        return {}
