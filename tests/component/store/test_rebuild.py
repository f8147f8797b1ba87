"""Wiped metadata comes back from the chunks alone."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from meta.directory import container_id
from meta.protocol.accounts import KeyPair
from meta.protocol.bucket import BucketSettings
from meta.protocol.listing import ListRequest
from meta.protocol.object import Attributes, Change, DeleteRequest, ObjectRow
from meta.protocol.upload import UploadRow
from node.errors import ConfigError
from store import keepsake, rewrite, workers
from store.copy import CopyKeys
from store.envelope import KMS, MANAGED, Envelope, envelope_of
from store.layout import Layout
from store.overlay import Patch
from store.rebuild.compare import differences
from store.rebuild.report import Report
from store.rebuild.site import build, open_site
from store.rebuild.swap import NEW_FOLDER, base_of, finish_renames, is_built, put_in_place, unhealthy
from store.source import BytesSource
from store.store import Store
from tests.component.store.support import BUCKET, chunk_files, opened, put, read, records, until_none
from tests.support import survey
from tests.support.survey import is_keepsake

OBJECTS = 300
"""At scale 1; 20,000 from scale 60 on."""
FULL_OBJECTS = 20_000
SIZES = (0, 1, 100, 4_096, 131_072, 131_073, 1_500_000)
PART_BYTES = 5 << 20


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "SYNC_PERIOD_S", 0.02)
    monkeypatch.setattr(workers, "SCAN_PERIOD_S", 0.02)
    monkeypatch.setattr(keepsake, "KEEP_PERIOD_S", 0.02)
    monkeypatch.setattr(rewrite, "WHOLE_BYTES_MAX", 1_000)  # so that objects of a few contents are put together anew


async def quiet(store: Store) -> None:
    """Until the workers have done all there was to do."""
    await until_none(store.meta.dirty_containers)

    async def behind() -> list[bool]:
        if not await store.meta.accounts.keys():
            return []
        if await store.meta.encryption.encryption_keys():
            await store.get_row(".frazil", "encryption")
        row = await store.get_row(".frazil", "accounts")
        return [] if row.etag == hashlib.md5(await store.meta.accounts.dump()).hexdigest() else [True]

    await until_none(behind)
    await until_none(store.meta.dirty_containers)


class History:
    """All kinds of objects and changes."""

    def __init__(self, store: Store, seed: str) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.keys: list[str] = []

    async def run(self, count: int) -> None:
        await self.settings()
        others = (self.change, self.copy, self.rename, self.delete, self.append, self.append, self.rewrite)
        steps: list[Callable[[], Awaitable[object]]] = [self.put, self.put, self.put, self.put, *others]
        for number in range(count):
            self.bucket = self.rng.choice(("plain", "versions", "suspended"))
            await self.rng.choice(steps)()
            if number % max(count // 8, 1) == 0:
                await self.upload(complete=number % 2 == 0)

    async def settings(self) -> None:
        meta = self.store.meta
        await meta.encryption.create_encryption_key("named", "kept beside the objects")
        await meta.encryption.rotate_encryption_key("named")
        for name in ("ann", "bob"):
            await meta.accounts.create_key(KeyPair(access_key="", account=name, name=name, user_id=f"user-{name}", admin=name == "ann"))
        for name, versioning in (("plain", ""), ("versions", "Enabled"), ("suspended", "Suspended"), ("empty", "Enabled")):
            lock = name == "versions"
            made = BucketSettings(
                name, "ann", "user-ann", 7, region="us-east-1", acl="public-read", object_lock=lock, versioning="Enabled" if lock else ""
            )
            await meta.create_bucket(made)
            if versioning:
                await meta.container(name).change_settings(versioning="Enabled", documents={"cors": "<é/>"})
            if versioning == "Suspended":
                self.bucket = name
                for _ in range(5):
                    await self.put()
                await meta.container(name).change_settings(versioning=versioning)
        self.bucket = "plain"

    def key(self) -> str:
        if self.keys and self.rng.random() < 0.3:
            return self.rng.choice(self.keys)
        text = self.rng.choice(("k", "ordner/ключ/", "\U0001f9ca", "a//b/", "ü" * 500)) + str(self.rng.randrange(10**6))
        self.keys.append(text)
        return text

    async def put(self) -> None:
        size = self.rng.choices(SIZES, (3, 2, 5, 5, 2, 2, 1))[0]
        attributes = Attributes(
            type=self.rng.choice(("", "text/plain")),
            headers={"cache-control": "no-cache"} if self.rng.random() < 0.3 else {},
            metadata={"color": "blå", "long": "v" * self.rng.choice((1, 1500))} if self.rng.random() < 0.3 else {},
            tags={"tag": "1"} if self.rng.random() < 0.3 else {},
            extra={"other": {"mode": "sse", "nonce": "abc"}} if self.rng.random() < 0.1 else {},
        )
        attributes, data_key = await self.sealed(attributes)
        source = BytesSource(self.rng.randbytes(size), frozenset({"crc32"}) if self.rng.random() < 0.5 else frozenset())
        await self.store.put_object(
            self.bucket, self.key(), source, attributes=attributes, owner="user-ann", storage_class="STANDARD", data_key=data_key
        )

    async def sealed(self, attributes: Attributes) -> tuple[Attributes, bytes]:
        """Every third object or upload is encrypted."""
        if self.rng.random() < 0.67:
            return attributes, b""
        wish = self.rng.choice((Envelope(MANAGED, ""), Envelope(KMS, "", key="named")))
        envelope, data_key = await self.store.vault.seal(wish)
        return envelope.into(attributes), data_key

    async def existing(self) -> ObjectRow | None:
        page = await self.store.meta.container(self.bucket).list(ListRequest(after=self.rng.choice(("", "a", "k5", "z")), limit=20))
        return await self.store.get_row(self.bucket, self.rng.choice(page.rows).key) if page.rows else None

    async def change(self) -> None:
        row = await self.existing()
        if row is not None:
            until = self.rng.choice((None, 1_000)) if self.bucket == "versions" else None
            mode = "GOVERNANCE" if until else None
            change = Change(row.key, tags={"later": "yes"}, acl="public-read", retain_mode=mode, retain_until_us=until)
            await self.store.meta.container(self.bucket).change(change)

    async def copy(self) -> None:
        row = await self.existing()
        if row is not None:
            old = row.attributes
            attributes = Attributes(type="copied", parts=old.parts, checksums=old.checksums, extra=old.extra)
            key = await data_key_of(self.store, row)
            copied = (row, self.bucket, self.bucket, self.key())
            await self.store.copy_object(*copied, attributes=attributes, owner="user-bob", keys=CopyKeys(key, key))

    async def rename(self) -> None:
        row = await self.existing()
        if row is not None:
            await self.store.rename(self.bucket, row.key, self.key())

    async def append(self) -> None:
        row = await self.existing()
        if row is not None:
            source = BytesSource(self.rng.randbytes(self.rng.choice((0, 10, 200_000))))
            data_key = await data_key_of(self.store, row)
            await self.store.append_object(self.bucket, row, source, combine=lambda _old, _summary: {}, data_key=data_key)

    async def rewrite(self) -> None:
        row = await self.existing()
        if row is not None:
            patches = [Patch(at, BytesSource(self.rng.randbytes(100))) for at in sorted({self.rng.randrange(row.size + 1), row.size + 100})]
            patches = patches if patches[-1].start - patches[0].start >= 100 else patches[:1]
            await self.store.rewrite(self.bucket, row, patches, data_key=await data_key_of(self.store, row))

    async def delete(self) -> None:
        await self.store.delete_object(self.bucket, DeleteRequest(self.key(), owner="user-ann"))

    async def upload(self, *, complete: bool) -> None:
        attributes, data_key = await self.sealed(Attributes(type="text/x", metadata={"m": "v" * 900}))
        row = UploadRow(os.urandom(16).hex(), self.key(), owner="user-ann", checksum_algorithm="crc32", attributes=attributes)
        upload = await self.store.create_upload(self.bucket, row)
        parts = []
        for number, size in ((2, PART_BYTES), (3, 100), (3, 200), (9, 77)):
            source = BytesSource(self.rng.randbytes(size), frozenset({"crc32"}))
            part = await self.store.put_part(self.bucket, upload.key, upload, number, source, data_key=data_key)
            parts = [known for known in parts if known[0] != number] + [(number, part.etag, {})]
        if complete:
            await self.store.complete_upload(self.bucket, upload.key, upload.upload, parts[: self.rng.choice((1, 2))])


async def data_key_of(store: Store, row: ObjectRow) -> bytes:
    envelope = envelope_of(row.attributes)
    return b"" if envelope is None else await store.vault.open(envelope)


async def contents(store: Store) -> dict[tuple[str, str, int], str]:
    """MD5 of every version of everything."""
    found = {}
    for bucket in ("plain", "versions", "suspended"):
        container = store.meta.container(bucket)
        request = ListRequest(versions=True)
        while True:
            page = await container.list(request)
            for listed in page.rows:
                if not listed.marker:
                    row = await store.get_row(bucket, listed.key, listed.version)
                    found[bucket, listed.key, listed.version] = hashlib.md5(
                        await read(store, row, data_key=await data_key_of(store, row))
                    ).hexdigest()
            if not page.truncated:
                break
            request = ListRequest(versions=True, after=page.next_after, after_version=page.next_version)
    return found


async def rebuilt(path: Path, *, bucket: str = "") -> Report:
    """The metadata in PATH/meta.rebuilt, not put in place."""
    async with open_site(path) as site:
        return await build(site, path / NEW_FOLDER, bucket=bucket)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("volumes", [1, 9])
async def test_wiped_metadata_comes_back_equal(tmp_path: Path, seed: str, scale: float, volumes: int) -> None:
    count = min(int(OBJECTS * scale), FULL_OBJECTS)
    async with opened(tmp_path, volumes, workers=True) as store:
        await History(store, seed).run(count)
        await quiet(store)
        before = await contents(store)
    os.rename(tmp_path / "meta", tmp_path / "wiped")
    report = await rebuilt(tmp_path)
    assert list(differences(tmp_path / "wiped", tmp_path / NEW_FOLDER)) == []
    assert not report.unwhole, report.unwhole
    assert not report.guessed
    assert not report.thin
    assert report.accounts
    assert report.versions == len(before)
    put_in_place(tmp_path)
    async with opened(tmp_path, volumes, workers=True) as store:
        assert await contents(store) == before
        await quiet(store)
        named = {chunk for bucket in (".frazil", "bucket") for chunk in await _chunks(store, bucket)}
        assert named


async def _chunks(store: Store, bucket: str) -> set[str]:
    page = await store.meta.container(bucket).list(ListRequest())
    rows = [await store.get_row(bucket, listed.key) for listed in page.rows]
    return {chunk for row in rows for _, chunk in Layout.parse(row.layout).places()} | {""}


async def test_a_rebuilt_store_goes_on_behind_its_versions_and_numbers(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        old = await put(store, "k", b"old")
        await store.meta.container(BUCKET).change(Change("k", tags={"a": "b"}))
        await quiet(store)
    shutil.rmtree(tmp_path / "meta")
    await rebuilt(tmp_path)
    put_in_place(tmp_path)
    async with opened(tmp_path, 3, workers=True) as store:
        row = await store.get_row(BUCKET, "k")
        assert (row.version, row.attributes.tags) == (old.version, {"a": "b"})
        await store.meta.container(BUCKET).change(Change("k", tags={"c": "d"}))
        await quiet(store)
        assert {record.object.attributes["tags"]["c"] for record in await records(store, row) if record.object} == {"d"}  # type: ignore[index]
        new = await put(store, "k", b"new")
        assert new.version > old.version
        await quiet(store)
        assert len(chunk_files(tmp_path)) == 3


async def test_what_newer_versions_replaced_is_deleted_and_not_restored(tmp_path: Path) -> None:
    """As after a crash between a commit and the deletion of what it replaced."""
    async with opened(tmp_path, 3) as store:
        for number in range(4):
            await put(store, "k", bytes([number]))
        assert len(chunk_files(tmp_path)) == 12
        kept = {file.name: file.read_bytes() for file in chunk_files(tmp_path)}
        names = {file.name: file for file in chunk_files(tmp_path)}
        attributes = {name: os.getxattr(file, "user.frazil.chunk") for name, file in names.items()}
        units = {name: os.getxattr(file, "user.frazil.units") for name, file in names.items()}
    for name, data in kept.items():
        names[name].write_bytes(data)
        os.setxattr(names[name], "user.frazil.chunk", attributes[name])
        os.setxattr(names[name], "user.frazil.units", units[name])
    shutil.rmtree(tmp_path / "meta")
    report = await rebuilt(tmp_path)
    assert (report.versions, report.replaced) == (1, 3)
    put_in_place(tmp_path)
    async with opened(tmp_path, 3, workers=True) as store:
        assert await store.read_whole(await store.get_row(BUCKET, "k")) == bytes([3])
        await quiet(store)
        assert len(chunk_files(tmp_path)) == 3


async def test_too_few_chunks_are_told_and_fewer_than_promised_too(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        lost = Layout.parse((await put(store, "lost", bytes(2_000_000))).layout)
        thin = Layout.parse((await put(store, "thin", bytes(2_000_000))).layout)
        headless = Layout.parse((await put(store, "gone", bytes(70 << 20))).layout)
    files = {file.name: file for file in chunk_files(tmp_path)}
    for _, chunk in list(lost.places())[:4]:
        files[chunk].unlink()
    for _, chunk in list(thin.places())[:2]:
        files[chunk].unlink()
    os.truncate(files[list(thin.places())[2][1]], 5)
    for chunk in headless.metachunks[-1].chunks:
        files[chunk.name].unlink()
    for kept in [path for path in survey.chunk_paths([tmp_path]) if is_keepsake(path)]:
        kept.unlink()
    shutil.rmtree(tmp_path / "meta")
    report = await rebuilt(tmp_path)
    assert {(each.key, each.reason.split()[0]) for each in report.unwhole} == {("lost", "metachunk"), ("gone", "its")}
    assert [key for _, key, _ in report.thin] == ["thin"]
    assert report.damaged == {"truncated": 1}
    assert report.guessed == [BUCKET]
    assert report.versions == 1


async def test_one_bucket_alone(tmp_path: Path, seed: str) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        await History(store, seed).run(30)
        await quiet(store)
    report = await rebuilt(tmp_path, bucket="versions")
    assert report.buckets == 1
    only = f"{container_id('versions')}.db"
    assert list(differences(tmp_path / "meta", tmp_path / NEW_FOLDER, only=only)) == []
    assert len(list((tmp_path / NEW_FOLDER).glob("container/*/*.db"))) == 2


async def test_a_store_without_its_metadata_does_not_start_empty(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as store:
        await put(store, "k", b"data")
    shutil.rmtree(tmp_path / "meta")
    with pytest.raises(ConfigError, match="rebuild meta"):
        async with opened(tmp_path, 3):
            pass
    assert unhealthy(tmp_path / "meta")
    await rebuilt(tmp_path)
    (tmp_path / NEW_FOLDER / "complete").touch()  # killed between the renames
    assert is_built(tmp_path)
    with pytest.raises(ConfigError, match="rebuild meta"):
        async with opened(tmp_path, 3):
            pass
    finish_renames(tmp_path)
    assert not unhealthy(tmp_path / "meta")
    async with opened(tmp_path, 3) as store:
        assert await store.read_whole(await store.get_row(BUCKET, "k")) == b"data"


async def test_damaged_metadata_is_unhealthy(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        for number in range(200):
            await put(store, f"k{number}", b"data")
    assert not unhealthy(tmp_path / "meta")
    path = base_of(tmp_path / "meta", BUCKET)
    data = bytearray(path.read_bytes())
    data[3 * 8192 : 4 * 8192] = os.urandom(8192)
    path.write_bytes(data)
    assert unhealthy(tmp_path / "meta")
