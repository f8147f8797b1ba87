from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest

from meta.protocol.object import Attributes
from meta.protocol.upload import UploadRow
from node.errors import UploadNotFound
from store.layout import Layout
from store.multipart import InvalidPart
from store.source import BytesSource
from store.store import Store
from tests.component.store.support import BUCKET, chunk_files, opened, put, read, records, until, until_none

MIB = 1 << 20


async def begin(store: Store, key: str = "k") -> UploadRow:
    row = UploadRow(os.urandom(16).hex(), key, owner="owner", attributes=Attributes(type="text/plain"), checksum_algorithm="crc32")
    return await store.create_upload(BUCKET, row)


@pytest.mark.slow
@pytest.mark.parametrize("volumes", [1, 9])
async def test_parts_become_one_object_without_moving(tmp_path: Path, volumes: int) -> None:
    rng = random.Random(volumes)
    async with opened(tmp_path, volumes, workers=True) as store:
        upload = await begin(store)
        data = {3: rng.randbytes(5 * MIB), 7: rng.randbytes(6 * MIB + 1), 9: rng.randbytes(1000)}
        rows = {}
        for number in (9, 3, 7):
            rows[number] = await store.put_part(BUCKET, "k", upload, number, BytesSource(data[number], frozenset({"crc32"})))
        before = chunk_files(tmp_path)
        parts = [(number, rows[number].etag, {}) for number in sorted(rows)]
        row = await store.complete_upload(BUCKET, "k", upload.upload, parts)
        assert chunk_files(tmp_path) == before
        whole = b"".join(data[number] for number in sorted(data))
        assert await read(store, row) == whole
        assert await read(store, row, 5 * MIB - 3, 11 * MIB + 50) == whole[5 * MIB - 3 : 11 * MIB + 50]
        md5s = b"".join(hashlib.md5(data[number]).digest() for number in sorted(data))
        assert row.etag == f"{hashlib.md5(md5s).hexdigest()}-3"
        assert row.attributes.parts == (5 * MIB, 6 * MIB + 1, 1000)
        assert await store.complete_upload(BUCKET, "k", upload.upload, parts) == await store.get_row(BUCKET, "k")
        await until_none(lambda: store.meta.container(BUCKET).records_to_sync(10))
        ends = [record for record in await records(store, row) if record.metachunks]
        assert {(record.object.part, record.object.parts) for record in ends if record.object} == {(1, 3), (2, 3), (3, 3)}
        assert all(record.upload is None and record.object is not None and record.object.version == row.version for record in ends)
        assert not any("parts" in record.object.attributes for record in ends if record.object), "the square of the parts"


async def test_replaced_unlisted_and_aborted_parts_go(tmp_path: Path) -> None:
    async with opened(tmp_path, 1, workers=True) as store:
        upload = await begin(store)
        await store.put_part(BUCKET, "k", upload, 1, BytesSource(b"old"))
        first = await store.put_part(BUCKET, "k", upload, 1, BytesSource(b"new"))
        await store.put_part(BUCKET, "k", upload, 2, BytesSource(b"unlisted"))
        await store.complete_upload(BUCKET, "k", upload.upload, [(1, first.etag, {})])
        await until(lambda: len(chunk_files(tmp_path)) == 1)
        assert await store.read_whole(await store.get_row(BUCKET, "k")) == b"new"
        other = await begin(store, "other")
        await store.put_part(BUCKET, "other", other, 1, BytesSource(b"part"))
        await store.abort_upload(BUCKET, "other", other.upload)
        await until(lambda: len(chunk_files(tmp_path)) == 1)


async def test_a_part_of_no_upload_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(UploadNotFound):
            await store.put_part(BUCKET, "k", UploadRow("0" * 32, "k"), 1, BytesSource(b"x"))
        assert chunk_files(tmp_path) == []
        with pytest.raises(UploadNotFound):
            await store.complete_upload(BUCKET, "k", "0" * 32, [(1, "x", {})])


async def test_a_completion_names_its_parts_rightly_or_fails(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        upload = await begin(store)
        await store.put_part(BUCKET, "k", upload, 1, BytesSource(b"x"))
        with pytest.raises(InvalidPart):
            await store.complete_upload(BUCKET, "k", upload.upload, [(1, "0" * 32, {})])
        assert len((await store.meta.container(BUCKET).list_parts("k", upload.upload)).parts) == 1


async def test_a_part_can_be_copied_from_an_object(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(2 * MIB)
    async with opened(tmp_path, 9) as store:
        source = await put(store, "source", data)
        upload = await begin(store)
        part = await store.copy_part(source, 1000, MIB + 1000, BUCKET, "k", upload, 1)
        assert part.etag == hashlib.md5(data[1000 : MIB + 1000]).hexdigest()
        assert set(part.checksums) == {"crc32"}
        row = await store.complete_upload(BUCKET, "k", upload.upload, [(1, part.etag, {})])
        assert await read(store, row) == data[1000 : MIB + 1000]


@pytest.mark.parametrize("size", [0, 1000, 2_000_000])
async def test_a_copy_has_chunks_of_its_own(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    async with opened(tmp_path, 9) as store:
        source = await put(store, "source", data)
        copy = await store.copy_object(
            source, BUCKET, BUCKET, "copy", attributes=Attributes(type="x/y"), owner="me", storage_class="STANDARD"
        )
        assert (copy.etag, copy.size, copy.policy) == (source.etag, size, source.policy)
        mine, theirs = set(Layout.parse(copy.layout).places()), set(Layout.parse(source.layout).places())
        assert len(mine) == len(theirs)
        assert not mine & theirs
        for volume, chunk in theirs:
            await store.volumes[volume].delete([chunk])
        assert await read(store, copy) == data
        for record in await records(store, copy):
            assert (record.key, record.content) == ("copy", copy.content)
            assert record.object is not None
            assert record.object.type == "x/y"


async def test_a_copy_of_a_damaged_object_is_whole(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(2_000_000)
    async with opened(tmp_path, 9) as store:
        source = await put(store, "source", data)
        for volume, chunk in list(Layout.parse(source.layout).places())[:3]:
            await store.volumes[volume].delete([chunk])
        copy = await store.copy_object(source, BUCKET, BUCKET, "copy", attributes=Attributes(), owner="me", storage_class="STANDARD")
        assert copy.etag == source.etag
        assert await read(store, copy) == data
        assert len(list(Layout.parse(copy.layout).places())) == 9
