"""Appending: what lies on the volumes afterwards, and that the chunks alone still tell the whole object."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from meta.protocol.object import Attributes, Change, DeleteRequest, ObjectRow
from meta.protocol.upload import UploadRow
from node.errors import ChecksumMismatch, NotEnoughServices, ObjectNotFound
from rawx.chunk import ChunkRecord
from store.append import ConditionalRequestConflict, InvalidWriteOffset
from store.source import BytesSource
from store.store import Store
from tests.component.store.support import BUCKET, FailingSource, break_volumes, chunk_files, opened, put, read, until, until_none

MIB = 1 << 20


def no_sum(*_: Any) -> dict[str, str]:
    return {}


async def append(store: Store, old: ObjectRow, data: bytes) -> ObjectRow:
    return await store.append_object(BUCKET, old, BytesSource(data), combine=no_sum)


async def all_records(store: Store) -> list[ChunkRecord]:
    """Of every chunk on every volume."""
    found = []
    for volume in store.volumes.values():
        found += [(await volume.head(chunk, deep=False)).record for chunk in (await volume.list("", 10_000)).chunks]
    return [record for record in found if record.bucket == BUCKET]


def rebuilt(found: list[ChunkRecord], key: str) -> list[str]:
    """The contents of the newest version of a key in order, from records alone, as store/README.md says."""
    ends = {record.content: record for record in found if record.key == key and record.object is not None}
    by_version: dict[int, list[ChunkRecord]] = {}
    for record in ends.values():
        assert record.object is not None
        by_version.setdefault(record.object.version, []).append(record)
    newest = max(by_version)
    size = max(by_version[newest], key=lambda record: record.object.part).object.size  # type: ignore[union-attr]
    contents: list[ChunkRecord] = []
    version = newest
    while version:
        group = sorted(by_version[version], key=lambda record: record.object.part)  # type: ignore[union-attr]
        contents = group + contents
        version = group[0].object.after  # type: ignore[union-attr]
    assert sum(record.offset + record.metachunk_size for record in contents) == size
    return [record.content for record in contents]


async def check_records(store: Store, row: ObjectRow, volumes_contents: int) -> None:
    contents = rebuilt(await all_records(store), row.key)
    assert len(contents) == volumes_contents
    assert contents[-1] == row.content


@pytest.mark.parametrize("volumes", [1, 3])
async def test_chunks_alone_tell_the_whole(tmp_path: Path, volumes: int) -> None:
    """At once after each append, without any record of older chunks being written again, and after such a sync too."""
    rng = random.Random(volumes)
    async with opened(tmp_path, volumes) as store:
        whole = rng.randbytes(MIB)
        await put(store, "k", whole)
        row = await store.get_row(BUCKET, "k")
        files = chunk_files(tmp_path)
        stamps = [file.stat().st_ctime_ns for file in files]
        for number, size in enumerate((10, 2 * MIB, 0, 100), 2):
            piece = rng.randbytes(size)
            await append(store, row, piece)
            whole += piece
            row = await store.get_row(BUCKET, "k")
            assert await read(store, row) == whole
            assert not [each for each in await store.meta.container(BUCKET).records_to_sync(10) if each.row is not None]
            await check_records(store, row, number)
        assert [file.stat().st_ctime_ns for file in files] == stamps, "what was there is left alone"
        row = await store.meta.container(BUCKET).change(Change("k", tags={"a": "b"}))
    async with opened(tmp_path, volumes, workers=True) as store:
        await until_none(lambda: store.meta.container(BUCKET).records_to_sync(10))
        await check_records(store, row, 5)
        ends = {record.content: record.object for record in await all_records(store) if record.object}
        assert sorted((each.part, each.version, each.after, each.attributes["tags"]) for each in ends.values()) == [
            (part, row.version, 0, {"a": "b"}) for part in range(1, 6)
        ]


async def test_parts_of_an_upload_whose_records_were_not_synced_are_not_forgotten(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        upload = await store.create_upload(BUCKET, UploadRow(os.urandom(16).hex(), "k", owner="owner", attributes=Attributes()))
        parts = []
        for number, data in ((1, bytes(5 * MIB)), (2, b"end")):
            part = await store.put_part(BUCKET, "k", upload, number, BytesSource(data))
            parts.append((number, part.etag, {}))
        row = await store.complete_upload(BUCKET, "k", upload.upload, parts)
        await append(store, await store.get_row(BUCKET, "k"), b"more")
    async with opened(tmp_path, 1, workers=True) as store:
        await until_none(lambda: store.meta.container(BUCKET).records_to_sync(10))
        row = await store.get_row(BUCKET, "k")
        assert (await read(store, row))[-7:] == b"endmore"
        await check_records(store, row, 3)


async def test_a_renamed_object_grows_and_its_contents_stay_known(tmp_path: Path) -> None:
    async with opened(tmp_path, 1, workers=True) as store:
        first = await put(store, "a", b"one")
        await store.rename(BUCKET, "a", "b")
        row = await append(store, await store.get_row(BUCKET, "b"), b"two")
        container = store.meta.container(BUCKET)
        assert await container.knows("a", first.content)
        assert await container.knows("a", row.content)
        await until_none(lambda: container.records_to_sync(10))
        await check_records(store, await store.get_row(BUCKET, "b"), 2)
        await store.rename(BUCKET, "b", "c")
        await until_none(lambda: container.records_to_sync(10))
        assert await read(store, await store.get_row(BUCKET, "c")) == b"onetwo"


@pytest.mark.parametrize("versioned", [False, True])
async def test_whatever_fails_leaves_the_object_and_no_chunk(tmp_path: Path, versioned: bool) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        container = store.meta.container(BUCKET)
        if versioned:
            await container.change_settings(versioning="Enabled")
        old = await put(store, "k", b"old" * 100_000)
        files = chunk_files(tmp_path)
        with pytest.raises(ChecksumMismatch):
            await store.append_object(BUCKET, old, FailingSource(3 * MIB, 2 * MIB, ChecksumMismatch("it differs")), combine=no_sum)
        await until(lambda: chunk_files(tmp_path) == files)
        other = await put(store, "k", b"new" * 100_000)
        now = chunk_files(tmp_path) if versioned else None
        with pytest.raises(ConditionalRequestConflict):
            await append(store, old, b"late")
        longer = await put(store, "k", b"longer" * 100_000)
        with pytest.raises(InvalidWriteOffset):
            await append(store, other, b"late")
        await container.delete_many([])
        break_volumes(store, 3, ["put", "create"])
        with pytest.raises(NotEnoughServices):
            await append(store, longer, b"nowhere")
        assert await read(store, await store.get_row(BUCKET, "k")) == b"longer" * 100_000
        await until(lambda: len(chunk_files(tmp_path)) == (9 if versioned else 3))
        assert now is None or set(now) <= set(chunk_files(tmp_path))


async def test_an_object_that_is_gone_is_not_appended_to(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        old = await put(store, "k", b"old")
        await store.delete_object(BUCKET, DeleteRequest("k"))
        with pytest.raises(InvalidWriteOffset):
            await append(store, old, b"late")
        with pytest.raises(ObjectNotFound):
            await store.get_row(BUCKET, "k")


async def test_a_new_version_is_a_copy_and_what_was_appended(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        container = store.meta.container(BUCKET)
        await container.change_settings(versioning="Enabled")
        old = await put(store, "k", b"old")
        row = await append(store, await append(store, old, b"one"), b"two")
        assert [await read(store, await store.get_row(BUCKET, "k", version)) for version in (old.version, row.version)] == [
            b"old",
            b"oldonetwo",
        ]
        await check_records(store, row, 2)
        assert row.attributes.parts == (3, 3, 3)
