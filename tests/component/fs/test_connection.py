"""What a mount asks of a store, on a real one."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from fs.attribute import Defaults
from fs.connection import Quota, Rules, StoreConnection
from fs.shared import Shared
from fs.tree import Tree
from meta.protocol.identities import Account
from meta.protocol.object import Attributes, DeleteRequest
from node.errors import ContentLost
from store.source import BytesSource
from tests.component.store.support import BUCKET, chunk_files, opened, put, read


async def test_a_late_removal_leaves_what_another_client_put_there_meanwhile(scratch: Path) -> None:
    async with opened(scratch) as store:
        connection = StoreConnection(store, Rules(lambda _: None, lambda _: True), cast(Account, None))
        seen = {key: (await put(store, key, b"seen")).content for key in ("same", "replaced", "gone")}
        await put(store, "replaced", b"by another")
        await store.delete_object(BUCKET, DeleteRequest("gone"))
        assert await connection.remove_many(BUCKET, seen) == {}
        assert [each.key for each in (await connection.browse(BUCKET, "")).nodes] == ["replaced"]
        assert await read(store, await store.get_row(BUCKET, "replaced")) == b"by another"


async def test_a_quota_tells_what_all_versions_and_unfinished_uploads_take(scratch: Path) -> None:
    async with opened(scratch) as store:
        connection = StoreConnection(store, Rules(lambda _: None, lambda _: True), cast(Account, None))
        assert await connection.quota(BUCKET) is None
        await store.meta.create_bucket(replace(await connection.settings(BUCKET), bucket="narrow", quota_bytes=1_000))
        await connection.put("narrow", "a", lambda: BytesSource(bytes(300)), Attributes())
        assert await connection.quota("narrow") == Quota(1_000, 300)
        space = await Tree(cast(Shared, SimpleNamespace(connection=connection)), Defaults(), bucket="narrow").space()
        assert (space.total, space.free) == (1_000, 700)


async def test_a_read_that_comes_after_the_window_was_closed_leaves_nothing_open(scratch: Path) -> None:
    async with opened(scratch) as store:
        row = await put(store, "a", bytes(3 << 20))
        async with store.window(row, bucket=BUCKET) as window:
            await window.read(0, memoryview(bytearray(1)))
            assert "open=1" in repr(window)
        await window.read(2 << 20, memoryview(bytearray(1)))
        assert "open=0" in repr(window)


@pytest.mark.parametrize("volumes", [1, 2, 3])
async def test_a_window_reads_any_range_and_what_one_chunk_lost_from_the_others(scratch: Path, volumes: int) -> None:
    """One copy, two, and a code."""
    data = random.Random(7).randbytes((2 << 20) + 12_345)
    async with opened(scratch, volumes) as store:
        row = await put(store, "a", data)
        if volumes > 1:
            with chunk_files(scratch)[0].open("r+b") as file:
                file.seek(600_000)
                file.write(b"damage")
        async with store.window(row, bucket=BUCKET) as window:
            for start, stop in (
                (1, 2),
                (262_143, 262_145),
                (300_000, 1_900_000),
                (0, len(data)),
                (262_144, 1 << 20),
                (2_000_000, len(data)),
            ):
                into = memoryview(bytearray(stop - start))
                await window.read(start, into)
                assert into == data[start:stop]
            with pytest.raises(ContentLost):
                await window.read(len(data) - 5, memoryview(bytearray(6)))
