"""A bucket's container in this process: the asynchronous face of the transaction functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import apsw

from meta import append as appending
from meta import browse as browsing
from meta import bucket, cold, holding, listing, pending
from meta import folder as folders
from meta import rename as renaming
from meta import rewrite as rewriting
from meta import upload as uploads
from meta import version as versions
from meta.base import Base, Underway
from meta.protocol.bucket import BucketSettings, Counters, LockSettings
from meta.protocol.container import ColdRows, DeleteResults, Deletions, Holders, Holdings, PutOutcomes, RecordsToSync
from meta.protocol.folder import BROWSE_LIMIT_MAX, BrowsePage, Changes, Moved, Peek
from meta.protocol.holding import Claim, Cursor, Holding, Refill
from meta.protocol.listing import LIST_LIMIT_MAX, ListPage, ListRequest
from meta.protocol.object import (
    NO_CONDITION,
    Append,
    Change,
    Condition,
    DeleteRequest,
    DeleteResult,
    Dropped,
    ObjectRow,
    PutResult,
    Rewrite,
)
from meta.protocol.restore import COLD_BEGIN, ColdCursor
from meta.protocol.upload import Complete, PartPage, PartRow, UploadPage, UploadRow
from meta.recent import Recent
from meta.refill import refill
from meta.transaction import ContainerTransaction, read_settings
from meta.vicinity import Vicinity
from node.errors import BaseNotFound, BucketNotFound, InvalidArgument

P = ParamSpec("P")
R = TypeVar("R")


class Bases(Protocol):
    """Where containers find their bases."""

    recent: Recent
    vicinity: Vicinity

    def state(self, bucket: str) -> bytes | None:
        """Base.state of the bucket's base, None when it is not open."""

    def opened(self, bucket: str) -> Base[ContainerTransaction]:
        """The bucket's base, whether its file is there or not."""

    def reopened(self, bucket: str) -> Base[ContainerTransaction]:
        """The same, but certainly of the file that has the name now: another process may have replaced it."""

    def sole(self, bucket: str) -> Base[ContainerTransaction] | None:
        """The bucket's base if it is open and no other process writes it."""

    async def writable(self, bucket: str, *, create: bool = False) -> Base[ContainerTransaction]:
        """The same, after it is on record that the bucket may have work to do; makes the file only with `create`."""


class LocalContainer:
    """Implements meta.protocol.container.Container. A handle without state, but for what it remembers."""

    def __init__(self, bases: Bases, name: str) -> None:
        self._bases = bases
        self._name = name
        self._settings: tuple[bytes | None, BucketSettings] | None = None
        self._peeked: tuple[bytes | None, str, Peek] = None, "", Peek()  # a kernel looks a name up, and then does something with it

    def __repr__(self) -> str:
        return f"<LocalContainer {self._name}>"

    def _read(self, function: Callable[Concatenate[apsw.Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return self._bases.opened(self._name).read(function, *args, **kwargs)
        except (BucketNotFound, BaseNotFound):
            pass
        except UnicodeEncodeError as error:
            raise InvalidArgument("names and keys are valid UTF-8") from error
        try:
            return self._bases.reopened(self._name).read(function, *args, **kwargs)
        except BaseNotFound as error:
            raise BucketNotFound("there is no such bucket") from error

    async def _write(self, function: Callable[Concatenate[ContainerTransaction, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        base = await self._bases.writable(self._name)
        return await base.write(function, *args, **kwargs)

    async def _write_settings(self, function: Callable[Concatenate[ContainerTransaction, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What is remembered of the settings is forgotten before the change is answered."""
        base = await self._bases.writable(self._name)
        try:
            return await base.write(function, *args, **kwargs)
        finally:
            base.memo = None

    async def create(self, settings: BucketSettings) -> None:
        """`Meta.create_bucket` does more than this: it also registers the name."""
        base = await self._bases.writable(self._name, create=True)
        try:
            await base.write(bucket.create, settings)
        finally:
            base.memo = None

    async def settings(self) -> BucketSettings:
        base = self._bases.sole(self._name)
        if base is None:
            return self._settings_beside_another()
        settings: BucketSettings = base.memo or self._read(read_settings)
        base.memo = settings
        return settings

    def _settings_beside_another(self) -> BucketSettings:
        """In a process that does not write, which must look whether another has."""
        state = self._bases.state(self._name)
        if state is None or self._settings is None or self._settings[0] is not state:
            self._settings = state, self._read(read_settings)
        return self._settings[1]

    async def change_settings(
        self,
        *,
        versioning: str | None = None,
        acl: str | None = None,
        documents: dict[str, str | None] | None = None,
        lock: LockSettings | None = None,
        quota_bytes: int | None = None,
    ) -> BucketSettings:
        return await self._write_settings(bucket.change_settings, versioning, acl, documents, lock, quota_bytes)

    async def destroy(self) -> None:
        await self._write_settings(bucket.destroy)

    async def get(self, key: str, version: int | None = None) -> ObjectRow:
        place, state = (self._name, key, version), self._bases.state(self._name)
        row = self._bases.recent.get(place, state)
        if row is None:
            row = self._read(versions.get, key, version)
            self._bases.recent.put(place, state, row)
        return row

    async def put(self, row: ObjectRow, condition: Condition = NO_CONDITION) -> PutResult:
        return await self._write(versions.put, row, condition)

    async def put_many(self, rows: Sequence[ObjectRow]) -> PutOutcomes:
        return await self._write(versions.put_many, rows)

    async def put_again(self, row: ObjectRow, condition: Condition = NO_CONDITION) -> PutResult:
        return await self._write(versions.put_again, row, condition)

    async def put_job(self, row: ObjectRow, condition: Condition) -> Underway:
        """`put` for a relay (node/lane.py), whose result is PutResult or what `put` raises."""
        base = await self._bases.writable(self._name)
        return base.job(versions.put, row, condition)

    async def delete(self, request: DeleteRequest) -> DeleteResult:
        return await self._write(versions.delete, request)

    async def delete_many(self, requests: Sequence[DeleteRequest]) -> DeleteResults:
        return await self._write(versions.delete_many, requests)

    async def list(self, request: ListRequest) -> ListPage:
        return self._read(listing.list_page, request)

    async def browse(self, prefix: str, begin: str = "", limit: int = BROWSE_LIMIT_MAX) -> BrowsePage:
        return self._read(browsing.browse, prefix, begin, limit)

    async def peek(self, key: str) -> Peek:
        state = self._bases.state(self._name)
        if state is not None and self._peeked[0] is state and self._peeked[1] == key:
            return self._peeked[2]
        found = self._bases.vicinity.get(key, state) or self._look(key, state)
        self._peeked = state, key, found
        if found.row is not None:  # who looked a name up may open it next
            self._bases.recent.put((self._name, key, None), state, found.row)
        return found

    def _look(self, key: str, state: bytes | None) -> Peek:
        vicinity = self._bases.vicinity
        wished = vicinity.wished(self._name, key)
        if wished and state is not None:
            vicinity.put(key, state, self._read(browsing.stretch, key, wished))
            found = vicinity.get(key, state)
            if found is not None:
                return found
        return self._read(browsing.peek, key)

    async def follow(self, after: int) -> Changes:
        return self._read(browsing.changes, after)

    async def change(self, change: Change) -> ObjectRow:
        return await self._write(versions.change, change)

    async def rename(
        self,
        source: str,
        target: str,
        *,
        condition: Condition = NO_CONDITION,
        source_condition: Condition = NO_CONDITION,
        token: str = "",
    ) -> PutResult:
        return await self._write(renaming.rename, source, target, condition, source_condition, token)

    async def append(self, request: Append) -> PutResult:
        return await self._write(appending.append, request)

    async def rewrite(self, request: Rewrite) -> PutResult:
        return await self._write(rewriting.rewrite, request)

    async def rename_prefix(self, source: str, target: str, *, replace: bool) -> int:
        return await self._write(renaming.rename_prefix, source, target, replace)

    async def move_folder(self, source: str, target: str, *, replace: bool, owner: str = "") -> Moved:
        return await self._write(folders.move_folder, source, target, replace, owner)

    async def exchange(self, one: str, other: str) -> Moved:
        return await self._write(folders.exchange, one, other)

    async def remove_folder(self, prefix: str, owner: str = "") -> DeleteResult:
        return await self._write(folders.remove_folder, prefix, owner)

    async def create_upload(self, row: UploadRow) -> UploadRow:
        return await self._write(uploads.create, row)

    async def get_upload(self, key: str, upload: str) -> UploadRow:
        return self._read(uploads.get, key, upload)

    async def put_part(self, key: str, upload: str, part: PartRow) -> tuple[Dropped, ...]:
        return await self._write(uploads.put_part, key, upload, part)

    async def list_parts(self, key: str, upload: str, after: int = 0, limit: int = LIST_LIMIT_MAX, *, layouts: bool = False) -> PartPage:
        return self._read(uploads.list_parts, key, upload, after, limit, layouts)

    async def list_uploads(self, request: ListRequest, upload_after: str = "") -> UploadPage:
        return self._read(uploads.list_uploads, request, upload_after)

    async def complete_upload(self, request: Complete) -> PutResult:
        return await self._write(uploads.complete, request)

    async def abort_upload(self, key: str, upload: str) -> tuple[Dropped, ...]:
        return await self._write(uploads.abort, key, upload)

    async def deletions(self, limit: int, after: int = 0) -> Deletions:
        return self._read(pending.deletions, limit, after)

    async def deletions_done(self, ids: Sequence[int]) -> None:
        await self._write(pending.deletions_done, ids)

    async def add_deletion(self, layout: bytes) -> Dropped:
        return await self._write(pending.add_deletion, layout)

    async def records_to_sync(self, limit: int, after: int = 0) -> RecordsToSync:
        return self._read(pending.records_to_sync, limit, after)

    async def records_synced(self, ids: Sequence[int]) -> None:
        await self._write(pending.records_synced, ids)

    async def cold_due(self, until_us: int, limit: int, after: ColdCursor = COLD_BEGIN) -> ColdRows:
        return self._read(cold.due, until_us, limit, after)

    async def cold_done(self, places: Sequence[tuple[str, int, int]]) -> None:
        await self._write(cold.done, places)

    async def knows(self, key: str, content: str) -> bool:
        return self._read(pending.knows, key, content)

    async def counters(self) -> Counters:
        return self._read(pending.counters)

    async def walk(self, cursor: Cursor, limit: int) -> Holdings:
        return self._read(holding.walk, cursor, limit)

    async def holders(self, claims: Sequence[Claim]) -> Holders:
        return self._read(holding.holders, claims)

    async def relocate(
        self, holder: Holding, layout: bytes, drop: bytes = b"", *, stale: bool = False, policy: str = ""
    ) -> tuple[Dropped, ...]:
        return await self._write(holding.relocate, holder, layout, drop, stale, policy)

    async def restale(self, key: str, version: int) -> bool:
        return await self._write(holding.restale, key, version)

    async def refill(self, batch: Refill) -> None:
        await self._write(refill, batch)
