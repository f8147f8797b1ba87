"""Encrypted contents in a real store: what chunks say, what damage and tampering do, which copies stay sealed."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import msgspec
import pytest

from meta.protocol.object import Attributes, Change, ObjectRow
from meta.protocol.upload import UploadRow
from node.auth import NamespaceKey
from node.errors import (
    ContentLost,
    CustomerKeyWrong,
    EncryptionKeyDisabled,
    EncryptionKeyNotFound,
    RecordCorrupt,
    SealBroken,
    Superseded,
    VolumeSick,
)
from store.cipher import sealed_bytes
from store.copy import CopyKeys
from store.envelope import CUSTOMER, KMS, MANAGED, Envelope, envelope_of
from store.layout import Layout
from store.record import attributes_of
from store.rewrap import newest_version
from store.source import BytesSource
from store.store import Store
from store.sync import sync_record
from store.vault import MANAGED_KEY, Vault
from tests.component.store.support import BUCKET, chunk_files, file_of, flip, opened, read, records

CUSTOMERS = bytes(range(32))
SIZES = [0, 1, 70_000, 3_000_000]


async def put_sealed(store: Store, name: str, data: bytes, mode: str = MANAGED, **more: Any) -> tuple[ObjectRow, bytes]:
    envelope, data_key = await store.vault.seal(Envelope(mode, "", **more), CUSTOMERS if mode == CUSTOMER else b"")
    attributes = envelope.into(Attributes())
    row = await store.put_object(
        BUCKET, name, BytesSource(data, frozenset({"sha256"})), attributes=attributes, owner="o", data_key=data_key
    )
    return row, data_key


async def opened_bytes(store: Store, row: ObjectRow, customers: bytes = b"") -> bytes:
    """As a reader who has nothing but the row."""
    envelope = envelope_of(row.attributes)
    assert envelope is not None
    data_key = await store.vault.open(envelope, customers)
    out = bytearray()

    async def sink(piece: Any) -> None:
        out.extend(piece)

    await store.read(row, 0, row.size, sink, data_key=data_key)
    assert row.size > 128 << 10 or await store.read_whole(row, data_key=data_key) == out
    return bytes(out)


@pytest.mark.parametrize("volumes", [1, 4, 9])
@pytest.mark.parametrize("size", SIZES)
async def test_sizes_are_plain_and_chunks_are_sealed(tmp_path: Path, volumes: int, size: int) -> None:
    async with opened(tmp_path, volumes) as store:
        data = os.urandom(size)
        row, _ = await put_sealed(store, "k", data)
        assert row.size == size
        assert Layout.parse(row.layout).size == sealed_bytes(size)
        assert (await store.meta.container(BUCKET).counters()).classes == {"STANDARD": (1, size)}
        assert await opened_bytes(store, await store.get_row(BUCKET, "k")) == data
        assert [finding async for finding in store.verify(row, BUCKET)] == []


async def test_records_alone_decrypt(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        row, data_key = await put_sealed(store, "k", b"x" * 1000, KMS, context={"a": "b"})
        (record,) = await records(store, row)
        assert record.object is not None
        assert attributes_of(record.object) == row.attributes
        envelope = envelope_of(attributes_of(record.object))
        assert envelope is not None
        elsewhere = Vault(NamespaceKey.load(tmp_path / "secret.key"), store.meta.encryption)
        assert await elsewhere.open(envelope) == data_key


async def test_records_of_parts_follow_the_completion(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        envelope, data_key = await store.vault.seal(Envelope(MANAGED, ""))
        upload = UploadRow("u" * 32, "k", attributes=envelope.into(Attributes()))
        await store.create_upload(BUCKET, upload)
        contents = [os.urandom(5 << 20), os.urandom(5 << 20), b""]
        parts = []
        for number, data in zip((4, 5, 9), contents, strict=True):
            part = await store.put_part(BUCKET, "k", upload, number, BytesSource(data), data_key=data_key)
            assert part.size == len(data)
            parts.append((number, part.etag, {}))
        await store.complete_upload(BUCKET, "k", upload.upload, parts)
        row = await store.get_row(BUCKET, "k")
        (stale,) = [each for each in await store.meta.container(BUCKET).records_to_sync(10) if not each.about_bucket]
        assert stale.row is not None
        await sync_record(store._context, BUCKET, stale.row)
        found = [record.object for record in await records(store, row)]
        assert [(each.part, each.parts) for each in found if each] == [(1, 3), (2, 3), (3, 3)]
        last = envelope_of(attributes_of(found[-1])) if found[-1] else None
        assert last is not None
        assert last.parts == (4, 5, 9)
        assert await opened_bytes(store, row) == b"".join(contents)


async def test_lost_chunks_are_rebuilt_without_a_key_and_read_with_one(tmp_path: Path) -> None:
    async with opened(tmp_path, 4) as store:
        data = os.urandom(3_000_000)
        row, _ = await put_sealed(store, "k", data)
        layout = Layout.parse(row.layout)
        flip(file_of(store, layout, layout.metachunks[0].chunks[0]), 1000)
        assert await opened_bytes(store, row) == data
        assert [finding.problem async for finding in store.verify(row, BUCKET)] == ["corrupt"]
        flip(file_of(store, layout, layout.metachunks[0].chunks[1]), 1000)
        with pytest.raises(ContentLost):
            await opened_bytes(store, row)


@pytest.mark.parametrize("size", [1000, 200_000])
async def test_an_object_put_in_anothers_place_does_not_open(tmp_path: Path, size: int) -> None:
    """By somebody who writes metadata as well as chunks, so that every checksum is right."""
    async with opened(tmp_path) as store:
        row, _ = await put_sealed(store, "a", os.urandom(size))
        other, _ = await put_sealed(store, "b", os.urandom(size))
        plain = await store.put_object(BUCKET, "c", BytesSource(os.urandom(sealed_bytes(size))), attributes=Attributes(), owner="o")
        longer, _ = await put_sealed(store, "d", os.urandom(size + 1))
        for layout in (other.layout, plain.layout, longer.layout):
            await store.meta.container(BUCKET).change(Change("a", attributes=row.attributes, layout=layout))
            swapped = await store.get_row(BUCKET, "a")
            with pytest.raises(SealBroken):
                await opened_bytes(store, swapped)
        with pytest.raises(SealBroken):
            await store.read_whole(row, data_key=bytes(32))


async def test_an_envelope_is_bound_to_all_it_says(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        keys = store.meta.encryption
        await keys.create_encryption_key("a")
        await keys.create_encryption_key("b")
        envelope, data_key = await store.vault.seal(Envelope(KMS, "", key="a", context={"x": "y"}))
        assert await store.vault.open(envelope) == data_key
        for change in ({"key": "b"}, {"version": 2}, {"context": {"x": "z"}}, {"context": {}}, {"mode": MANAGED}):
            with pytest.raises(SealBroken):
                await store.vault.open(msgspec.structs.replace(envelope, **change))
        for wrapped in ("", "AAAA", "no base64!", envelope.wrapped[:-8], "Ag" + envelope.wrapped[2:]):
            with pytest.raises((RecordCorrupt, SealBroken)):
                await store.vault.open(msgspec.structs.replace(envelope, wrapped=wrapped))
        with pytest.raises(RecordCorrupt):
            envelope_of(msgspec.structs.replace(envelope, v=2).into(Attributes()))
        with pytest.raises(RecordCorrupt):
            envelope_of(Attributes(extra={"encryption": {"mode": 7}}))


async def test_customers_keys_are_told_apart_without_being_kept(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        row, _ = await put_sealed(store, "k", b"x" * 100, CUSTOMER)
        envelope = envelope_of(row.attributes)
        assert envelope is not None
        assert await opened_bytes(store, row, CUSTOMERS) == b"x" * 100
        for wrong in (b"", bytes(32), CUSTOMERS[::-1]):
            with pytest.raises(CustomerKeyWrong):
                await store.vault.open(envelope, wrong)
        with pytest.raises(RecordCorrupt):
            await store.vault.open(msgspec.structs.replace(envelope, check="no base64!"), CUSTOMERS)
        again, _ = await put_sealed(store, "k2", b"x" * 100, CUSTOMER)
        other = envelope_of(again.attributes)
        assert other is not None
        assert other.check != envelope.check, "salted: nobody sees that two objects have one key"
        assert CUSTOMERS.hex() not in json.dumps(msgspec.to_builtins(row.attributes))


async def test_keys_that_may_not_be_used(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(EncryptionKeyNotFound):
            await store.vault.seal(Envelope(KMS, "", key="nobody"))
        await store.meta.encryption.create_encryption_key("a")
        envelope, _ = await store.vault.seal(Envelope(KMS, "", key="a"))
        await store.meta.encryption.enable_encryption_key("a", enabled=False)
        for call in (store.vault.open(envelope), store.vault.seal(Envelope(KMS, "", key="a"))):
            with pytest.raises(EncryptionKeyDisabled):
                await call


async def test_rewrapping_changes_the_envelope_and_nothing_else(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        row, data_key = await put_sealed(store, "k", b"x" * 100)
        wanted = newest_version(lambda key: 2 if key == MANAGED_KEY else 0)
        await store.meta.encryption.rotate_encryption_key(MANAGED_KEY, implied=True)
        with pytest.raises(Superseded):
            await store.rewrap(BUCKET, "k", None, wanted, expect_content="another")
        assert await store.rewrap(BUCKET, "k", None, wanted, expect_content=row.content)
        assert not await store.rewrap(BUCKET, "k", None, wanted)
        after = await store.get_row(BUCKET, "k")
        old, new = envelope_of(row.attributes), envelope_of(after.attributes)
        assert old is not None
        assert new is not None
        assert (old.version, new.version) == (1, 2)
        assert await store.vault.open(old) == await store.vault.open(new) == data_key
        same = msgspec.structs.replace(after, attributes=row.attributes, seq=row.seq)
        assert same == row
        await sync_record(store._context, BUCKET, after)
        (record,) = await records(store, after)
        assert record.object is not None
        assert attributes_of(record.object) == after.attributes


async def test_rewrapping_leaves_tags_alone_that_change_meanwhile(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await put_sealed(store, "k", b"x")
        container = store.meta.container(BUCKET)
        tags = iter([{"a": "1"}, {"a": "2"}])

        class Racing:
            """Changes the tags between the rewrap's read and its write, twice."""

            def __getattr__(self, name: str) -> Any:
                return getattr(container, name)

            async def get(self, key: str, version: int | None = None) -> ObjectRow:
                row = await container.get(key, version)
                for each in tags:
                    await container.change(Change("k", tags=each))
                    break
                return row

        class Meta:
            encryption = store.meta.encryption

            def container(self, _bucket: str) -> Any:
                return Racing()

        meta, store._context.meta = store.meta, Meta()  # type: ignore[assignment]
        await store.vault.keys.rotate_encryption_key(MANAGED_KEY, implied=True)
        assert await store.rewrap(BUCKET, "k", None, newest_version(lambda _: 2))
        store._context.meta = meta
        row = await container.get("k")
        envelope = envelope_of(row.attributes)
        assert envelope is not None
        assert (row.attributes.tags, envelope.version) == ({"a": "2"}, 2)


@pytest.mark.parametrize("broken", [False, True])
async def test_copies_under_one_data_key_stay_sealed(tmp_path: Path, broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, 4) as store:
        data = os.urandom(1_000_000)
        row, data_key = await put_sealed(store, "a", data)
        before = {file.read_bytes() for file in chunk_files(tmp_path)}
        if broken:

            async def refuse(*_: Any) -> None:
                raise VolumeSick("broken by the test")

            monkeypatch.setattr(store.volumes[Layout.parse(row.layout).volumes[0]], "copy", refuse)
        envelope, _ = await store.vault.seal(Envelope(MANAGED, ""), data_key=data_key)
        attributes = envelope.into(row.attributes)
        keys = CopyKeys(data_key, data_key)
        copied = await store.copy_object(row, BUCKET, BUCKET, "b", attributes=attributes, owner="o", keys=keys)
        assert (copied.size, copied.etag, copied.attributes.checksums) == (row.size, row.etag, row.attributes.checksums)
        assert await opened_bytes(store, await store.get_row(BUCKET, "b")) == data
        if not broken:
            assert {file.read_bytes() for file in chunk_files(tmp_path)} == before


async def test_plain_objects_have_no_trace_of_encryption(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        row = await store.put_object(BUCKET, "k", BytesSource(b"x" * 100), attributes=Attributes(), owner="o")
        assert Layout.parse(row.layout).size == row.size == 100
        assert row.attributes.extra == {}
        assert await read(store, row) == b"x" * 100


def _everything(path: Path) -> bytes:
    files = [file for file in path.rglob("*") if file.is_file() and file.name != "secret.key"]
    attributes = [os.getxattr(file, name) for file in files for name in os.listxattr(file)]
    return b"\0".join([*(file.read_bytes() for file in files), *attributes])


async def test_no_key_is_written_anywhere(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        secrets = [CUSTOMERS]
        secret = NamespaceKey.load(tmp_path / "secret.key")
        await store.meta.encryption.create_encryption_key("a")
        for mode, more in ((MANAGED, {}), (KMS, {"key": "a"}), (CUSTOMER, {})):
            row, data_key = await put_sealed(store, mode, b"x" * 200_000, mode, **more)
            envelope = envelope_of(row.attributes)
            assert envelope is not None
            secrets += [data_key, store.vault._derived(envelope)]
        secrets.append(secret.derive(b"customer key check 1"))
    written = _everything(tmp_path)
    assert b"wrapped" in written
    for each in secrets:
        for form in (each, each.hex().encode(), b64encode(each).rstrip(b"=")):
            assert form not in written
