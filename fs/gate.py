"""A gate that many pass at once, and that one may close: saves of files against moves of the folders that they lie in. And a lock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Latch:
    """A lock that is taken at once where it is free: trio's own has everybody give way first, which takes as long as a small read."""

    def __init__(self) -> None:
        self._lock = trio.Lock()

    def __repr__(self) -> str:
        return f"<Latch locked={self._lock.locked()}>"

    def take(self) -> bool:
        """Without waiting; False when it is not free, whoever has it. To be given back by the same task."""
        if self._lock.locked():
            return False
        self._lock.acquire_nowait()
        return True

    def give_back(self) -> None:
        self._lock.release()

    async def __aenter__(self) -> None:
        if not self.take():
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self.give_back()


class Gate:
    """Who closes it waits until those inside are through; whoever comes then waits until it is open again."""

    def __init__(self) -> None:
        self._inside = 0
        self._closing = trio.Lock()
        self._empty = trio.Event()

    def __repr__(self) -> str:
        return f"<Gate inside={self._inside} closed={self._closing.locked()}>"

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        if self._closing.locked():
            async with self._closing:
                self._inside += 1
        else:
            self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def closed(self) -> AsyncIterator[None]:
        async with self._closing:
            while self._inside:
                self._empty = trio.Event()
                await self._empty.wait()
            yield
