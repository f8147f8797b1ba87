"""What a mount needs of a store, and the form in which it opens the store's disks itself.

The embedded form joins a running store as its gateway processes do: it reads bases and chunks from the disks, writes chunks to them, and
sends changes of metadata to the main process over its Unix socket. No S3 is spoken.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from meta.protocol.bucket import BucketSettings
from meta.protocol.folder import BrowsePage, Peek
from meta.protocol.object import ObjectRow
from meta.protocol.registry import BucketEntry
from rawx.protocol import VolumeStat
from store.envelope import envelope_of
from store.store import Store
from store.window import Window


class Connection(Protocol):
    """Raises, beside what each method says: Unavailable when the store doesn't answer."""

    async def buckets(self) -> list[BucketEntry]: ...

    async def settings(self, bucket: str) -> BucketSettings:
        """Raises: BucketNotFound."""

    async def peek(self, bucket: str, key: str) -> Peek:
        """Raises: BucketNotFound."""

    async def browse(self, bucket: str, prefix: str, begin: str) -> BrowsePage:
        """Raises: BucketNotFound."""

    async def row(self, bucket: str, key: str) -> ObjectRow:
        """Raises: BucketNotFound, ObjectNotFound."""

    async def window(self, bucket: str, row: ObjectRow) -> AbstractAsyncContextManager[Window]:
        """Raises: EncryptionKeyDisabled, EncryptionKeyNotFound, CustomerKeyWrong."""

    async def volumes(self) -> list[VolumeStat]: ...


class StoreConnection:
    """Implements Connection on a store that this process has opened."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        return f"<StoreConnection {self._store!r}>"

    async def buckets(self) -> list[BucketEntry]:
        return await self._store.meta.accounts.buckets("")

    async def settings(self, bucket: str) -> BucketSettings:
        return await self._store.meta.container(bucket).settings()

    async def peek(self, bucket: str, key: str) -> Peek:
        return await self._store.meta.container(bucket).peek(key)

    async def browse(self, bucket: str, prefix: str, begin: str) -> BrowsePage:
        return await self._store.meta.container(bucket).browse(prefix, begin)

    async def row(self, bucket: str, key: str) -> ObjectRow:
        return await self._store.get_row(bucket, key)

    async def window(self, bucket: str, row: ObjectRow) -> AbstractAsyncContextManager[Window]:
        envelope = envelope_of(row.attributes)
        data_key = await self._store.vault.open(envelope) if envelope is not None else b""
        return self._store.window(row, bucket=bucket, data_key=data_key)

    async def volumes(self) -> list[VolumeStat]:
        return (await self._store.status()).volumes
