"""A put that goes along with a file while it is written in order: when the file is saved, most of it is in the store already.

Theory of operation. What is written lies in the spool as ever; a put reads it from there, a little behind the writer, into chunks that
nobody sees. Saving the file tells the put where it ends, and waits for the rest. Who writes once more what the put has taken, cuts it off,
or pauses for long, ends the put: nothing is left of it, and saving stores the file as if there had been none. A file has one try.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable

import trio

from fs.connection import MakeSource
from fs.source import Fill
from meta.protocol.object import ObjectRow
from node.errors import FrazilError
from node.log import get_logger

BEGIN_BYTES = 4 << 20
"""A file that is written in order gets one from here on."""
LAG_BYTES = 1 << 20
"""Left to the writer: the kernel sends a page that was half full once more."""
PIECE_BYTES = 256 << 10
"""Taken at once."""
IDLE_S = 10.0
"""A writer that pauses for longer is not waited for: the put holds memory, and connections to the services of a cluster."""
ALONG_MAX = 4
"""Of a mount at once: each holds memory for two slabs."""
Put = Callable[[MakeSource], Awaitable[ObjectRow]]
log = get_logger("fs.along")


class Along:
    """Of one file. key: which it had at the begin; fill: gives the file's bytes from a place on.

    taken   what lies before it is not to be changed any more
    """

    def __init__(self, key: str, fill: Fill) -> None:
        self.key = key
        self.taken = 0
        self._fill = fill
        self._ready = 0
        self._size: int | None = None
        self._bell, self._over = trio.Event(), trio.Event()
        self._scope = trio.CancelScope()
        self._row: ObjectRow | None = None

    def __repr__(self) -> str:
        return f"<Along {self.key!r} taken={self.taken} of {self._ready}>"

    def written(self, stop: int) -> None:
        """So much of the file, from its begin on, was written by now."""
        self._ready = max(stop - LAG_BYTES, 0)
        if self._ready >= self.taken + PIECE_BYTES:
            self._ring()

    async def run(self, put: Put) -> None:
        """In a task of its own."""
        try:
            with self._scope:
                self._row = await put(lambda: _Source(self))
        except (FrazilError, OSError) as error:
            log.info("%s is stored once it is saved, not while it is written: %s", self.key, error)
        except Exception:  # a bug: the mount must go on
            log.exception("storing %s while it is written stopped by an internal error", self.key)
        finally:
            self._over.set()

    async def finish(self, size: int) -> ObjectRow | None:
        """The object, which ends there; None where it could not be stored this way. The file must not change meanwhile."""
        self._size = size
        self._ring()
        try:
            await self._over.wait()
        except BaseException:
            await self.aclose()
            raise
        return self._row

    async def aclose(self) -> None:
        """Nothing is left of it."""
        self._scope.cancel()
        with trio.CancelScope(shield=True):  # what it undoes is bounded
            await self._over.wait()

    def _ring(self) -> None:
        self._bell, bell = trio.Event(), self._bell
        bell.set()

    async def take(self, start: int, into: memoryview) -> int:
        """Fills some of the buffer, once there is something; 0 at the end. Raises: OSError when the writer pauses."""
        with trio.move_on_after(IDLE_S):
            while self._size is None and self._ready < start + min(PIECE_BYTES, len(into)):
                await self._bell.wait()
        stop = self._ready if self._size is None else self._size
        count = min(stop - start, len(into), PIECE_BYTES)
        if count <= 0 and self._size is None:
            raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
        if count > 0:
            self.taken = start + count
            await self._fill(start, into[:count])
        return max(count, 0)


class _Source:
    """A store.source.Source. Made anew when the put is tried once more."""

    def __init__(self, along: Along) -> None:
        self.length: int | None = None
        self.digests: frozenset[str] = frozenset()
        self._along, self._at = along, 0

    async def fill(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer):
            count = await self._along.take(self._at, buffer[filled:])
            if not count:
                break
            filled, self._at = filled + count, self._at + count
        return filled

    def complete(self, digests: dict[str, bytes]) -> dict[str, str]:
        return {}
