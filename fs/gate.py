"""A gate that many pass at once, and that one may close: saves of files against moves of the folders that they lie in. And a lock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Latch:
    """A lock that is taken at once where it is free: trio's own has everybody give way first, which takes as long as a small read.

    Two are made for each file that is opened, and one is taken for each call: while nobody waits it is no more than a truth value.
    """

    __slots__ = ("_taken", "_waiting")

    def __init__(self) -> None:
        self._taken = False
        self._waiting: trio.lowlevel.ParkingLot | None = None

    def __repr__(self) -> str:
        return f"<Latch taken={self._taken}>"

    def take(self) -> bool:
        """Without waiting; False when it is not free, whoever has it."""
        if self._taken:
            return False
        self._taken = True
        return True

    def give_back(self) -> None:
        """To who waits longest, if anybody does."""
        assert self._taken
        if self._waiting:
            self._waiting.unpark()
        else:
            self._taken = False

    async def __aenter__(self) -> None:
        if not self.take():
            if self._waiting is None:
                self._waiting = trio.lowlevel.ParkingLot()
            await self._waiting.park()

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

    def passing(self) -> Gate:
        """As a context: the gate itself, for who passes has nothing to remember."""
        return self

    async def __aenter__(self) -> None:
        if self._closing.locked():
            async with self._closing:
                self._inside += 1
        else:
            self._inside += 1

    async def __aexit__(self, *_: object) -> None:
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
