"""What a mount needs of a store, and the form in which it opens the store's disks itself.

The embedded form joins a running store as its gateway processes do: it reads bases and chunks from the disks, writes chunks to them, and
sends changes of metadata to the main process over its Unix socket. No S3 is spoken.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from meta.protocol.bucket import BucketSettings
from meta.protocol.folder import BROWSE_LIMIT_MAX, BrowsePage, Changes, Peek
from meta.protocol.identities import Account
from meta.protocol.object import NO_CONDITION, Attributes, Change, Condition, DeleteRequest, ObjectRow, Seen
from meta.protocol.registry import BucketEntry
from meta.protocol.restore import Restore
from node.errors import FrazilError, InvalidArgument, ObjectNotFound, Superseded
from rawx.protocol import VolumeStat
from store.copy import of_one_piece
from store.envelope import Envelope, envelope_of, without_envelope
from store.overlay import Patch
from store.parallel import gather
from store.source import BytesSource, Source
from store.store import Store
from store.together import Small
from store.window import Window

CHANGES_MAX = 5
"""Tries to change an object's attributes while others change them, too."""
ABSENT = Condition(if_none_match=("*",))
MakeSource = Callable[[], Source]
MakePatches = Callable[[], Sequence[Patch]]
"""Made anew each time that it is tried."""
Describe = Callable[[Attributes], Attributes]
"""The attributes that an object is to have, from those it has."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What S3 knows of buckets and this folder doesn't: how one encrypts what says nothing of it, and which names one may have."""

    default_envelope: Callable[[BucketSettings], Envelope | None]
    is_bucket_name: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Quota:
    """Bytes that a bucket may have, in all versions and unfinished uploads, and that it has."""

    total: int
    used: int


class Browse(Protocol):
    """Who can list folders."""

    async def browse(self, bucket: str, prefix: str, begin: str = "") -> BrowsePage:
        """Raises: BucketNotFound."""


class Connection(Protocol):
    """Raises, beside what each method says: Unavailable when the store doesn't answer, BucketNotFound."""

    async def buckets(self) -> list[BucketEntry]: ...

    async def settings(self, bucket: str) -> BucketSettings: ...

    async def peek(self, bucket: str, key: str) -> Peek: ...

    async def browse(self, bucket: str, prefix: str, begin: str = "", limit: int = BROWSE_LIMIT_MAX) -> BrowsePage: ...

    async def row(self, bucket: str, key: str) -> ObjectRow:
        """Raises: ObjectNotFound."""

    async def window(self, bucket: str, row: ObjectRow) -> AbstractAsyncContextManager[Window]:
        """Raises: EncryptionKeyDisabled, EncryptionKeyNotFound, CustomerKeyWrong."""

    async def put(
        self,
        bucket: str,
        key: str,
        source: MakeSource,
        attributes: Attributes,
        *,
        condition: Condition = NO_CONDITION,
        describe: Describe | None = None,
    ) -> ObjectRow:
        """A whole object, durable and visible at return. describe: its attributes once the last byte is there, where those may change.

        Raises: PreconditionFailed, QuotaExceeded, Locked, VolumeFull.
        """

    async def put_together(self, bucket: str, smalls: Sequence[Small]) -> list[ObjectRow | FrazilError]:
        """Small whole objects, each durable and visible at return, or why it is not stored."""

    async def rewrite(self, bucket: str, row: ObjectRow, source: MakePatches, size: int, describe: Describe) -> ObjectRow:
        """The version with some bytes changed, or of another size. Raises: as put; Conflict when another content has its key."""

    async def change(self, bucket: str, row: ObjectRow, describe: Describe) -> ObjectRow:
        """Other attributes for a version that is stored. Raises: ObjectNotFound, Superseded when another content has its key."""

    async def restore(self, bucket: str, row: ObjectRow, wish: Restore) -> None:
        """Asks for a version of a cold class. Raises: Superseded."""

    async def remove(self, bucket: str, key: str) -> None:
        """Raises: Locked."""

    async def remove_many(self, bucket: str, contents: Mapping[str, str]) -> dict[str, str]:
        """Keys that still have these contents, in one transaction; what was refused, with the reason."""

    async def changes(self, bucket: str, after: int) -> Changes:
        """What was changed in the bucket behind an entry of its log."""

    async def remove_folder(self, bucket: str, prefix: str) -> None:
        """Raises: ObjectNotFound, FolderNotEmpty, Locked."""

    async def move(self, bucket: str, source: str, target: str, *, replace: bool) -> None:
        """An object, or a folder by its prefix. Raises: ObjectNotFound, PreconditionFailed, AlreadyExists, FolderNotEmpty, Locked."""

    async def exchange(self, bucket: str, one: str, other: str) -> None:
        """Raises: ObjectNotFound, Locked."""

    async def make_bucket(self, bucket: str) -> BucketSettings:
        """Raises: BucketTaken, BucketOwned, InvalidArgument."""

    async def remove_bucket(self, bucket: str) -> None:
        """Raises: BucketNotEmpty."""

    async def volumes(self) -> list[VolumeStat]: ...

    async def quota(self, bucket: str) -> Quota | None:
        """None for a bucket that has none."""


class StoreConnection:
    """Implements Connection on a store that this process has opened. account: whose buckets are that it makes."""

    def __init__(self, store: Store, rules: Rules, account: Account) -> None:
        self._store, self._rules, self._account = store, rules, account

    def __repr__(self) -> str:
        return f"<StoreConnection {self._store!r}>"

    async def buckets(self) -> list[BucketEntry]:
        return await self._store.meta.accounts.buckets("")

    async def settings(self, bucket: str) -> BucketSettings:
        return await self._store.meta.container(bucket).settings()

    async def peek(self, bucket: str, key: str) -> Peek:
        return await self._store.meta.container(bucket).peek(key)

    async def browse(self, bucket: str, prefix: str, begin: str = "", limit: int = BROWSE_LIMIT_MAX) -> BrowsePage:
        return await self._store.meta.container(bucket).browse(prefix, begin, limit)

    async def row(self, bucket: str, key: str) -> ObjectRow:
        return await self._store.get_row(bucket, key)

    async def window(self, bucket: str, row: ObjectRow) -> AbstractAsyncContextManager[Window]:
        return self._store.window(row, bucket=bucket, data_key=await self._data_key(row))

    async def put(
        self,
        bucket: str,
        key: str,
        source: MakeSource,
        attributes: Attributes,
        *,
        condition: Condition = NO_CONDITION,
        describe: Describe | None = None,
    ) -> ObjectRow:
        settings = await self.settings(bucket)
        attributes = of_a_new_object(attributes)
        data_key, envelope = b"", self._rules.default_envelope(settings)
        if envelope is not None:
            envelope, data_key = await self._store.vault.seal(envelope)
            attributes = envelope.into(attributes)
        return await self._store.put_object(
            bucket, key, source(), attributes=attributes, owner=settings.owner, condition=condition, data_key=data_key, restate=describe
        )

    async def put_together(self, bucket: str, smalls: Sequence[Small]) -> list[ObjectRow | FrazilError]:
        settings = await self.settings(bucket)
        if self._rules.default_envelope(settings) is not None:
            return await gather([partial(self.put, bucket, each.key, partial(BytesSource, each.data), each.attributes) for each in smalls])
        plain = [Small(each.key, each.data, of_a_new_object(each.attributes)) for each in smalls]
        return await self._store.put_together(bucket, plain, owner=settings.owner)

    async def rewrite(self, bucket: str, row: ObjectRow, source: MakePatches, size: int, describe: Describe) -> ObjectRow:
        return await self._store.rewrite(bucket, row, source(), size, describe=describe, data_key=await self._data_key(row))

    async def change(self, bucket: str, row: ObjectRow, describe: Describe) -> ObjectRow:
        container = self._store.meta.container(bucket)
        for attempt in range(CHANGES_MAX):
            now = await container.get(row.key)
            if now.content != row.content:
                break
            wish = Change(row.key, attributes=describe(now.attributes), expect_content=now.content, expect_seq=now.seq)
            try:
                return await container.change(wish)
            except Superseded:
                if attempt == CHANGES_MAX - 1:
                    raise
        raise Superseded("another object has this name by now")

    async def restore(self, bucket: str, row: ObjectRow, wish: Restore) -> None:
        change = Change(row.key, row.version, restored=msgspec.to_builtins(wish), expect_content=row.content, expect_seq=row.seq)
        await self._store.change_cold(bucket, change)

    async def remove(self, bucket: str, key: str) -> None:
        settings = await self.settings(bucket)
        await self._store.delete_object(bucket, DeleteRequest(key, owner=settings.owner))

    async def remove_many(self, bucket: str, contents: Mapping[str, str]) -> dict[str, str]:
        settings = await self.settings(bucket)
        refused: dict[str, str] = {}
        for _ in range(CHANGES_MAX):
            wishes = [DeleteRequest(row.key, owner=settings.owner, seen=Seen(row.seq)) for row in await self._still(bucket, contents)]
            if not wishes:
                return refused
            results = await self._store.delete_objects(bucket, wishes)
            changed = {result.key for result in results if result.error == Superseded.__name__}
            refused |= {result.key: result.message or result.error for result in results if result.error and result.key not in changed}
            contents = {key: content for key, content in contents.items() if key in changed}
        return refused | dict.fromkeys(contents, "its attributes are changed again and again")

    async def _still(self, bucket: str, contents: Mapping[str, str]) -> list[ObjectRow]:
        """Of which no other object has the key by now."""
        rows: list[ObjectRow] = []
        for key, content in contents.items():
            with contextlib.suppress(ObjectNotFound):
                row = await self.row(bucket, key)
                if row.content == content:
                    rows.append(row)
        return rows

    async def changes(self, bucket: str, after: int) -> Changes:
        return await self._store.meta.container(bucket).follow(after)

    async def remove_folder(self, bucket: str, prefix: str) -> None:
        settings = await self.settings(bucket)
        await self._store.remove_folder(bucket, prefix, owner=settings.owner)

    async def move(self, bucket: str, source: str, target: str, *, replace: bool) -> None:
        if source.endswith("/"):
            settings = await self.settings(bucket)
            await self._store.move_folder(bucket, source, target, replace=replace, owner=settings.owner)
        else:
            await self._store.rename(bucket, source, target, condition=NO_CONDITION if replace else ABSENT)

    async def exchange(self, bucket: str, one: str, other: str) -> None:
        await self._store.exchange(bucket, one, other)

    async def make_bucket(self, bucket: str) -> BucketSettings:
        if not self._rules.is_bucket_name(bucket):
            raise InvalidArgument("a bucket's name has 3 to 63 small letters, digits, dots and dashes")
        settings = BucketSettings(bucket, self._account.account, self._account.user_id, time.time_ns() // 1_000)
        await self._store.meta.create_bucket(settings)
        return settings

    async def remove_bucket(self, bucket: str) -> None:
        await self._store.meta.remove_bucket(bucket)

    async def ask(self) -> None:
        """A question of nothing that the store's own process answers at once. Raises: Unavailable."""
        await self._store.meta.dirty_containers()

    async def volumes(self) -> list[VolumeStat]:
        return (await self._store.status()).volumes

    async def quota(self, bucket: str) -> Quota | None:
        total = (await self.settings(bucket)).quota_bytes
        if not total:
            return None
        counters = await self._store.meta.container(bucket).counters()
        return Quota(total, counters.used_bytes)

    async def _data_key(self, row: ObjectRow) -> bytes:
        envelope = envelope_of(row.attributes)
        return await self._store.vault.open(envelope) if envelope is not None else b""


def of_a_new_object(attributes: Attributes) -> Attributes:
    """Without what was said of the bytes that an object had before, and without its protection."""
    attributes = of_one_piece(without_envelope(attributes))
    return msgspec.structs.replace(attributes, retain_mode="", retain_until_us=0, legal_hold=None)
