"""The door to one bucket's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from meta.protocol.bucket import BucketSettings, Counters, LockSettings
from meta.protocol.folder import BROWSE_LIMIT_MAX, BrowsePage, Changes, Moved, Peek
from meta.protocol.holding import Claim, Cursor, Holding, RecordToSync, Refill
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
    PutOutcome,
    PutResult,
    Rewrite,
)
from meta.protocol.restore import COLD_BEGIN, ColdCursor, ColdRow
from meta.protocol.upload import Complete, PartPage, PartRow, UploadPage, UploadRow

Holdings = list[Holding]
Holders = list[Holding | None]
DeleteResults = list[DeleteResult]
PutOutcomes = list[PutOutcome]
Deletions = list[Dropped]
ColdRows = list[ColdRow]
RecordsToSync = list[RecordToSync]
"""Spelled out here because Container has a method named list."""


class Container(Protocol):
    """One bucket's metadata. Each method is one transaction (reads: one snapshot). All raise BucketNotFound without such a bucket."""

    async def create(self, settings: BucketSettings) -> None:
        """Raises: BucketOwned, BucketTaken."""

    async def settings(self) -> BucketSettings: ...

    async def change_settings(
        self,
        *,
        versioning: str | None = None,
        acl: str | None = None,
        documents: dict[str, str | None] | None = None,
        lock: LockSettings | None = None,
        quota_bytes: int | None = None,
    ) -> BucketSettings:
        """None leaves as it is; a document of None is removed, a quota by 0. A quota below what the bucket holds takes nothing away.

        Raises: InvalidArgument; InvalidBucketState where object lock and versioning disagree.
        """

    async def destroy(self) -> None:
        """Only when no version or marker is left; uploads in progress are aborted. Raises: BucketNotEmpty."""

    async def get(self, key: str, version: int | None = None) -> ObjectRow:
        """version as in DeleteRequest. A delete marker is returned as a row with marker set. Raises: ObjectNotFound, VersionNotFound."""

    async def put(self, row: ObjectRow, condition: Condition = NO_CONDITION) -> PutResult:
        """Version, null and mtime are decided here by the bucket's versioning.

        The chunks' records were written before and say row.version and row.null. So a wished version is kept when it is larger than every
        version of that key (concurrent puts of other keys may commit in any order); when version or null come out otherwise, the row
        joins the records to sync. A negative wish is never kept: the records name no version yet (completed uploads).

        Raises: PreconditionFailed, ObjectNotFound, Locked, QuotaExceeded.
        """

    async def put_many(self, rows: Sequence[ObjectRow]) -> PutOutcomes:
        """Unconditional puts in one transaction, each of which is done or refused by itself."""

    async def put_again(self, row: ObjectRow, condition: Condition = NO_CONDITION) -> PutResult:
        """A put whose answer was lost: tells what came of it; when it surely came to nothing, does it now.

        To be asked when the first call can't be carried out any more. Raises: as put; Forgotten when it can't tell: the content may have
        been stored and be gone again, its chunks with it.
        """

    async def delete(self, request: DeleteRequest) -> DeleteResult:
        """Raises: PreconditionFailed, Locked. A missing key or version is no error.

        A marker that is made has no layout yet and joins the records to sync: who syncs writes a chunk without bytes for its record and
        names it by `change` (layout), which does not make the record stale again.
        """

    async def delete_many(self, requests: Sequence[DeleteRequest]) -> DeleteResults: ...

    async def list(self, request: ListRequest) -> ListPage: ...

    async def browse(self, prefix: str, begin: str = "", limit: int = BROWSE_LIMIT_MAX) -> BrowsePage:
        """The visible objects and folders directly below a prefix ("" or one that ends in FOLDER_END), from the key `begin` on."""

    async def peek(self, key: str) -> Peek: ...

    async def follow(self, after: int) -> Changes:
        """Which keys were changed behind that entry of the log; -1: only where the log is now."""

    async def change(self, change: Change) -> ObjectRow:
        """Raises: ObjectNotFound, VersionNotFound, IsDeleteMarker, InvalidBucketState, Locked, Superseded."""

    async def rename(
        self,
        source: str,
        target: str,
        *,
        condition: Condition = NO_CONDITION,
        source_condition: Condition = NO_CONDITION,
        token: str = "",
    ) -> PutResult:
        """Current version of one key gets another key; an object at the target is replaced as by put.

        With the token of an earlier call that succeeded, within a day, its result is answered again and nothing done.
        Raises: ObjectNotFound, PreconditionFailed, Locked, QuotaExceeded; TokenReused when that call said something else.
        """

    async def append(self, request: Append) -> PutResult:
        """Raises: Superseded; and as put."""

    async def rewrite(self, request: Rewrite) -> PutResult:
        """dropped: also what of the object's own chunks is not its any more. Raises: Superseded; and as put."""

    async def rename_prefix(self, source: str, target: str, *, replace: bool) -> int:
        """Every current object under a prefix, one transaction; returns how many.

        Raises: AlreadyExists when a target is taken and not `replace`.
        """

    async def move_folder(self, source: str, target: str, *, replace: bool, owner: str = "") -> Moved:
        """Every current object under a prefix that ends in FOLDER_END, one transaction. replace: an empty folder at the target.

        Raises: ObjectNotFound, AlreadyExists, FolderNotEmpty, Locked.
        """

    async def exchange(self, one: str, other: str) -> Moved:
        """Objects, or folders by their prefixes, get each other's names. Raises: ObjectNotFound, Locked."""

    async def remove_folder(self, prefix: str, owner: str = "") -> DeleteResult:
        """The object that stands for an empty folder. Raises: ObjectNotFound, FolderNotEmpty, Locked."""

    async def create_upload(self, row: UploadRow) -> UploadRow: ...

    async def get_upload(self, key: str, upload: str) -> UploadRow: ...

    async def put_part(self, key: str, upload: str, part: PartRow) -> tuple[Dropped, ...]:
        """Replaces an earlier part of that number. Raises: UploadNotFound, QuotaExceeded."""

    async def list_parts(self, key: str, upload: str, after: int = 0, limit: int = LIST_LIMIT_MAX, *, layouts: bool = False) -> PartPage:
        """layouts: with the parts' layouts, for completion."""

    async def list_uploads(self, request: ListRequest, upload_after: str = "") -> UploadPage: ...

    async def complete_upload(self, request: Complete) -> PutResult:
        """Also answers a repeated completion of the same upload with the first result, for a day.

        The finished row joins the records to sync: its chunks still say that they are parts of an upload.

        Raises: UploadNotFound, Superseded, and as put.
        """

    async def abort_upload(self, key: str, upload: str) -> tuple[Dropped, ...]: ...

    async def deletions(self, limit: int, after: int = 0) -> Deletions:
        """Contents whose chunks are still to be deleted, oldest first, those behind the id `after`."""

    async def deletions_done(self, ids: Sequence[int]) -> None: ...

    async def add_deletion(self, layout: bytes) -> Dropped:
        """Remembers chunks that some caller could not delete."""

    async def records_to_sync(self, limit: int, after: int = 0) -> RecordsToSync:
        """Oldest first, those behind the id `after`."""

    async def records_synced(self, ids: Sequence[int]) -> None: ...

    async def cold_due(self, until_us: int, limit: int, after: ColdCursor = COLD_BEGIN) -> ColdRows:
        """Versions of cold classes with something to be done, due until then, the earliest first."""

    async def cold_done(self, places: Sequence[tuple[str, int, int]]) -> None:
        """(key, version, seq) of versions that are taken care of, unless they were changed meanwhile."""

    async def knows(self, key: str, content: str) -> bool:
        """Whether a version of any key, a part or a pending deletion names this content (key is a hint)."""

    async def counters(self) -> Counters: ...

    async def walk(self, cursor: Cursor, limit: int) -> Holdings:
        """All that names chunks: versions in order of key and age, then parts of uploads. The last one's cursor goes on."""

    async def holders(self, claims: Sequence[Claim]) -> Holders:
        """What names each content; None: nothing does."""

    async def relocate(
        self, holder: Holding, layout: bytes, drop: bytes = b"", *, stale: bool = False, policy: str = ""
    ) -> tuple[Dropped, ...]:
        """The same content lies elsewhere now, if it is still where `holder` says; drop: layout of chunks that are to be deleted.

        policy: the version's storage policy from now on, "" when it stays.

        stale: the new chunks' records may be older than the row; they are as well when the row was changed since `holder` was read.

        Raises: Superseded.
        """

    async def restale(self, key: str, version: int) -> bool:
        """The version's records are to be written again; False when they are to be anyway, or it is gone."""

    async def refill(self, batch: Refill) -> None:
        """Adds rows as they are, with their sums: for a rebuild into a new bucket. Raises: AlreadyExists."""
