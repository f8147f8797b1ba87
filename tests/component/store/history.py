"""A store's life in short: objects of all kinds and changes of all kinds, by seed."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import msgspec

from meta.protocol.accounts import KeyPair
from meta.protocol.bucket import BucketSettings
from meta.protocol.listing import ListRequest
from meta.protocol.object import Attributes, Change, DeleteRequest, ObjectRow
from meta.protocol.restore import COLD_CLASSES, Restore, without_restore
from meta.protocol.upload import UploadRow
from node.errors import ContentCold
from store.copy import CopyKeys
from store.envelope import KMS, MANAGED, Envelope, envelope_of
from store.overlay import Patch
from store.source import BytesSource
from store.store import Store
from tests.component.store.support import read, until_none

SIZES = (0, 1, 100, 4_096, 131_072, 131_073, 1_500_000)
PART_BYTES = 5 << 20


async def quiet(store: Store) -> None:
    """Until the workers have done all there was to do. Nobody freezes anything here: cold rows are left as they are."""
    for entry in await store.meta.accounts.buckets(""):
        container = store.meta.container(entry.bucket)
        while found := await container.cold_due(1 << 60, 1_000):
            await container.cold_done([(each.row.key, each.row.version, each.row.seq) for each in found])
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
        others = (self.change, self.freeze, self.copy, self.rename, self.delete, self.append, self.append, self.rewrite)
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
                await meta.container(name).change_settings(versioning="Enabled", documents={"cors": "<é/>"}, quota_bytes=1 << 40)
            if versioning == "Suspended":
                self.bucket = name
                for _ in range(5):
                    await self.put()
                await meta.container(name).change_settings(versioning=versioning)
        self.bucket = "plain"

    def key(self) -> str:
        if self.keys and self.rng.random() < 0.3:
            return self.rng.choice(self.keys)
        text = self.rng.choice(("k", "ordner/ключ/", "\U0001f9ca", "a//b/", "ü" * 509)) + f"{self.rng.randrange(10**6):06}"
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

    async def freeze(self) -> None:
        """Another class, or a restore of one that is cold."""
        row = await self.existing()
        if row is not None and row.storage_class in COLD_CLASSES:
            restore = Restore(3, "Bulk", 5, self.rng.choice((0, 1 << 50)))
            await self.store.change_cold(self.bucket, Change(row.key, restored=msgspec.to_builtins(restore)))
        elif row is not None:
            await self.store.change_cold(self.bucket, Change(row.key, storage_class=self.rng.choice(("GLACIER", "GLACIER", "STANDARD_IA"))))

    async def copy(self) -> None:
        row = await self.existing()
        if row is not None:
            old = without_restore(row.attributes)
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
            with self.refused_if_cold(row):
                await self.store.append_object(self.bucket, row, source, combine=lambda _old, _summary: {}, data_key=data_key)

    async def rewrite(self) -> None:
        row = await self.existing()
        if row is not None:
            patches = [Patch(at, BytesSource(self.rng.randbytes(100))) for at in sorted({self.rng.randrange(row.size + 1), row.size + 100})]
            patches = patches if patches[-1].start - patches[0].start >= 100 else patches[:1]
            with self.refused_if_cold(row):
                await self.store.rewrite(self.bucket, row, patches, data_key=await data_key_of(self.store, row))

    @contextmanager
    def refused_if_cold(self, row: ObjectRow) -> Iterator[None]:
        try:
            yield
        except ContentCold:
            assert row.storage_class in COLD_CLASSES

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
