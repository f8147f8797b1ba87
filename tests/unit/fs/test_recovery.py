"""What a crash left in the spool is stored over the version that it was written over, and nothing else of that changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import trio

from fs.attribute import Defaults, file_stat
from fs.connection import Connection
from fs.file import File
from fs.inode import ROOT, Inode
from fs.recovery import recover
from fs.shared import Shared
from fs.spool import MEMORY_BYTES_FILE_MAX, SpoolFolder
from meta.protocol.object import Attributes, ObjectRow
from node.errors import ObjectNotFound
from store.source import Source

STORED = bytes(range(1, 251)) * 2_000
"""500,000 bytes, none of them zero."""


class Store:
    """Objects of one bucket in memory."""

    def __init__(self) -> None:
        self.bytes: dict[str, bytes] = {}
        self.rows: dict[str, ObjectRow] = {}

    def keep(self, key: str, data: bytes, attributes: Attributes | None = None) -> ObjectRow:
        row = ObjectRow(key, size=len(data), content=f"content {len(self.bytes)} {key} {data[:9]!r}", attributes=attributes or Attributes())
        self.rows[key], self.bytes[row.content] = row, data
        return row

    def data(self, key: str) -> bytes:
        return self.bytes[self.rows[key].content]

    async def row(self, bucket: str, key: str) -> ObjectRow:
        if key not in self.rows:
            raise ObjectNotFound(key)
        return self.rows[key]

    async def window(self, bucket: str, row: ObjectRow) -> AbstractAsyncContextManager[Any]:
        data = self.bytes[row.content]

        class Window:
            async def read(self, start: int, into: memoryview) -> None:
                await trio.lowlevel.checkpoint()
                into[:] = data[start : start + len(into)]

        @asynccontextmanager
        async def opened() -> Any:
            yield Window()

        return opened()

    async def put(self, bucket: str, key: str, source: Callable[[], Source], attributes: Attributes, **_: object) -> ObjectRow:
        made = source()
        data = bytearray(made.length or 0)
        await made.fill(memoryview(data))
        return self.keep(key, bytes(data), attributes)


def inode_of(key: str) -> Inode:
    root = Inode(ROOT, None, b"", "", folder=True)
    root.bucket = "b"
    return Inode(2, root, key.encode(), key, folder=False)


def file_of(shared: Shared, store: Store, key: str) -> File:
    row = store.rows[key]
    return File(shared, inode_of(key), row, file_stat(row, Defaults()))


async def test_bytes_between_two_writes_stay_as_they_are_stored(tmp_path: Path, nursery: trio.Nursery) -> None:
    store = Store()
    store.keep("k", STORED)
    spools = SpoolFolder(tmp_path)
    assert await spools.open()
    shared = Shared(cast(Connection, store), spools, nursery)
    file = file_of(shared, store, "k")
    await file.write(100_000, b"in memory")
    await file.truncate(200_000)
    await file.write(MEMORY_BYTES_FILE_MAX + 5, b"on disk")
    expected = bytes(await file.read(0, 1 << 20))
    shutil.copytree(tmp_path, tmp_path / "crashed")
    left = SpoolFolder(tmp_path / "crashed")
    assert await left.open()
    assert await recover(Shared(cast(Connection, store), left, nursery), Defaults()) == 1
    assert store.data("k") == expected
    assert expected == STORED[:100_000] + b"in memory" + STORED[100_009:200_000] + bytes(MEMORY_BYTES_FILE_MAX + 5 - 200_000) + b"on disk"
    left.close()
    await file.aclose()
    spools.close()
