"""Work in threads that is done one after another, as long as none of it waits for a disk."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Turns:
    """One after another in the order of asking; but whoever takes longer than was said is passed by the next, who then works beside it.

    Threads that look at what is cached take the interpreter from each other at each system call: nine side by side need twice the
    processor time that they need in turn. Nine that wait for nine disks must wait side by side.
    """

    def __init__(self) -> None:
        self._last: _Turn | None = None

    def __repr__(self) -> str:
        return f"<Turns busy={self._last is not None and not self._last.over.is_set()}>"

    @asynccontextmanager
    async def turn(self, longest_s: float) -> AsyncIterator[None]:
        """longest_s: how long the next one waits for this one, once it began."""
        before, own = self._last, _Turn(longest_s)
        self._last = own
        try:
            if before is not None:
                await before.began.wait()
                with trio.move_on_after(before.longest_s):
                    await before.over.wait()
            own.began.set()
            yield
        finally:  # also of a caller that was cancelled while it waited: nobody waits for it
            own.began.set()
            own.over.set()


class _Turn:
    __slots__ = ("began", "longest_s", "over")

    def __init__(self, longest_s: float) -> None:
        self.longest_s = longest_s
        self.began, self.over = trio.Event(), trio.Event()
