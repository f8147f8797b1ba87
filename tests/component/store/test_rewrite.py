"""Changing some bytes of objects: what is read afterwards, what was written for it, and that the chunks alone still tell the whole."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import trio

from meta.directory import container_id
from meta.protocol.bucket import BucketSettings
from meta.protocol.holding import BEGIN, Cursor
from meta.protocol.object import Attributes, Change, DeleteRequest, ObjectRow
from meta.protocol.restore import Restore
from meta.protocol.upload import UploadRow
from node.errors import ChecksumMismatch, ContentCold, InvalidArgument, NotEnoughServices, ObjectNotFound
from store import keepsake, policy, rewrite, workers
from store.append import ConditionalRequestConflict
from store.envelope import MANAGED, Envelope, envelope_of
from store.layout import Layout
from store.mosaic import MOSAIC, mosaic_of
from store.multipart import WantedPart
from store.overlay import Patch
from store.rebuild.compare import differences
from store.rebuild.report import Report
from store.rebuild.site import build, open_site
from store.rebuild.swap import NEW_FOLDER, put_in_place
from store.scrub import Scrub
from store.source import BytesSource
from store.store import Store
from store.tally import Tally
from tests.component.store.support import (
    BUCKET,
    FailingSource,
    StuckSource,
    UnknownLength,
    break_volumes,
    chunk_files,
    opened,
    put,
    read,
    until,
    until_none,
)

KIB = 1 << 10
METACHUNK = 512 * KIB
"""What these tests cut objects into; what is rewritten is cut in two again, where the policy's stripes let it."""
STEPS = 40
"""Of one random history, at scale 1."""
SIZES = (0, 1, 5_000, METACHUNK, 3 * METACHUNK, 3 * METACHUNK + 1, 2_500_000)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "SLAB_BYTES", METACHUNK // 2)
    monkeypatch.setattr(policy, "METACHUNK_BYTES", METACHUNK)
    monkeypatch.setattr(rewrite, "GRAIN_BYTES", METACHUNK // 2)
    monkeypatch.setattr(rewrite, "WHOLE_BYTES_MAX", 2 * KIB)
    monkeypatch.setattr(workers, "SYNC_PERIOD_S", 0.02)
    monkeypatch.setattr(workers, "SCAN_PERIOD_S", 0.02)
    monkeypatch.setattr(keepsake, "KEEP_PERIOD_S", 0.02)


def patched(data: bytes, start: int, piece: bytes) -> bytes:
    """As pwrite would leave it."""
    return data[:start].ljust(start, b"\0") + piece + data[start + len(piece) :]


async def change(store: Store, key: str, start: int, piece: bytes, size: int | None = None) -> ObjectRow:
    return await store.rewrite(BUCKET, await store.get_row(BUCKET, key), [Patch(start, BytesSource(piece))], size)


async def found(store: Store, key: str) -> bytes:
    row = await store.get_row(BUCKET, key)
    data = await read(store, row)
    assert len(data) == row.size == sum(each.size for each in Layout.parse(row.layout).metachunks)
    assert "-" in row.etag or row.etag == hashlib.md5(data).hexdigest()
    return data


async def quiet(store: Store) -> None:
    await until_none(lambda: store.meta.container(BUCKET).records_to_sync(10))
    await until_none(store.meta.dirty_containers)


async def scrubbed(store: Store) -> list[str]:
    """What both scrubs find once what they had to do is done: an append leaves older records as they were, so the first may find some."""
    await scrub_once(store)
    await quiet(store)
    return await scrub_once(store)


async def scrub_once(store: Store) -> list[str]:
    scrub = Scrub(store._context, Tally(), deep=True, repair=True, grace_s=0.0)
    cursor: Cursor | None = BEGIN
    while cursor is not None:
        cursor, _ = await scrub.holders(BUCKET, cursor)
    for volume in store.volumes:
        after: str | None = ""
        while after is not None:
            after, _ = await scrub.files(volume, after)
    return scrub.tally.sentences()


async def rebuilt(path: Path) -> Report:
    """The metadata in PATH/meta.rebuilt, not put in place."""
    async with open_site(path) as site:
        return await build(site, path / NEW_FOLDER)


def places(row: ObjectRow) -> set[tuple[str, str]]:
    return set(Layout.parse(row.layout).places())


class History:
    """Random changes of a few objects; `bodies` is what they are to be."""

    def __init__(self, store: Store, rng: random.Random) -> None:
        self.store, self.rng = store, rng
        self.bodies: dict[str, bytes] = {}

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            key = f"k{self.rng.randrange(5)}"
            if key not in self.bodies:
                await self.rng.choice((self.put, self.put, self.upload))(key)
                continue
            step = self.rng.choice(
                (self.write, self.write, self.write, self.write, self.truncate, self.append, self.tag, self.rename, self.copy)
            )
            await step(key)
            key = self.rng.choice(sorted(self.bodies))
            assert await found(self.store, key) == self.bodies[key]

    def size(self) -> int:
        return self.rng.choice((*SIZES, self.rng.randrange(3_000_000)))

    async def put(self, key: str) -> None:
        self.bodies[key] = self.rng.randbytes(self.size())
        await put(self.store, key, self.bodies[key])

    async def upload(self, key: str) -> None:
        upload = await self.store.create_upload(BUCKET, UploadRow(os.urandom(16).hex(), key, owner="owner", attributes=Attributes()))
        wanted: list[WantedPart] = []
        body = b""
        for number, size in ((1, 5 << 20), (4, self.size())):
            data = self.rng.randbytes(size)
            part = await self.store.put_part(BUCKET, key, upload, number, BytesSource(data))
            wanted.append((number, part.etag, {}))
            body += data
        await self.store.complete_upload(BUCKET, key, upload.upload, wanted)
        self.bodies[key] = body

    async def write(self, key: str) -> None:
        body, at, patches = self.bodies[key], 0, []
        for _ in range(self.rng.choice((1, 1, 2, 5))):
            at += self.rng.choice((0, 1, self.rng.randrange(max(len(body), 1)), self.rng.randrange(2 * METACHUNK)))
            piece = self.rng.randbytes(self.rng.choice((0, 1, 100, 4_096, self.rng.randrange(METACHUNK))))
            patches.append(Patch(at, BytesSource(piece)))
            body = patched(body, at, piece) if piece else body
            at += len(piece)
        size = max(len(body), at) if self.rng.random() < 0.7 else at + self.rng.randrange(METACHUNK)
        await self.store.rewrite(BUCKET, await self.store.get_row(BUCKET, key), patches, size)
        self.bodies[key] = body[:size].ljust(size, b"\0")

    async def truncate(self, key: str) -> None:
        size = self.rng.choice((0, len(self.bodies[key]), METACHUNK, self.size()))
        await self.store.rewrite(BUCKET, await self.store.get_row(BUCKET, key), [], size)
        self.bodies[key] = self.bodies[key][:size].ljust(size, b"\0")

    async def append(self, key: str) -> None:
        piece = self.rng.randbytes(self.rng.choice((0, 1, 10_000, METACHUNK)))
        row = await self.store.get_row(BUCKET, key)
        source = self.rng.choice((BytesSource, UnknownLength))(piece)
        await self.store.append_object(BUCKET, row, source, combine=lambda _old, _summary: {})
        self.bodies[key] += piece

    async def tag(self, key: str) -> None:
        await self.store.meta.container(BUCKET).change(Change(key, tags={"tag": str(self.rng.randrange(9))}))

    async def rename(self, key: str) -> None:
        other = f"k{self.rng.randrange(5)}"
        if other != key:
            await self.store.rename(BUCKET, key, other)
            self.bodies[other] = self.bodies.pop(key)

    async def copy(self, key: str) -> None:
        other, row = f"k{self.rng.randrange(5)}", await self.store.get_row(BUCKET, key)
        await self.store.copy_object(row, BUCKET, BUCKET, other, attributes=row.attributes, owner="owner")
        self.bodies[other] = self.bodies[key]
        assert MOSAIC not in (await self.store.get_row(BUCKET, other)).attributes.extra


@pytest.mark.parametrize(("volumes", "versioning"), [(1, ""), (3, ""), (6, "Suspended"), (1, "Enabled")])
async def test_random_changes_read_as_written_and_the_chunks_alone_tell_the_same(
    tmp_path: Path, seed: str, scale: float, volumes: int, versioning: str
) -> None:
    async with opened(tmp_path, volumes, workers=True) as store:
        history = History(store, random.Random(f"{seed}{volumes}{versioning}"))
        if versioning == "Suspended":
            await store.meta.container(BUCKET).change_settings(versioning="Enabled")
            await history.put("k0")
            await history.put("k1")
        if versioning:
            await store.meta.container(BUCKET).change_settings(versioning=versioning)
        await history.run(int(STEPS * scale))
        await quiet(store)
        assert await scrubbed(store) == []
        rows = {key: await store.get_row(BUCKET, key) for key in history.bodies}
        files = chunk_files(tmp_path)
        if not versioning:
            assert {file.name for file in files if file.suffix != ".record"} == {chunk for row in rows.values() for _, chunk in places(row)}
    os.rename(tmp_path / "meta", tmp_path / "wiped")
    report = await rebuilt(tmp_path)
    assert not report.unwhole, report.unwhole
    assert list(differences(tmp_path / "wiped", tmp_path / NEW_FOLDER, only=f"{container_id(BUCKET)}.db")) == []
    put_in_place(tmp_path)
    async with opened(tmp_path, volumes, workers=True) as store:
        for key, body in history.bodies.items():
            assert await found(store, key) == body
        await History.run(history := _continued(history, store), 10)
        await quiet(store)
        assert await scrubbed(store) == []


def _continued(history: History, store: Store) -> History:
    after = History(store, history.rng)
    after.bodies = history.bodies
    return after


async def test_untouched_metachunks_are_left_alone(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        body = random.randbytes(8 * METACHUNK)
        old = await put(store, "k", body)
        stamps = {file: file.stat().st_ctime_ns for file in chunk_files(tmp_path)}
        row = await change(store, "k", 3 * METACHUNK + 5, b"changed")
        assert await found(store, "k") == patched(body, 3 * METACHUNK + 5, b"changed")
        await until(lambda: len([file for file in stamps if file.exists()]) == 3 * 7)
        assert all(file.stat().st_ctime_ns == stamp for file, stamp in stamps.items() if file.exists())
        assert len(places(row) & places(old)) == 3 * 7
        assert row.etag.endswith("-2")
        again = await change(store, "k", 3 * METACHUNK + 5, b"again")
        assert again.etag not in (row.etag, old.etag)
        assert mosaic_of(again.attributes).pieces[1].count >= 1  # type: ignore[union-attr]


async def test_an_object_that_grows_in_small_steps_is_not_written_over_and_over(tmp_path: Path) -> None:
    async with opened(tmp_path, 1, workers=True) as store:
        body, written = b"", 0
        await put(store, "k", body)
        for number in range(200):
            before = await store.get_row(BUCKET, "k")
            row = await change(store, "k", len(body), bytes([number]) * 10_000)
            body += bytes([number]) * 10_000
            fresh = places(row) - places(before)
            written += sum(
                each.size for each in Layout.parse(row.layout).metachunks if ("", each.chunks[0].name) in {("", c) for _, c in fresh}
            )
        assert await found(store, "k") == body
        assert written < 12 * len(body)
        assert len(Layout.parse(row.layout).metachunks) < 20


async def test_what_was_replaced_meanwhile_is_not_overwritten_and_nothing_is_left(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        old = await put(store, "k", bytes(3 * METACHUNK))
        new = await put(store, "k", b"new" * METACHUNK)
        await quiet(store)
        files = chunk_files(tmp_path)
        with pytest.raises(ConditionalRequestConflict):
            await store.rewrite(BUCKET, old, [Patch(5, BytesSource(b"late"))])
        assert await read(store, await store.get_row(BUCKET, "k")) == b"new" * METACHUNK
        await store.delete_object(BUCKET, DeleteRequest("k"))
        with pytest.raises((ObjectNotFound, ConditionalRequestConflict)):
            await store.rewrite(BUCKET, new, [Patch(5, BytesSource(b"late"))])
        await quiet(store)
        await until(lambda: chunk_files(tmp_path) == [])
        assert files


class TaggingSource(BytesSource):
    """Something happens to the object while its bytes are read."""

    def __init__(self, data: bytes, then: Callable[[], object]) -> None:
        super().__init__(data)
        self._then = then

    async def fill(self, buffer: memoryview) -> int:
        if self._rest:
            await self._then()  # type: ignore[misc]
        return await super().fill(buffer)


async def test_tags_that_change_meanwhile_are_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, 1, workers=True) as store:
        body = bytes(3 * METACHUNK)
        await put(store, "k", body)

        async def tag() -> None:
            await store.meta.container(BUCKET).change(Change("k", tags={"a": "b"}))

        old = await store.get_row(BUCKET, "k")
        await store.rewrite(BUCKET, old, [Patch(5, TaggingSource(b"x", tag))], describe=lambda each: each)
        row = await store.get_row(BUCKET, "k")
        assert row.attributes.tags == {"a": "b"}
        assert await found(store, "k") == patched(body, 5, b"x")
        await quiet(store)
        assert await scrubbed(store) == []


async def test_a_put_that_comes_meanwhile_wins(tmp_path: Path) -> None:
    async with opened(tmp_path, 1, workers=True) as store:
        await put(store, "k", bytes(3 * METACHUNK))

        async def other() -> None:
            await put(store, "k", b"other")

        with pytest.raises(ConditionalRequestConflict):
            await store.rewrite(BUCKET, await store.get_row(BUCKET, "k"), [Patch(5, TaggingSource(b"x", other))])
        assert await found(store, "k") == b"other"
        await quiet(store)
        await until(lambda: len(chunk_files(tmp_path)) == 1)


async def test_whatever_fails_leaves_the_object_and_no_chunk(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        body = random.randbytes(4 * METACHUNK)
        old = await put(store, "k", body)
        files = chunk_files(tmp_path)
        failing = FailingSource(METACHUNK, METACHUNK // 2, ChecksumMismatch("it differs"))
        with pytest.raises(ChecksumMismatch):
            await store.rewrite(BUCKET, old, [Patch(METACHUNK, failing)])
        with pytest.raises(InvalidArgument, match="ends at"):
            short = BytesSource(b"short")
            short.length = 10
            await store.rewrite(BUCKET, old, [Patch(METACHUNK, short)])
        stuck = StuckSource(10)
        stuck.length = METACHUNK
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.rewrite, BUCKET, old, [Patch(METACHUNK, stuck)])
            await stuck.stuck.wait()
            nursery.cancel_scope.cancel()
        break_volumes(store, 3, ["put", "create"])
        with pytest.raises(NotEnoughServices):
            await store.rewrite(BUCKET, old, [Patch(METACHUNK, BytesSource(b"nowhere"))])
        assert await found(store, "k") == body
        await until(lambda: chunk_files(tmp_path) == files)


@pytest.mark.parametrize("size", [3, 3 * METACHUNK])
async def test_encrypted_objects_are_written_whole_under_the_same_data_key(tmp_path: Path, size: int) -> None:
    async with opened(tmp_path, 1, workers=True) as store:
        envelope, data_key = await store.vault.seal(Envelope(MANAGED, ""))
        body = random.randbytes(size)
        await put_sealed(store, body, envelope, data_key)
        old = await store.get_row(BUCKET, "k")
        row = await store.rewrite(BUCKET, old, [Patch(1, BytesSource(b"x"))], size + 10, data_key=data_key)
        assert await read(store, row, data_key=data_key) == patched(body, 1, b"x") + bytes(10)
        assert envelope_of(row.attributes) == envelope
        assert row.etag != old.etag
        await quiet(store)
        assert await scrubbed(store) == []
        assert len(chunk_files(tmp_path)) == len(places(row))


async def put_sealed(store: Store, body: bytes, envelope: Envelope, data_key: bytes) -> None:
    attributes = envelope.into(Attributes())
    await store.put_object(BUCKET, "k", BytesSource(body), attributes=attributes, owner="owner", data_key=data_key)


async def test_a_version_under_lock_stays_and_the_new_one_is_not_locked(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        made = BucketSettings("locked", "account", "owner", 1, versioning="Enabled", object_lock=True)
        await store.meta.create_bucket(made)
        container = store.meta.container("locked")
        body = random.randbytes(3 * METACHUNK)
        await store.put_object("locked", "k", BytesSource(body), attributes=Attributes(), owner="owner")
        await container.change(Change("k", legal_hold=True))
        old = await store.get_row("locked", "k")
        row = await store.rewrite("locked", old, [Patch(5, BytesSource(b"x"))])
        assert row.attributes.legal_hold is None
        assert await read(store, await store.get_row("locked", "k", old.version)) == body
        assert await read(store, await store.get_row("locked", "k")) == patched(body, 5, b"x")


async def test_a_kept_chunk_that_can_not_be_copied_is_read_and_written(tmp_path: Path) -> None:
    async with opened(tmp_path, 4, policy="TWOCOPIES", workers=True) as store:
        await store.meta.container(BUCKET).change_settings(versioning="Enabled")
        body = random.randbytes(4 * METACHUNK)
        old = await put(store, "k", body)
        volume, chunk = sorted(places(old))[0]
        await store.volumes[volume].delete([chunk])
        row = await change(store, "k", 4 * METACHUNK, b"more")
        assert await found(store, "k") == body + b"more"
        assert len(places(row)) % 2 == 0


async def test_checksums_follow_where_all_bytes_are_written(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        source = BytesSource(b"hello", frozenset({"crc32"}))
        await store.put_object(BUCKET, "k", source, attributes=Attributes(type="text/plain"), owner="owner")
        row = await change(store, "k", 0, b"J")
        again = await store.put_object(
            BUCKET, "l", BytesSource(b"Jello", frozenset({"crc32"})), attributes=Attributes(type="text/plain"), owner="owner"
        )
        assert (row.attributes, row.etag) == (again.attributes, again.etag)


@pytest.mark.parametrize("torn", [True, False])
async def test_a_rebuild_beside_chunks_that_were_replaced_finds_the_newest_that_is_whole(tmp_path: Path, torn: bool) -> None:
    """As after a crash before the transaction (torn: not even all chunks were written), or before what it replaced was deleted."""
    async with opened(tmp_path, 1, workers=True) as store:
        first = random.randbytes(6 * METACHUNK)
        await put(store, "k", first)
        await change(store, "k", METACHUNK, b"first")
        await quiet(store)
        shutil.copytree(tmp_path / "volumes", tmp_path / "saved", copy_function=copy_with_attributes)
        new = random.randbytes(2 * METACHUNK)
        row = await change(store, "k", 3 * METACHUNK, new)
    shutil.copytree(tmp_path / "saved", tmp_path / "volumes", copy_function=copy_with_attributes, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "saved")
    shutil.rmtree(tmp_path / "meta")
    if torn:
        lost = Layout.parse(row.layout).metachunks[4].chunks[0].name
        next(file for file in chunk_files(tmp_path) if file.name == lost).unlink()
    report = await rebuilt(tmp_path)
    assert not report.unwhole
    put_in_place(tmp_path)
    async with opened(tmp_path, 1, workers=True) as store:
        body = patched(first, METACHUNK, b"first")
        assert await found(store, "k") == (body if torn else patched(body, 3 * METACHUNK, new))
        await quiet(store)
        named = {chunk for _, chunk in places(await store.get_row(BUCKET, "k"))}
        await until(lambda: {file.name for file in chunk_files(tmp_path)} == named)


def copy_with_attributes(source: str, target: str) -> None:
    shutil.copyfile(source, target)
    for name in os.listxattr(source):
        os.setxattr(target, name, os.getxattr(source, name))


async def test_a_part_of_a_cold_object_is_not_written_and_one_that_is_restored_is_hot_again(tmp_path: Path) -> None:
    async with opened(tmp_path, 1, workers=True) as store:
        body = random.randbytes(3 * METACHUNK)
        await put(store, "k", body, storage_class="GLACIER")
        container = store.meta.container(BUCKET)
        for until_us in (0, 1):
            await container.change(Change("k", restored=msgspec.to_builtins(Restore(1, "Standard", 1, until_us))))
            with pytest.raises(ContentCold):
                await change(store, "k", 5, b"x")
        await container.change(Change("k", restored=msgspec.to_builtins(Restore(1, "Standard", 1, 1 << 62))))
        row = await change(store, "k", 5, b"x")
        assert (row.storage_class, mosaic_of(row.attributes)) == ("STANDARD", None)
        assert await found(store, "k") == patched(body, 5, b"x")
