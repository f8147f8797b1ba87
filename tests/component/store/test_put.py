from __future__ import annotations

import hashlib
import os
import random
import threading
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from meta import version
from meta.protocol.object import Attributes, Condition
from meta.writer import Request, Writer
from node.errors import (
    BodyIncomplete,
    BucketNotFound,
    ChecksumMismatch,
    NotEnoughServices,
    ObjectNotFound,
    PreconditionFailed,
    Unavailable,
    VolumeSick,
)
from rawx.chunk import ChunkRecord
from rawx.device import Device, Devices
from rawx.volume import Volume
from store import policy as policies
from store.layout import Layout
from store.policy import POLICIES
from store.source import BytesSource
from tests.component.store.support import (
    BUCKET,
    FailingSource,
    StuckSource,
    UnknownLength,
    break_disks,
    break_volumes,
    chunk_files,
    file_of,
    opened,
    put,
    read,
    until,
    until_none,
)

NAMES = sorted(POLICIES)
SIZES = [0, 1, 63, 4096, 16384, 16385, 131072, 131073, 1 << 20, (1 << 20) + 1, 1572864, 1572865, 3_333_333]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
async def test_what_was_put_is_read(tmp_path: Path, name: str) -> None:
    async with opened(tmp_path, POLICIES[name].chunks, policy=name) as store:
        for size in SIZES:
            data = random.Random(size).randbytes(size)
            for source in (BytesSource(data), UnknownLength(data)):
                row = await store.put_object(BUCKET, f"k{size}", source, attributes=Attributes(), owner="owner")
                assert (row.size, row.etag) == (size, hashlib.md5(data).hexdigest())
                assert await store.get_row(BUCKET, f"k{size}") == msgspec.structs.replace(
                    row, seq=(await store.get_row(BUCKET, f"k{size}")).seq
                )
                assert await read(store, row) == data
                assert await store.read_whole(row) == data


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SINGLE", "EC21"])
async def test_many_metachunks_make_one_object(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "METACHUNK_BYTES", 2 << 20)
    async with opened(tmp_path, POLICIES[name].chunks, policy=name) as store:
        for size in (2 << 20, (2 << 20) + 1, 4 << 20, 7_000_000):
            data = random.Random(size).randbytes(size)
            row = await store.put_object(BUCKET, "k", UnknownLength(data), attributes=Attributes(), owner="owner")
            layout = Layout.parse(row.layout)
            assert len(layout.metachunks) == -(-size // (2 << 20))
            assert await read(store, row) == data
            records = [
                ChunkRecord.parse(os.getxattr(file_of(store, layout, chunk), "user.frazil.chunk"))
                for metachunk in layout.metachunks
                for chunk in metachunk.chunks[:1]
            ]
            assert [record.metachunk for record in records] == list(range(len(records)))
            assert [record.offset for record in records] == [index * (2 << 20) for index in range(len(records))]
            assert [record.object is not None for record in records] == [False] * (len(records) - 1) + [True]
            assert records[-1].metachunks == len(records)


async def test_the_record_in_the_chunk_says_what_the_metadata_says(tmp_path: Path) -> None:
    attributes = Attributes(type="text/plain", metadata={"colour": "blue"}, tags={"a": "b"})
    async with opened(tmp_path) as store:
        row = await store.put_object(BUCKET, "some/key", BytesSource(b"hello", frozenset({"crc32"})), attributes=attributes, owner="me")
        (file,) = chunk_files(tmp_path)
        record = ChunkRecord.parse(os.getxattr(file, "user.frazil.chunk"))
        assert (record.bucket, record.key, record.content, record.policy) == (BUCKET, "some/key", row.content, "SINGLE")
        assert record.account == "account"
        assert record.object is not None
        stored = await store.get_row(BUCKET, "some/key")
        assert (record.object.version, record.object.null, record.object.etag) == (stored.version, stored.null, stored.etag)
        assert record.object.attributes["metadata"] == {"colour": "blue"}
        assert (
            record.object.attributes["checksums"] == stored.attributes.checksums == {"crc32": b64encode(bytes.fromhex("3610a686")).decode()}
        )
        assert file.read_bytes() == b"hello"


async def test_chunks_of_a_copied_object_are_its_bytes(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(300_000)
    async with opened(tmp_path, 3, policy="THREECOPIES") as store:
        await put(store, "k", data)
        assert [file.read_bytes() for file in chunk_files(tmp_path)] == [data] * 3


@pytest.mark.slow
@pytest.mark.parametrize("size", [5000, 400_000, 9_000_000])
@pytest.mark.parametrize("volumes", [1, 9])
async def test_a_body_that_fails_leaves_nothing(tmp_path: Path, size: int, volumes: int) -> None:
    async with opened(tmp_path, volumes) as store:
        for good in (0, size // 2, size - 1):
            with pytest.raises(BodyIncomplete):
                await store.put_object(
                    BUCKET, "k", FailingSource(size, good, BodyIncomplete("cut")), attributes=Attributes(), owner="owner"
                )
        assert chunk_files(tmp_path) == []


class RefusingSource(BytesSource):
    def complete(self, digests: dict[str, bytes]) -> dict[str, str]:
        raise ChecksumMismatch("not what was announced")


@pytest.mark.parametrize("size", [10, 5_000_000])
async def test_a_wrong_checksum_leaves_nothing(tmp_path: Path, size: int) -> None:
    async with opened(tmp_path, 3) as store:
        with pytest.raises(ChecksumMismatch):
            await store.put_object(BUCKET, "k", RefusingSource(bytes(size)), attributes=Attributes(), owner="owner")
        assert chunk_files(tmp_path) == []


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_a_refused_commit_leaves_nothing(tmp_path: Path, size: int) -> None:
    async with opened(tmp_path, 3) as store:
        await put(store, "k", b"first")
        before = chunk_files(tmp_path)
        with pytest.raises(PreconditionFailed):
            await put(store, "k", bytes(size), condition=Condition(if_none_match=("*",)))
        with pytest.raises(BucketNotFound):
            await store.put_object("nowhere", "k", BytesSource(bytes(size)), attributes=Attributes(), owner="owner")
        assert chunk_files(tmp_path) == before
        assert await store.read_whole(await store.get_row(BUCKET, "k")) == b"first"


@pytest.mark.parametrize("good", [0, 100_000, 7_000_000])
async def test_a_cancelled_put_leaves_nothing(tmp_path: Path, good: int) -> None:
    async with opened(tmp_path, 3) as store:
        source = StuckSource(good)
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                await store.put_object(BUCKET, "k", source, attributes=Attributes(), owner="owner")

            nursery.start_soon(run)
            await source.stuck.wait()
            nursery.cancel_scope.cancel()
        assert chunk_files(tmp_path) == []


@pytest.mark.slow
async def test_a_put_cancelled_at_any_moment_is_whole_or_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as store:
        for step in range(60):
            key = f"k{step}"
            with trio.move_on_after(step * 0.0003):
                await put(store, key, bytes(200_000))
            try:
                row = await store.get_row(BUCKET, key)
            except ObjectNotFound:
                continue
            assert await store.read_whole(row) == bytes(200_000)
        named = set()
        for step in range(60):
            try:
                named |= {name for _, name in Layout.parse((await store.get_row(BUCKET, f"k{step}")).layout).places()}
            except ObjectNotFound:
                continue
        assert {file.name for file in chunk_files(tmp_path)} == named


@pytest.mark.parametrize("calls", [["put", "create"], ["put", "write"], ["put", "commit"]])
@pytest.mark.parametrize("size", [1000, 500_000, 3_000_000])
async def test_as_many_volumes_may_fail_as_the_quorum_allows(tmp_path: Path, calls: list[str], size: int) -> None:
    async with opened(tmp_path, 9) as store:
        data = random.Random(size).randbytes(size)
        break_volumes(store, 2, calls)
        for number in range(3):
            row = await put(store, f"k{number}", data)
            assert await read(store, row) == data
            assert not {volume for volume, _ in Layout.parse(row.layout).places()} & set(list(store.volumes)[:2])
        flagged = {finding.problem for finding in store.findings}
        assert flagged <= {"unwritten"}
        assert ("unwritten" in flagged) == (size > 131072)


@pytest.mark.parametrize("disks", [False, True])
async def test_a_missed_quorum_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disks: bool) -> None:
    async with opened(tmp_path, 9) as store:
        if disks:
            break_disks(store, 8, monkeypatch)
        else:
            break_volumes(store, 8, ["put", "create"])
        for size in (1000, 3_000_000):
            with pytest.raises(Unavailable):
                await put(store, "k", bytes(size))
        assert chunk_files(tmp_path) == []


async def test_two_copies_are_not_promised_with_one(tmp_path: Path) -> None:
    async with opened(tmp_path, 2) as store:
        break_volumes(store, 1, ["put", "create", "write"])
        with pytest.raises(NotEnoughServices):
            await put(store, "k", b"data")
        assert chunk_files(tmp_path) == []


@pytest.mark.parametrize("disks", [False, True])
async def test_a_small_copy_that_fails_goes_to_another_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disks: bool) -> None:
    async with opened(tmp_path, 4) as store:
        if disks:
            break_disks(store, 1, monkeypatch)
        else:
            break_volumes(store, 1, ["put"])
        for number in range(3):
            row = await put(store, f"k{number}", b"data")
            assert len(list(Layout.parse(row.layout).places())) == 3
            assert await read(store, row) == b"data"
        assert not store.findings
        assert len(chunk_files(tmp_path)) == 9


async def test_a_disk_that_hangs_costs_a_small_put_one_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(Devices, "enter", lambda _, root: Device(root))  # a disk for each volume
    async with opened(tmp_path, 4) as store:
        volume = next(iter(store.volumes.values()))
        assert isinstance(volume, Volume)
        for each in store.volumes.values():
            monkeypatch.setattr(each, "wait_s", 0.3)
        link = volume.folders.link
        monkeypatch.setattr(volume.folders, "link", lambda *args: (release.wait(10), link(*args)))
        try:
            rows = [await put(store, f"k{number}", b"data") for number in range(5)]
        finally:
            release.set()
        for row in rows:
            assert len(list(Layout.parse(row.layout).places())) == 3
            assert volume.volume_id not in Layout.parse(row.layout).volumes
        assert "no answer" in volume.health.sick


@pytest.mark.parametrize("noted", [True, False])
async def test_no_chunk_goes_before_a_failed_commit_is_surely_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noted: bool) -> None:
    """A commit whose sync failed may come back after a crash, until a later one succeeds."""
    async with opened(tmp_path) as store:
        transact = Writer._transact

        def fail(writer: Writer[Any], requests: list[Request[Any]]) -> list[Any]:
            if not noted or any(request.function is version.put for request in requests):
                raise VolumeSick("the log could not be synced")
            return transact(writer, requests)

        monkeypatch.setattr(Writer, "_transact", fail)
        with pytest.raises(VolumeSick):
            await put(store, "k", b"data")
        assert len(chunk_files(tmp_path)) == (0 if noted else 1)
        assert len(await store.meta.container(BUCKET).deletions(10)) == noted
        monkeypatch.undo()
    async with opened(tmp_path, workers=True) as store:
        await until(lambda: chunk_files(tmp_path) == [])
        await until_none(store.meta.dirty_containers)
