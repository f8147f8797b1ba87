"""An open file while several work with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import product
from mimetypes import guess_type
from pathlib import Path
from typing import Any, cast

import trio

from fs.connection import Connection
from fs.file import TYPE_DEFAULT, File, type_of
from fs.shared import Shared
from fs.spool import SpoolFolder
from meta.protocol.object import ObjectRow
from node.errors import ContentLost
from tests.unit.fs.test_recovery import STORED, Store, file_of


class Slow(Store):
    """Its reads wait; those of an object that was replaced meanwhile are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = trio.Event(), trio.Event()

    async def window(self, bucket: str, row: ObjectRow) -> AbstractAsyncContextManager[Any]:
        class Window:
            async def read(_, start: int, into: memoryview) -> None:
                data = self.bytes[row.content]
                self.begun.set()
                await self.go.wait()
                if self.rows[row.key] is not row:
                    raise ContentLost("its chunks are gone")
                into[:] = data[start : start + len(into)]

        @asynccontextmanager
        async def opened() -> AsyncIterator[Window]:
            yield Window()

        return opened()


async def test_a_read_goes_on_while_the_file_is_saved_or_cut_under_it(tmp_path: Path, nursery: trio.Nursery) -> None:
    spools = SpoolFolder(tmp_path)
    assert await spools.open()
    now = bytearray(STORED)
    for start in (0, 1_000, 2_000):
        now[start : start + 3] = b"new"
    for cut in (False, True):
        store = Slow()
        store.keep("k", STORED)
        file = file_of(Shared(cast(Connection, store), spools, nursery), store, "k")
        for start in (0, 1_000, 2_000):
            await file.write(start, b"new")
        found: list[bytes] = []
        async with trio.open_nursery() as both:
            both.start_soon(read_into, file, found)
            await store.begun.wait()
            if cut:
                await file.truncate(1_500)
            else:
                await file.stored(store.keep("k", bytes(now)))
            store.go.set()
        assert found == [now[: 1_500 if cut else 3_000]]
        await file.aclose()
    spools.close()


async def read_into(file: File, found: list[bytes]) -> None:
    found.append(bytes(await file.read(0, 3_000)))


def test_a_files_type_is_what_its_whole_name_tells() -> None:
    for parts in product(("", "a", ".", "a b"), ("", ".tar", ".html", ".1"), ("", ".gz", ".TGZ", ".json", ".")):
        name = "".join(parts)
        assert type_of(name) == (guess_type(name)[0] or TYPE_DEFAULT), name
