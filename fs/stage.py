"""The begin of a file that is too large for the spool: stored already, as parts of an upload that nobody sees until the file is saved.

Theory of operation. Only what was written in order from the file's start is staged, a part at a time, when the spool has no room left. To
who has the file open it is as if that much were stored. Saving writes again the parts in which bytes were changed since, adds the rest as
last parts, and completes the upload: one transaction, and the object is there. A crash leaves it to the next mount (fs/recovery.py).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol

from fs.connection import Describe, MakeSource
from meta.protocol.object import Attributes, ObjectRow
from meta.protocol.upload import PARTS_MAX, PartRow, UploadRow
from store.window import Window

PART_BYTES = 64 << 20
"""Of the first parts: one metachunk."""
PARTS_ALIKE = 500
"""So many parts of a size follow each other, then each is PART_BYTES larger: 10,000 parts are enough for the largest file."""
OPEN_PARTS_MAX = 4
"""Parts that stay open for reading."""


class Uploads(Protocol):
    """What a stage needs of a store. Raises: as fs.connection.Connection."""

    async def begin(self, bucket: str, key: str, attributes: Attributes) -> UploadRow: ...

    async def part(self, bucket: str, upload: UploadRow, number: int, source: MakeSource) -> PartRow:
        """Durable at return; replaces an earlier one of the number. Raises: UploadNotFound, VolumeFull."""

    async def parts(self, bucket: str, key: str, upload: str) -> tuple[UploadRow, Sequence[PartRow]]:
        """Raises: UploadNotFound."""

    async def window(self, bucket: str, upload: UploadRow, part: PartRow) -> AbstractAsyncContextManager[Window]: ...

    async def complete(self, bucket: str, upload: UploadRow, parts: Sequence[PartRow], describe: Describe) -> ObjectRow:
        """The object, visible. Raises: QuotaExceeded, Locked, UploadNotFound."""

    async def abort(self, bucket: str, upload: UploadRow) -> None:
        """Raises: UploadNotFound."""


def part_bytes(number: int) -> int:
    """Of a part, numbered from 1, that is full."""
    assert 1 <= number <= PARTS_MAX
    return PART_BYTES * (1 + (number - 1) // PARTS_ALIKE)


class Stage:
    """Of one file, in one upload."""

    def __init__(self, uploads: Uploads, bucket: str, upload: UploadRow, parts: Sequence[PartRow] = ()) -> None:
        self.bucket, self.upload = bucket, upload
        self.parts = list(parts)
        self._uploads = uploads
        self._open: OrderedDict[int, tuple[AsyncExitStack, Window]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Stage {self.upload.upload} parts={len(self.parts)} bytes={self.stop}>"

    @property
    def stop(self) -> int:
        """Where what is staged ends."""
        return sum(part.size for part in self.parts)

    @property
    def next_bytes(self) -> int:
        """What the next part has when it is full."""
        return part_bytes(len(self.parts) + 1)

    async def add(self, source: MakeSource) -> None:
        self.parts.append(await self._uploads.part(self.bucket, self.upload, len(self.parts) + 1, source))

    async def read(self, start: int, into: memoryview) -> None:
        """Staged bytes. Raises: ContentLost, ContentAway, SealBroken, Busy."""
        begin = 0
        for index, part in enumerate(self.parts):
            first, last = max(start, begin), min(start + len(into), begin + part.size)
            if first < last:
                await (await self._window(index)).read(first - begin, into[first - start : last - start])
            begin += part.size

    async def _window(self, index: int) -> Window:
        if index not in self._open:
            async with AsyncExitStack() as stack:
                context = await self._uploads.window(self.bucket, self.upload, self.parts[index])
                window = await stack.enter_async_context(context)
                self._open[index] = stack.pop_all(), window
        self._open.move_to_end(index)
        window = self._open[index][1]
        if len(self._open) > OPEN_PARTS_MAX:
            _, (oldest, _) = self._open.popitem(last=False)
            await oldest.aclose()
        return window

    async def complete(
        self, size: int, is_same: Callable[[int, int], bool], source: Callable[[int, int], MakeSource], describe: Describe
    ) -> ObjectRow:
        """The file's first `size` bytes as the object. is_same: whether staged bytes are still the file's; source: the file's own bytes.

        Raises: as Uploads; what the sources raise.
        """
        parts: list[PartRow] = []
        at = 0
        while at < size:
            number = len(parts) + 1
            staged = self.parts[number - 1].size if number <= len(self.parts) else 0
            stop = min(at + (staged or part_bytes(number)), size)
            if stop - at == staged and is_same(at, stop):
                parts.append(self.parts[number - 1])
            else:
                parts.append(await self._uploads.part(self.bucket, self.upload, number, source(at, stop)))
                await self._replaced(parts[-1])
            at = stop
        return await self._uploads.complete(self.bucket, self.upload, parts, describe)

    async def _replaced(self, part: PartRow) -> None:
        """One that was staged was written again; one that ends earlier now is the last."""
        index = part.part - 1
        if index >= len(self.parts):
            return
        if part.size != self.parts[index].size:
            del self.parts[index + 1 :]
        self.parts[index] = part
        if index in self._open:
            await self._open.pop(index)[0].aclose()

    async def abort(self) -> None:
        await self._uploads.abort(self.bucket, self.upload)

    async def aclose(self) -> None:
        while self._open:
            _, (stack, _) = self._open.popitem()
            await stack.aclose()
