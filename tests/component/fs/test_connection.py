"""What a mount asks of a store, on a real one."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from fs.connection import Rules, StoreConnection
from meta.protocol.identities import Account
from meta.protocol.object import DeleteRequest
from tests.component.store.support import BUCKET, opened, put, read


async def test_a_late_removal_leaves_what_another_client_put_there_meanwhile(scratch: Path) -> None:
    async with opened(scratch) as store:
        connection = StoreConnection(store, Rules(lambda _: None, lambda _: True), cast(Account, None))
        seen = {key: (await put(store, key, b"seen")).content for key in ("same", "replaced", "gone")}
        await put(store, "replaced", b"by another")
        await store.delete_object(BUCKET, DeleteRequest("gone"))
        assert await connection.remove_many(BUCKET, seen) == {}
        assert [each.key for each in (await connection.browse(BUCKET, "")).nodes] == ["replaced"]
        assert await read(store, await store.get_row(BUCKET, "replaced")) == b"by another"


async def test_a_read_that_comes_after_the_window_was_closed_leaves_nothing_open(scratch: Path) -> None:
    async with opened(scratch) as store:
        row = await put(store, "a", bytes(3 << 20))
        async with store.window(row, bucket=BUCKET) as window:
            await window.read(0, memoryview(bytearray(1)))
            assert "open=1" in repr(window)
        await window.read(2 << 20, memoryview(bytearray(1)))
        assert "open=0" in repr(window)
