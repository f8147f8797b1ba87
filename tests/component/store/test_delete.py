from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio

from meta.protocol.bucket import BucketSettings
from meta.protocol.object import DeleteRequest
from node.errors import ObjectNotFound
from store import workers
from store.layout import Layout
from store.store import Store
from tests.component.store.support import BUCKET, break_volumes, chunk_files, opened, put, read, records, until, until_none


async def test_a_deleted_object_takes_its_chunks_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path, 9, workers=True) as store:
        await put(store, "small", b"data")
        small = len(chunk_files(tmp_path))
        await put(store, "large", bytes(2_000_000))
        assert len(chunk_files(tmp_path)) == small + 9
        await store.delete_object(BUCKET, DeleteRequest("small"))
        with pytest.raises(ObjectNotFound):
            await store.get_row(BUCKET, "small")
        await until(lambda: len(chunk_files(tmp_path)) == 9)
        await store.delete_objects(BUCKET, [DeleteRequest("large"), DeleteRequest("never")])
        await until(lambda: chunk_files(tmp_path) == [])
        await until_none(store.meta.dirty_containers)


async def test_an_overwritten_object_takes_its_chunks_with_it(tmp_path: Path) -> None:
    async with opened(tmp_path, 1, workers=True) as store:
        for number in range(5):
            await put(store, "k", bytes([number]))
        await until(lambda: len(chunk_files(tmp_path)) == 1)
        assert await store.read_whole(await store.get_row(BUCKET, "k")) == b"\x04"


async def test_what_could_not_be_deleted_is_deleted_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SCAN_PERIOD_S", 0.1)
    async with opened(tmp_path, 3, workers=True) as store:
        await put(store, "k", b"data")
        (shim,) = break_volumes(store, 1, ["delete"])
        await store.delete_object(BUCKET, DeleteRequest("k"))
        await until(lambda: len(chunk_files(tmp_path)) == 1 and shim.calls > 2)
        shim.broken.clear()
        await until(lambda: chunk_files(tmp_path) == [])


async def test_a_volume_that_is_away_holds_up_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "BATCH_CONTENTS", 2)
    monkeypatch.setattr(workers, "SYNC_ROWS", 2)
    async with opened(tmp_path, 2, policy="SINGLE") as store:
        volumes = list(store.volumes)
        rows = {f"k{number}": await put(store, f"k{number}", b"data") for number in range(24)}
        away = {key for key, row in rows.items() if Layout.parse(row.layout).volumes == (volumes[0],)}
        for key in sorted(away) + sorted(rows.keys() - away):  # those that can't be done come first
            await store.rename(BUCKET, key, f"new-{key}")
        break_volumes(store, 1, ["delete", "head"])
        container = store.meta.container(BUCKET)
        await workers.RecordSync(store._context).work()
        assert len(await container.records_to_sync(100)) == len(away)
        for key in sorted(away) + sorted(rows.keys() - away):
            await store.delete_object(BUCKET, DeleteRequest(f"new-{key}"))
        store._context.afterwork.dropped.clear()
        await workers.Deleter(store._context).work()
        assert len(await container.deletions(100)) == len(away) == len(chunk_files(tmp_path))


async def test_a_damaged_base_holds_up_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        await store.meta.create_bucket(BucketSettings("a-damaged-one", "account", "owner", 1))
        await put(store, "k", b"data")
        await store.delete_object(BUCKET, DeleteRequest("k"))
        store._context.afterwork.dropped.clear()
        damaged = store.meta.opened("a-damaged-one")  # type: ignore[attr-defined]
        damaged.forget_reader()
        damaged.path.write_bytes(b"x" * 10_000)
        for suffix in ("-wal", "-shm"):
            damaged.path.with_name(damaged.path.name + suffix).unlink(missing_ok=True)
        assert await store.meta.dirty_containers() == [BUCKET]
        await workers.Deleter(store._context).work()
        assert chunk_files(tmp_path) == []


async def test_deletions_survive_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, 3) as store:
        await put(store, "k", b"data")
        break_volumes(store, 3, ["delete"])
        await store.delete_object(BUCKET, DeleteRequest("k"))
    assert len(chunk_files(tmp_path)) == 3
    async with opened(tmp_path, 3, workers=True):
        await until(lambda: chunk_files(tmp_path) == [])


async def test_who_reads_a_deleted_object_gets_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SCAN_PERIOD_S", 0.05)
    async with opened(tmp_path, 1, workers=True) as store:
        data = random.Random(7).randbytes((64 << 20) + 500_000)  # two metachunks: the second is not open when the first is sent
        row = await put(store, "k", data)
        got = bytearray()

        async def sink(piece: bytes | bytearray | memoryview) -> None:
            if not got:
                await store.delete_object(BUCKET, DeleteRequest("k"))
                await trio.sleep(0.2)
                assert len(chunk_files(tmp_path)) == 2
            got.extend(piece)

        await store.read(row, 0, row.size, sink)
        assert got == data
        await until(lambda: chunk_files(tmp_path) == [])


async def versioned(store: Store) -> None:
    await store.meta.create_bucket(BucketSettings("versions", "account", "owner", 1, versioning="Enabled"))


async def test_a_rename_reaches_the_records(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        row = await put(store, "old", bytes(500_000))
        await store.rename(BUCKET, "old", "new")
        renamed = await store.get_row(BUCKET, "new")
        assert await read(store, renamed) == bytes(500_000)
        await until_none(lambda: store.meta.container(BUCKET).records_to_sync(10))
        for record in await records(store, renamed):
            assert record.key == "new"
            assert record.object is not None
            assert record.object.version == renamed.version
            assert record.content == row.content


async def test_renaming_a_prefix_moves_no_chunk(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        for number in range(20):
            await put(store, f"a/{number}", b"%d" % number)
        before = chunk_files(tmp_path)
        assert await store.rename_prefix(BUCKET, "a/", "b/c/") == 20
        assert chunk_files(tmp_path) == before
        for number in range(20):
            assert await store.read_whole(await store.get_row(BUCKET, f"b/c/{number}")) == b"%d" % number


async def unrecorded(store: Store) -> list[str]:
    row = await store.get_row("versions", "k")
    return [] if row.layout else [row.key]


async def test_a_delete_marker_gets_a_chunk_with_its_record(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        await versioned(store)
        result = await store.delete_object("versions", DeleteRequest("k"))
        assert result.made_marker
        await until(lambda: len(chunk_files(tmp_path)) == 3)
        await until_none(lambda: unrecorded(store))
        row = await store.get_row("versions", "k")
        found = await records(store, row)
        assert len(found) == 3
        for record in found:
            assert record.object is not None
            assert (record.object.marker, record.object.version, record.size) == (True, row.version, 0)
        await store.delete_object("versions", DeleteRequest("k", row.version))
        await until(lambda: chunk_files(tmp_path) == [])
