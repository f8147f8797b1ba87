"""Small objects that are put together are what puts of their own would have made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from meta.protocol.object import Attributes, ObjectRow
from node.errors import BucketNotFound, NotEnoughServices
from store.layout import Layout
from store.source import BytesSource
from store.store import Store
from store.together import TOGETHER_MAX, Small
from tests.component.store.support import BUCKET, break_volumes, chunk_files, opened, put, read

ATTRIBUTES = Attributes(type="text/plain", metadata={"mode": "33188"})
SIZES = (0, 1, 4096, 131_072)


async def told(store: Store, row: ObjectRow) -> object:
    """What its first chunk says of it, but for what no two objects share."""
    volume, chunk = next(Layout.parse(row.layout).places())
    record = (await store.volumes[volume].head(chunk, deep=True)).record
    assert record.object is not None
    assert (record.content, record.object.version) == (row.content, row.version)
    return record.key, record.size, record.checksum, record.metachunks, record.object.etag, record.object.type, record.object.attributes


@pytest.mark.parametrize("volumes", [1, 3])
async def test_each_is_what_a_put_of_its_own_makes_of_it(scratch: Path, volumes: int) -> None:
    async with opened(scratch, volumes) as store:
        alone = [
            await store.put_object(BUCKET, f"k{size}", BytesSource(bytes(size)), attributes=ATTRIBUTES, owner="owner") for size in SIZES
        ]
        told_alone = [await told(store, row) for row in alone]
        found = await store.put_together(BUCKET, [Small(f"k{size}", bytes(size), ATTRIBUTES) for size in SIZES], owner="owner")
        for size, one, other, told_before in zip(SIZES, alone, found, told_alone, strict=True):
            assert isinstance(other, ObjectRow)
            assert replace(await store.get_row(BUCKET, f"k{size}"), seq=other.seq) == other
            assert (other.size, other.etag, other.policy, other.attributes) == (one.size, one.etag, one.policy, one.attributes)
            assert other.version > one.version
            assert await read(store, other) == bytes(size)
            assert await told(store, other) == told_before


async def test_one_that_is_refused_leaves_nothing_and_the_others_are_stored(scratch: Path) -> None:
    async with opened(scratch) as store:
        smalls = [Small(key, b"data", ATTRIBUTES) for key in ("a", "k" * 2000, "b")]
        first, refused, last = await store.put_together(BUCKET, smalls, owner="owner")
        assert isinstance(first, ObjectRow)
        assert isinstance(last, ObjectRow)
        assert isinstance(refused, Exception)
        assert len(chunk_files(scratch)) == 2


async def test_those_whose_volume_fails_are_left_to_be_put_alone(scratch: Path) -> None:
    async with opened(scratch, 4) as store:
        break_volumes(store, 1, ["put"])
        smalls = [Small(f"k{number}", b"data", ATTRIBUTES) for number in range(TOGETHER_MAX)]
        found = await store.put_together(BUCKET, smalls, owner="owner")
        stored = [row for row in found if isinstance(row, ObjectRow)]
        assert all(isinstance(row, ObjectRow | NotEnoughServices) for row in found)
        assert len(chunk_files(scratch)) == sum(len(list(Layout.parse(row.layout).places())) for row in stored)
        for small in smalls:
            await put(store, small.key, small.data)


async def test_a_bucket_that_is_not_there_stores_nothing(scratch: Path) -> None:
    async with opened(scratch) as store:
        with pytest.raises(BucketNotFound):
            await store.put_together("another", [Small("a", b"data", ATTRIBUTES)], owner="owner")
        assert chunk_files(scratch) == []
