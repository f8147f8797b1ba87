"""Memory for bodies on their way through: one bounded pool, lent in the order of asking, reused, given back to the system when idle."""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from node.errors import Busy, InvalidArgument

PAGE_BYTES = 4096
WAIT_S = 30.0
"""How long a request waits for memory before it is told to come again."""
WAITERS_MAX = 4096
KEEP_PARTS = 4
"""One part in KEEP_PARTS of the pool may lie ready for reuse; what is beyond goes back to the system at once."""
IDLE_TRIM_S = 5.0


class BufferPool:
    """At most `bytes_max` bytes lent and kept together. Buffers are anonymous maps, so that freed ones leave resident memory for good.

    A page fault per 4 KiB of a new map costs as much as copying it, hence reuse: freed buffers of the same size class serve the next.
    """

    def __init__(self, bytes_max: int, *, wait_s: float = WAIT_S) -> None:
        if bytes_max < PAGE_BYTES:
            raise InvalidArgument(f"a pool of {bytes_max} bytes holds no page")
        self.bytes_max = bytes_max
        self.lent = 0
        self.kept = 0
        self._wait_s = wait_s
        self._free: dict[int, list[mmap.mmap]] = {}
        self._waiting: deque[tuple[int, trio.Event]] = deque()
        self._used_at = 0.0

    def __repr__(self) -> str:
        return f"<BufferPool lent={self.lent} kept={self.kept} of {self.bytes_max} waiting={len(self._waiting)}>"

    @staticmethod
    def size_class(size: int) -> int:
        """The bytes really taken for `size`: a power of two of pages up to 1 MiB, whole 256 KiB above."""
        if size <= 1 << 20:
            return max(PAGE_BYTES, 1 << (size - 1).bit_length())
        return -(-size // (1 << 18)) << 18

    def share(self, wanted: int, floor: int) -> int:
        """How many bytes to ask for: `wanted` in a quiet pool, down to `floor` in a busy one. A hint, nothing is reserved."""
        parties = len(self._waiting) + 1
        return max(floor, min(wanted, (self.bytes_max - self.lent) // (2 * parties)))

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[memoryview]:
        """`size` bytes of unspecified content until the block ends; no view of them may be kept.

        Raises: Busy after the pool's limit of waiting; InvalidArgument when `size` can never be served.
        """
        taken = self.size_class(size)
        if size < 1 or taken > self.bytes_max:
            raise InvalidArgument(f"{size} bytes do not fit in a pool of {self.bytes_max}")
        await self._reserve(taken)
        try:
            buffer = self._obtain(taken)
        except BaseException:
            self._unreserve(taken)
            raise
        view = memoryview(buffer)
        piece = view[:size]
        try:
            yield piece
        finally:
            piece.release()
            view.release()
            self._return(buffer, taken)

    async def _reserve(self, taken: int) -> None:
        if not self._waiting and self.lent + taken <= self.bytes_max:
            self.lent += taken
            return
        if len(self._waiting) >= WAITERS_MAX:
            raise Busy(f"{WAITERS_MAX} requests wait for memory already")
        entry = (taken, trio.Event())
        self._waiting.append(entry)
        granted = False
        try:
            with trio.move_on_after(self._wait_s):
                await entry[1].wait()
            granted = entry[1].is_set()
        finally:
            if not granted:
                if entry[1].is_set():  # in the step in which the wait was cancelled
                    self._unreserve(taken)
                else:
                    self._waiting.remove(entry)
                    self._grant()  # the next may fit where this one did not
        if not granted:
            raise Busy(f"no {taken} bytes of memory for a body within {self._wait_s:g} s")

    def _grant(self) -> None:
        """First come, first served: a large request is not overtaken for ever by small ones."""
        while self._waiting and self.lent + self._waiting[0][0] <= self.bytes_max:
            taken, event = self._waiting.popleft()
            self.lent += taken
            event.set()

    def _unreserve(self, taken: int) -> None:
        self.lent -= taken
        self._grant()

    def _obtain(self, taken: int) -> mmap.mmap:
        self._used_at = trio.current_time()
        same = self._free.get(taken)
        if same:
            self.kept -= taken
            return same.pop()
        while self.kept and self.lent + self.kept > self.bytes_max:
            self._drop_one()
        return mmap.mmap(-1, taken)

    def _return(self, buffer: mmap.mmap, taken: int) -> None:
        self.lent -= taken
        if self.kept + taken <= self.bytes_max // KEEP_PARTS:
            self._free.setdefault(taken, []).append(buffer)
            self.kept += taken
        else:
            _close(buffer)
        self._grant()

    def _drop_one(self) -> None:
        taken = next(size for size, buffers in self._free.items() if buffers)
        _close(self._free[taken].pop())
        self.kept -= taken

    def trim(self) -> None:
        """Gives every kept buffer back to the system."""
        while self.kept:
            self._drop_one()

    async def keep_trimmed(self) -> None:
        """Runs for ever: trims the pool when nothing was taken for IDLE_TRIM_S."""
        while True:
            await trio.sleep(IDLE_TRIM_S)
            if self.kept and trio.current_time() - self._used_at >= IDLE_TRIM_S:
                self.trim()


def _close(buffer: mmap.mmap) -> None:
    try:
        buffer.close()
    except BufferError:  # the traceback of a failed request or a thread hung on a disk still has a view; the map goes with the last of them
        return
