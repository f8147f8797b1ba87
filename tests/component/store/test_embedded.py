from __future__ import annotations

import os
import random
import shutil
import stat
import sys
from pathlib import Path

import pytest
import trio

from meta.protocol.object import Attributes
from node.errors import ConfigError, ObjectNotFound, VolumeSick
from rawx.chunk import ChunkRecord, chunk_checksum, new_chunk_id, unit_digests
from store import embedded, slot, workers
from store.embedded import StoreOptions, open_store
from store.settings import Settings, load_settings, save_settings
from store.source import BytesSource
from store.store import Store
from tests.component.store.support import BUCKET, chunk_files, opened, put, read, until, until_none


async def test_a_store_is_found_again(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as store:
        await put(store, "k", b"data")
    async with opened(tmp_path, 1) as store:  # fewer asked for than there are: all are opened
        assert len(store.volumes) == 3
        assert await store.read_whole(await store.get_row(BUCKET, "k")) == b"data"


async def test_settings_and_key_are_the_owners_alone(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    for name in ("store.json", "secret.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    settings = load_settings(tmp_path)
    assert settings is not None
    assert [each.path for each in settings.volumes] == ["volumes/1"]


async def test_a_store_may_move(tmp_path: Path) -> None:
    async with opened(tmp_path / "old", 3) as store:
        row = await put(store, "k", bytes(500_000))
    os.rename(tmp_path / "old", tmp_path / "new")
    async with opened(tmp_path / "new", 3) as store:
        assert await read(store, row) == bytes(500_000)


async def test_several_directories_and_more_of_them_later(tmp_path: Path) -> None:
    async with open_store(StoreOptions((tmp_path / "a", tmp_path / "b"), 2)) as store:
        assert len(store.volumes) == 4
    async with open_store(StoreOptions((tmp_path / "a", tmp_path / "b", tmp_path / "c"), 2)) as store:
        assert len(store.volumes) == 6
        assert store.policies.large.name == "EC42"


async def test_a_second_process_is_told_who_holds_the_store(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(ConfigError, match=f"in use by process {os.getpid()}"):
            async with open_store(StoreOptions((tmp_path,))):
                pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"namespace": "x"}', '{"namespace":"x","created_us":1,"volumes":[],"v":9}'])
async def test_damaged_settings_are_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "store.json").write_text(content)
    with pytest.raises(ConfigError, match=r"store\.json"):
        async with open_store(StoreOptions((tmp_path,))):
            pass


async def test_a_lost_key_is_told_and_not_replaced(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    (tmp_path / "secret.key").unlink()
    with pytest.raises(ConfigError, match=r"secret\.key"):
        async with open_store(StoreOptions((tmp_path,))):
            pass
    assert not (tmp_path / "secret.key").exists()


async def test_volumes_without_their_settings_are_not_taken_for_new(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    (tmp_path / "store.json").unlink()
    with pytest.raises(ConfigError, match=r"no store\.json"):
        async with open_store(StoreOptions((tmp_path,))):
            pass


@pytest.mark.parametrize("volumes", [1, 3])
async def test_a_start_killed_before_the_settings_name_the_volumes_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volumes: int
) -> None:
    if volumes == 3:  # more volumes for a store that exists
        async with opened(tmp_path):
            pass
    real = save_settings

    def killed(first: Path, settings: Settings) -> None:
        if settings.volumes:
            raise KeyboardInterrupt
        real(first, settings)

    monkeypatch.setattr(embedded, "save_settings", killed)
    with pytest.raises(KeyboardInterrupt):
        embedded.prepare(tmp_path, StoreOptions((tmp_path,), volumes), create=True)
    monkeypatch.undo()
    async with opened(tmp_path, volumes) as store:
        assert len(store.volumes) == volumes
        row = await put(store, "k", b"data")
    async with opened(tmp_path, volumes) as store:
        assert await store.read_whole(row) == b"data"


async def test_the_start_sweeps_what_a_crash_left(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, "k", b"data")
    (chunk,) = chunk_files(tmp_path)
    orphan = chunk.with_name("0" * 32 + ".record")
    orphan.write_bytes(b"{}")
    await trio.sleep(0.02)  # more than the file system's clock is coarse
    async with opened(tmp_path):
        await until(lambda: not orphan.exists())


async def test_a_new_volume_needs_an_empty_folder(tmp_path: Path) -> None:
    async with opened(tmp_path):
        pass
    (tmp_path / "volumes" / "2").mkdir()
    (tmp_path / "volumes" / "2" / "diary.txt").write_text("private")
    with pytest.raises(ConfigError, match="not empty"):
        async with open_store(StoreOptions((tmp_path,), 2)):
            pass


@pytest.mark.parametrize("size", [1000, 2_000_000])
async def test_missing_volumes_are_borne_and_empty_ones_taken_again(tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    async with opened(tmp_path, 9) as store:
        row = await put(store, "k", data)
    holders = {file.parents[1].name for file in chunk_files(tmp_path)}
    victims = sorted(holders)[: 3 if size > 131072 else 2]
    for name in victims:
        shutil.rmtree(tmp_path / "volumes" / name)
    async with opened(tmp_path, 9) as store:
        assert await read(store, row) == data
        assert sum(1 for each in (await store.status()).volumes if each.sick) == len(victims)
        assert {finding.problem async for finding in store.verify(row, BUCKET)} == {"unreadable"}
        assert await read(store, await put(store, "more", data)) == data
        assert not any((tmp_path / "volumes" / name).exists() for name in victims)
    for name in victims:
        (tmp_path / "volumes" / name).mkdir()
    async with opened(tmp_path, 9) as store:
        assert not any(each.sick for each in (await store.status()).volumes)
        assert [finding.problem async for finding in store.verify(row, BUCKET)] == ["missing"] * len(victims)
        assert await read(store, row) == data


async def test_volumes_come_and_go_while_the_store_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "LOOK_PERIOD_S", 0.05)
    async with opened(tmp_path, 9) as store:
        data = bytes(2_000_000)
        row = await put(store, "k", data)
        for name in ("1", "2", "3"):
            shutil.rmtree(tmp_path / "volumes" / name)
        assert await read(store, row) == data
        await until(lambda: sum("Absent" in repr(each) for each in store.volumes.values()) == 3)
        assert await read(store, await put(store, "k2", data)) == data
        for name in ("1", "2", "3"):
            (tmp_path / "volumes" / name).mkdir()
        await until(lambda: not any("Absent" in repr(each) for each in store.volumes.values()))
        assert [finding.problem async for finding in store.verify(row, BUCKET)] == ["missing"] * 3
        assert await read(store, row) == data
        assert not [finding async for finding in store.verify(await put(store, "k3", data), BUCKET)]


async def test_anothers_volume_is_not_touched(tmp_path: Path) -> None:
    async with opened(tmp_path / "mine", 3) as store:
        row = await put(store, "k", b"data")
    async with opened(tmp_path / "other"):
        pass
    shutil.rmtree(tmp_path / "mine/volumes/1")
    os.rename(tmp_path / "other/volumes/1", tmp_path / "mine/volumes/1")
    async with opened(tmp_path / "mine", 3) as store:
        assert [each.sick != "" for each in (await store.status()).volumes].count(True) == 1
        assert await store.read_whole(row) == b"data"
        absent = next(each for each in store.volumes.values() if "Absent" in repr(each))
        with pytest.raises(VolumeSick):
            await absent.list("", 10)


async def test_a_crash_between_chunk_and_metadata_leaves_nothing(tmp_path: Path) -> None:
    script = (
        "import os, sys, trio\n"
        "from pathlib import Path\n"
        "from meta.writer import Writer\n"
        "from tests.component.store.support import opened, put\n"
        "async def main():\n"
        "    async with opened(Path(sys.argv[1]), 3) as store:\n"
        "        await put(store, 'kept', b'kept')\n"
        "        Writer._transact = lambda *_: os._exit(9)\n"
        "        await put(store, 'lost', bytes(int(sys.argv[2])))\n"
        "trio.run(main)\n"
    )
    for size in (10, 2_000_000):
        done = await trio.run_process([sys.executable, "-c", script, str(tmp_path), str(size)], check=False, capture_stderr=True)
        assert done.returncode == 9, done.stderr.decode()
        assert len(chunk_files(tmp_path)) >= 6
        async with opened(tmp_path, 3, workers=True) as store:
            await until(lambda: len(chunk_files(tmp_path)) == 3)
            assert await store.read_whole(await store.get_row(BUCKET, "kept")) == b"kept"
            with pytest.raises(ObjectNotFound):
                await store.get_row(BUCKET, "lost")


async def test_chunks_of_a_bucket_that_metadata_lost_are_not_swept(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        (volume,) = store.volumes.values()
        units = unit_digests(b"data", 1 << 18)
        record = ChunkRecord("another", "k", "c" * 32, "SINGLE", size=4, checksum=chunk_checksum(units).hex(), unit_bytes=1 << 18)
        await volume.put(new_chunk_id(), b"data", record, units)
    async with opened(tmp_path, workers=True):
        await trio.sleep(0.3)
        assert len(chunk_files(tmp_path)) == 1


async def test_a_gateway_shares_the_store(tmp_path: Path) -> None:
    deep = tmp_path / ("deep" * 20)  # longer than a socket address takes
    async with opened(deep, 9, workers=True) as store:
        async with open_store(StoreOptions((deep,)), role="gateway") as gateway:
            for size in (10, 2_000_000):
                data = random.Random(size).randbytes(size)
                row = await gateway.put_object(BUCKET, f"k{size}", BytesSource(data), attributes=Attributes(), owner="owner")
                assert await read(store, await store.get_row(BUCKET, f"k{size}")) == data
                assert await read(gateway, row) == data


async def test_a_gateway_settles_its_own_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SETTLE_PERIOD_S", 0.05)

    async def recent(store: Store) -> list[str]:
        return [chunk for volume in store.volumes.values() for chunk in await volume.recent()]

    async with opened(tmp_path, 3), open_store(StoreOptions((tmp_path,)), role="gateway") as gateway:
        await put(gateway, "k", b"data")
        assert len(await recent(gateway)) == 3
        async with trio.open_nursery() as nursery:
            await nursery.start(gateway.run_workers)
            await until_none(lambda: recent(gateway))
            nursery.cancel_scope.cancel()


async def test_a_gateway_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no store"):
        async with open_store(StoreOptions((tmp_path,)), role="gateway"):
            pass
