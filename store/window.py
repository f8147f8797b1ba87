"""A version that stays open for reads at any place: its chunks are opened once, and stay readable when the object is replaced or deleted.

For programs that read as a file system does: many small reads of one object, from several tasks, over a long time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meta.protocol.object import ObjectRow
from node.errors import ContentLost
from rawx.chunk import Buffer
from store.context import Context
from store.envelope import ENCRYPTION
from store.get import NOT_READ, MetachunkReader, Subject, room_bytes
from store.layout import Layout
from store.moved import moved
from store.opening import Opener
from store.small import read_small

OPEN_METACHUNKS_MAX = 64
"""Metachunks of one window that stay open; the one used longest ago is closed first."""


class Window:
    """Of one version. Its reads may overlap; each metachunk is read by one at a time."""

    def __init__(self, context: Context, row: ObjectRow, bucket: str, data_key: bytes) -> None:
        self.row = row
        self._context, self._data_key = context, data_key
        self._layout = Layout.parse(row.layout)
        self._subject = Subject(bucket, row.key, row.version)
        self._offsets = _offsets(self._layout)
        self._readers: OrderedDict[int, list[MetachunkReader]] = OrderedDict()
        sealed = ENCRYPTION in row.attributes.extra
        self._small = not sealed and self._layout.at_once
        self._bytes: bytes | None = None
        self._closed = False
        self._opener = Opener(context.fleet, context.reads, row, data_key, bucket=bucket) if sealed else None

    def __repr__(self) -> str:
        return f"<Window {self._subject} open={sum(map(len, self._readers.values()))}>"

    async def read(self, start: int, into: memoryview) -> None:
        """Fills `into` with the verified bytes of the object from `start` on, which must all be there.

        Raises: ContentLost, ContentAway, SealBroken, Busy.
        """
        if self._small:
            whole = await self._whole()
            into[:] = memoryview(whole)[start : start + len(into)]
            return
        try:
            await self._read(start, into)
        except NOT_READ:
            if not await self._follow():
                raise
            await self._read(start, into)

    async def _follow(self) -> bool:
        """Whether the content was moved; then it is read where it is now."""
        now = await moved(self._context, self._subject.bucket, self.row)
        if now is None:
            return False
        await self._close_readers()
        self.row, self._layout = now, Layout.parse(now.layout)
        if self._opener is not None:
            self._opener = Opener(self._context.fleet, self._context.reads, now, self._data_key, bucket=self._subject.bucket)
        return True

    async def _read(self, start: int, into: memoryview) -> None:
        stop = start + len(into)
        if self._opener is not None:
            await self._unseal(self._opener, start, into)
            return
        if stop > (size := sum(metachunk.size for metachunk in self._layout.metachunks)):
            raise ContentLost(f"the object ends {stop - size} bytes before the end of what was read")
        for index, offset in enumerate(self._offsets):
            first, last = max(start, offset), min(stop, offset + self._layout.metachunks[index].size)
            if first < last:
                await self._read_from(index, first - offset, into[first - start : last - start])

    async def _unseal(self, opener: Opener, start: int, into: memoryview) -> None:
        filled = 0

        async def keep(piece: Buffer) -> None:
            nonlocal filled
            into[filled : filled + len(piece)] = piece
            filled += len(piece)

        await opener.read(start, start + len(into), keep)
        if filled != len(into):
            raise ContentLost(f"the object ends {len(into) - filled} bytes before the end of what was read")

    async def hold(self) -> None:
        """Opens what isn't yet, as far as the limit allows, so that the bytes stay when the object goes. Raises: as `read`."""
        if self._small:
            await self._whole()
            return
        for index in range(min(len(self._offsets), OPEN_METACHUNKS_MAX)):
            if index not in self._readers and self._layout.metachunks[index].size:
                await self._read_from(index, 0, memoryview(bytearray(1)))

    async def _whole(self) -> bytes:
        if self._bytes is None:
            self._bytes = await read_small(self._context.fleet, self._subject, self._layout)
        return self._bytes

    async def aclose(self) -> None:
        """Reads that go on or come later keep nothing open."""
        self._closed = True
        await self._close_readers()

    async def _close_readers(self) -> None:
        while self._readers:
            _, readers = self._readers.popitem()
            for reader in readers:
                await reader.aclose()

    async def _read_from(self, index: int, start: int, into: memoryview) -> None:
        layout = self._layout
        metachunk = layout.metachunks[index]
        idle = self._readers.setdefault(index, [])
        self._readers.move_to_end(index)
        reader = idle.pop() if idle else MetachunkReader(self._context.fleet, self._subject, index, layout, metachunk)
        try:
            async with self._context.reads.take(room_bytes(layout.policies[metachunk.policy])) as buffer:
                await reader.fill(start, into, buffer)
        except BaseException:
            await reader.aclose()
            raise
        if self._readers.get(index) is idle and not idle and not self._closed:
            idle.append(reader)
        else:  # another read of the same metachunk ended before, or it was closed meanwhile
            await reader.aclose()
        if len(self._readers) > OPEN_METACHUNKS_MAX:
            _, readers = self._readers.popitem(last=False)
            for each in readers:
                await each.aclose()


def _offsets(layout: Layout) -> list[int]:
    offsets, at = [], 0
    for metachunk in layout.metachunks:
        offsets.append(at)
        at += metachunk.size
    return offsets


@asynccontextmanager
async def open_window(context: Context, row: ObjectRow, *, bucket: str, data_key: bytes = b"") -> AsyncIterator[Window]:
    """While it is open, this process deletes none of the version's chunks. data_key: of one that is encrypted."""
    window = Window(context, row, bucket, data_key)
    with context.afterwork.reading(Layout.parse(row.layout)):
        try:
            yield window
        finally:
            await window.aclose()
