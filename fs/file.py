"""An open file: the version it was opened on, and its attributes."""

from __future__ import annotations

from contextlib import AsyncExitStack

import trio

from fs.attribute import Stat
from fs.connection import Connection
from fs.readahead import Budget, ReadAhead
from meta.protocol.object import ObjectRow


class File:
    """The state that all handles of one inode share."""

    def __init__(self, connection: Connection, bucket: str, row: ObjectRow, stat: Stat, *, budget: Budget, nursery: trio.Nursery) -> None:
        self.stat = stat
        self.row = row
        self._connection, self._bucket = connection, bucket
        self._budget, self._nursery = budget, nursery
        self._stack = AsyncExitStack()
        self._ahead: ReadAhead | None = None
        self._opening = trio.Lock()

    def __repr__(self) -> str:
        return f"<File {self._bucket} {self.row.key!r} size={self.stat.size}>"

    @property
    def unsaved(self) -> bool:
        return False

    async def read(self, start: int, size: int) -> memoryview:
        """Up to `size` bytes; fewer only at the end. Raises: ContentLost, SealBroken, Busy."""
        stop = min(start + size, self.stat.size)
        if start >= stop:
            return memoryview(b"")
        ahead = self._ahead or await self._open()
        return await ahead.read(start, stop)

    async def aclose(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
        await self._stack.aclose()

    async def _open(self) -> ReadAhead:
        async with self._opening:
            if self._ahead is None:
                window = await self._stack.enter_async_context(await self._connection.window(self._bucket, self.row))
                self._ahead = ReadAhead(window.read, self.row.size, self._budget, self._nursery)
        return self._ahead
