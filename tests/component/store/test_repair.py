"""What repair, moves and the sync of records leave behind when something else happens at the same time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meta.protocol.holding import Holding, RecordToSync
from meta.protocol.object import Change, ObjectRow
from node.errors import VolumeSick
from rawx.chunk import ChunkRecord
from store import scrub
from store.fleet import OF_A_PART, ChunkFinding
from store.layout import Layout
from store.repair import Need, current, remake
from store.repairer import TRIES_MAX, Repairer
from store.scrub import Scrub
from store.source import BytesSource
from store.store import Store
from store.sync import sync_record
from store.worker import State
from store.workers import Deleter, RecordSync, _once
from tests.component.store.support import BUCKET, Shim, chunk_files, file_of, opened, put, read, records


async def _moving(store: Store, key: str, index: int = 0) -> Need:
    holder = await current(store._context, BUCKET, await store.get_row(BUCKET, key))
    volume = Layout.parse(holder.layout).volumes[0]
    return Need(BUCKET, holder, index, frozenset({0}), "", (volume,), keep=True)


@pytest.mark.parametrize("synced", ["before the holder is read", "between the record and the name"])
async def test_a_moved_chunk_gets_the_record_that_went_to_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synced: str) -> None:
    async with opened(tmp_path, 2, policy="SINGLE") as store:
        container, sync = store.meta.container(BUCKET), RecordSync(store._context)
        await put(store, "k", b"body")
        early = await _moving(store, "k")
        row = await container.change(Change("k", tags={"a": "b"}))
        need = await _moving(store, "k") if synced.startswith("before") else early
        relocate = container.relocate

        async def late(holder: Holding, *arguments: Any, **named: Any) -> Any:
            await sync._sync_all(BUCKET)
            return await relocate(holder, *arguments, **named)

        class Late:
            def __getattr__(self, name: str) -> Any:
                return late if name == "relocate" else getattr(container, name)

        with monkeypatch.context() as patch:
            patch.setattr(type(store._context), "container", lambda *_: Late())
            await remake(store._context, need)
        await sync._sync_all(BUCKET)
        (record,) = await records(store, await store.get_row(BUCKET, "k"))
        assert record.object is not None
        assert (record.object.attributes["tags"], record.seq > row.seq) == ({"a": "b"}, True)


async def test_a_move_of_what_is_up_to_date_writes_no_record_again(tmp_path: Path) -> None:
    async with opened(tmp_path, 2, policy="SINGLE") as store:
        await put(store, "k", b"body")
        for _ in range(2):
            await remake(store._context, await _moving(store, "k"))
            assert not [each for each in await store.meta.container(BUCKET).records_to_sync(10) if each.row is not None]


async def test_a_chunk_that_is_moved_stays_while_its_content_is_read(tmp_path: Path) -> None:
    async with opened(tmp_path, 2, policy="SINGLE") as store:
        row = await put(store, "k", b"first")
        await store.append_object(BUCKET, row, BytesSource(b"second"), combine=lambda *_: {})
        row = await store.get_row(BUCKET, "k")
        old = Layout.parse(row.layout)
        name = old.metachunks[1].chunks[0].name
        deleter = Deleter(store._context)
        with store._context.afterwork.reading(old):
            need = await _moving(store, "k", 1)
            need.avoid = (old.volumes[old.metachunks[1].chunks[0].volume],)
            await remake(store._context, need)
            await deleter._delete_all(BUCKET)
            assert await read(store, row) == b"firstsecond"
        await deleter._delete_all(BUCKET)
        assert name not in {file.name for file in chunk_files(tmp_path)}
        assert await read(store, await store.get_row(BUCKET, "k")) == b"firstsecond"


class Forgetful(Shim):
    """Makes a record visible, but says that it may not be durable."""

    async def update(self, chunk: str, record: ChunkRecord) -> None:
        self.calls += 1
        await self.inner.update(chunk, record)
        await self._fail(f"update {self.calls}")


async def test_a_record_that_was_seen_but_failed_is_written_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put(store, "k", b"body")
        (volume,) = store.volumes
        shim = store.volumes[volume] = Forgetful(store.volumes[volume], ["update 1"])
        row = await store.meta.container(BUCKET).change(Change("k", tags={"a": "b"}))
        with pytest.raises(VolumeSick):
            await sync_record(store._context, BUCKET, row)
        calls = shim.calls
        for _ in range(2):
            await sync_record(store._context, BUCKET, row)
        assert shim.calls == calls + 1


def test_a_version_and_the_settings_are_synced_once_by_their_last_entry() -> None:
    rows = [ObjectRow("k", 1, seq=1), ObjectRow("k", 1, seq=2), ObjectRow("k", 2), None]
    found = [RecordToSync(number, row) for number, row in enumerate(rows)] + [RecordToSync(number, None, True) for number in (8, 9)]
    assert sorted(each.id for each in _once(found)) == [1, 2, 9]


async def test_a_repair_that_fails_is_tried_again_and_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path) as store:
        tried: list[str] = []

        async def check(_: Scrub, bucket: str, holders: list[Holding], *, only: int | None = None) -> int:
            tried.append(holders[0].key)
            if holders[0].key == "bad":
                raise VolumeSick("broken by the test")
            return 0

        monkeypatch.setattr(scrub.Scrub, "check", check)
        for key in ("bad", "good"):
            row = await put(store, key, b"body")
            store._context.fleet.found(ChunkFinding(BUCKET, key, row.version, 0, 0, "", "", "missing"))
        store._context.fleet.found(ChunkFinding(BUCKET, "good", OF_A_PART, 0, 0, "", "", "unwritten"))
        repairer = Repairer(store._context)
        assert await repairer.work() is State.IDLE
        assert tried == ["bad", "good"]
        assert [each.key for each in store.findings] == ["bad"]
        for _ in range(TRIES_MAX):
            await repairer.work()
        assert tried == ["bad", "good", *["bad"] * (TRIES_MAX - 1)]
        assert not store.findings


@pytest.mark.parametrize("damaged", [False, True])
async def test_of_more_chunks_than_the_code_bears_the_whole_units_make_them_anew(tmp_path: Path, damaged: bool) -> None:
    async with opened(tmp_path, 9) as store:
        body = bytes(range(251)) * 9_000
        holder = await current(store._context, BUCKET, await put(store, "k", body))
        layout = Layout.parse(holder.layout)
        (policy,), (metachunk,) = layout.policies, layout.metachunks
        assert policy.name == "EC63"
        lost = (0, 2, 5, 8)
        before = {chunk.position: chunk for chunk in metachunk.chunks}
        for stripe, position in enumerate(lost[:3] if damaged else ()):
            file = file_of(store, layout, before[position])
            data = bytearray(file.read_bytes())
            data[stripe * policy.unit_bytes] ^= 1
            file.write_bytes(data)
        await remake(store._context, Need(BUCKET, holder, 0, frozenset(lost), "they were to be made anew"))
        (after,) = Layout.parse((await store.get_row(BUCKET, "k")).layout).metachunks
        assert [(chunk.position, chunk.checksum) for chunk in after.chunks] == [(each.position, each.checksum) for each in metachunk.chunks]
        assert {chunk.position for chunk in after.chunks if chunk.id != before[chunk.position].id} == set(lost)
        assert await read(store, await store.get_row(BUCKET, "k")) == body
