"""What the metadata services answer, and in which words; the same in this process and over HTTP.

Values are msgspec structs (msgpack on the wire). `layout` is the encoded content layout: opaque here, store/layout.py reads it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import msgspec

LIST_LIMIT_MAX = 1_000
DELETE_MANY_MAX = 1_000
PARTS_MAX = 10_000
SYSTEM_BUCKET = ".frazil"
"""No bucket of S3's (the name is none there) and in no list: its objects repeat what else no chunk would know, see store/keepsake.py."""


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """Checked inside the transaction against the current version of the key; PreconditionFailed (or ObjectNotFound) when it does not hold.

    if_match        the current ETag must be one of these ("*": there must be an object)
    if_none_match   the current ETag must be none of these ("*": there must be no object)
    size, mtime_us  AWS's If-Match-Size and If-Match-Last-Modified-Time on deletes
    modified_since_us, unmodified_since_us  HTTP's conditions by time; one by ETag beside it takes its place (RFC 9110 13.2.2)
    Of times the whole seconds count.
    """

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    size: int | None = None
    mtime_us: int | None = None
    modified_since_us: int | None = None
    unmodified_since_us: int | None = None


NO_CONDITION = Condition()


class Attributes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a version says beside its columns; also goes into the chunks' records.

    type       Content-Type
    headers    the other standard headers kept with the object, lower-case names
    metadata   x-amz-meta-*, names without the prefix, lower-case
    tags       object tags
    checksums  algorithm ("crc32", "sha256", ...: s3/checksum.py) to base64 value; a composite one ends in "-N"
    checksum_type  "FULL_OBJECT" or "COMPOSITE" when there are checksums
    acl        "private", "public-read" (a canned name; a document later)
    parts      size of each part when the object was uploaded in parts;  part_checksums: theirs, in order
    retain_mode, retain_until_us   object lock: "GOVERNANCE" or "COMPLIANCE", and the time it ends; legal_hold: None when never set
    extra      for parts to come (encryption, restore state), by name
    """

    type: str = ""
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    tags: dict[str, str] = {}
    checksums: dict[str, str] = {}
    checksum_type: str = ""
    acl: str = "private"
    parts: tuple[int, ...] = ()
    part_checksums: tuple[str, ...] = ()
    retain_mode: str = ""
    retain_until_us: int = 0
    legal_hold: bool | None = None
    extra: dict[str, Any] = {}


class ObjectRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of a key.

    version   microseconds of its commit, unique and growing per key; also its place in time. In a put a wish, see `Container.put` (0: none)
    null      it is S3's "null" version (written while versioning was not enabled); in a put a guess, see `Container.put`
    marker    a delete marker: no content
    content   id of the content ("" for a marker);  layout: where its bytes are (empty object, marker: where its record is)
    seq       number of the latest change of this row, goes into the chunks' records
    owner     canonical id
    """

    key: str
    version: int = 0
    null: bool = True
    marker: bool = False
    size: int = 0
    etag: str = ""
    mtime_us: int = 0
    storage_class: str = "STANDARD"
    policy: str = ""
    owner: str = ""
    content: str = ""
    layout: bytes = b""
    seq: int = 0
    attributes: Attributes = Attributes()


class Dropped(msgspec.Struct, frozen=True):
    """A content that no row names any more; its chunks are to be deleted. It stays in the container's list until `deletions_done`."""

    id: int
    layout: bytes


class PutResult(msgspec.Struct, frozen=True):
    """version and null as stored; dropped: what the new row replaced (unversioned or null version)."""

    version: int
    null: bool
    mtime_us: int
    dropped: tuple[Dropped, ...] = ()


class DeleteRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """version None: the key as S3 means it (a marker where versioning is on); 0: the null version; else that version.
    marker_layout: layout of the record's chunk for the delete marker that may be made."""

    key: str
    version: int | None = None
    condition: Condition = NO_CONDITION
    owner: str = ""
    bypass_governance: bool = False


class DeleteResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """version: of the marker made or of the version deleted (0 and null when nothing was there); marker: it is or was a delete marker;
    error: code of the refusal when many are deleted at once ("" = done)."""

    key: str
    version: int = 0
    null: bool = False
    made_marker: bool = False
    was_marker: bool = False
    dropped: tuple[Dropped, ...] = ()
    error: str = ""
    message: str = ""


class Listed(msgspec.Struct, frozen=True, array_like=True):
    """A row of a listing; only what S3's listings show."""

    key: str
    version: int
    null: bool
    marker: bool
    latest: bool
    size: int
    etag: str
    mtime_us: int
    storage_class: str
    owner: str
    checksum_algorithm: str = ""
    checksum_type: str = ""


class ListRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """after: only keys (or common prefixes) behind this one, exclusive. versions: all versions and markers, else only visible objects.
    after_version: with versions, only versions of key `after` older than this one are still to come (None: none of them)."""

    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    after_version: int | None = None
    limit: int = LIST_LIMIT_MAX
    versions: bool = False


class ListPage(msgspec.Struct, frozen=True):
    """rows and prefixes, both in order, together at most `limit`. next_after/next_version continue the listing when truncated."""

    rows: list[Listed]
    prefixes: list[str]
    truncated: bool
    next_after: str = ""
    next_version: int | None = None


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """Change of one version in place (no new version); None leaves a field as it is.

    expect_content, expect_seq: refused with Superseded when the version has others by now."""

    key: str
    version: int | None = None
    tags: dict[str, str] | None = None
    acl: str | None = None
    retain_mode: str | None = None
    retain_until_us: int | None = None
    legal_hold: bool | None = None
    bypass_governance: bool = False
    attributes: Attributes | None = None
    layout: bytes | None = None
    expect_content: str | None = None
    expect_seq: int | None = None


class UploadRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A multipart upload in progress. upload: its id (32 hex); attributes and class are what the object will have."""

    upload: str
    key: str
    started_us: int = 0
    owner: str = ""
    storage_class: str = "STANDARD"
    policy: str = ""
    checksum_algorithm: str = ""
    checksum_type: str = ""
    attributes: Attributes = Attributes()


class PartRow(msgspec.Struct, frozen=True, omit_defaults=True):
    part: int
    size: int
    etag: str
    content: str
    layout: bytes = b""
    mtime_us: int = 0
    checksums: dict[str, str] = {}


class UploadPage(msgspec.Struct, frozen=True):
    uploads: list[UploadRow]
    prefixes: list[str]
    truncated: bool
    next_key: str = ""
    next_upload: str = ""


class PartPage(msgspec.Struct, frozen=True):
    upload: UploadRow
    parts: list[PartRow]
    truncated: bool


class Complete(msgspec.Struct, frozen=True, omit_defaults=True):
    """Completion: `row` is the finished object; `parts` are (number, content) as the
    caller read them: Superseded when they changed since, or when some were moved: `digest` is parts_digest of their layouts."""

    upload: str
    row: ObjectRow
    parts: tuple[tuple[int, str], ...]
    condition: Condition = NO_CONDITION
    digest: bytes = b""


def parts_digest(layouts: Iterable[bytes]) -> bytes:
    """Of the layouts of all parts that make an object, in their order."""
    digest = hashlib.sha256()
    for layout in layouts:
        digest.update(len(layout).to_bytes(4, "big") + layout)
    return digest.digest()


class Append(msgspec.Struct, frozen=True, omit_defaults=True):
    """`row` is the object as it is to be, its version a wish as in a put.

    contents    ids of what is written for it: the new bytes, before them the copy of the old ones unless `in_place`
    in_place    the null version itself grows; else a new version is made
    expect_seq  of the row that was read: Superseded when it is another by now
    """

    row: ObjectRow
    contents: tuple[str, ...]
    expect_seq: int
    in_place: bool
    condition: Condition = NO_CONDITION


class Restored(msgspec.Struct, frozen=True, omit_defaults=True):
    """A version as its chunks tell it. parts: ids of the parts' contents, comma between; moved: some chunk still names another key."""

    row: ObjectRow
    parts: str = ""
    moved: bool = False


class Refill(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rows for a container that is rebuilt. parts: (upload, part); deletions: layouts; stale: (key, version) whose records differ;
    seq: the highest number that any record names."""

    objects: tuple[Restored, ...] = ()
    uploads: tuple[UploadRow, ...] = ()
    parts: tuple[tuple[str, PartRow], ...] = ()
    deletions: tuple[bytes, ...] = ()
    stale: tuple[tuple[str, int], ...] = ()
    seq: int = 0


class DefaultRetention(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a new version gets that brings no retention: a mode, and a period in days or else in years."""

    mode: str
    days: int = 0
    years: int = 0


class LockSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """A bucket's object lock configuration; once there, it can be changed but not be removed."""

    default: DefaultRetention | None = None


class BucketSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """versioning: "", "Enabled", "Suspended"; acl as in Attributes; quota_bytes 0 = none; object_lock: only with versioning "Enabled";
    documents: what S3 keeps per bucket (policy, cors, lifecycle, tagging ...), by name, as the gateway wrote them."""

    bucket: str
    account: str
    owner: str
    created_us: int
    region: str = ""
    versioning: str = ""
    acl: str = "private"
    object_lock: bool = False
    default_retention: DefaultRetention | None = None
    quota_bytes: int = 0
    documents: dict[str, str] = {}


class RecordToSync(msgspec.Struct, frozen=True):
    """A row whose chunks' records are out of date; `row` is the row as it is now (None: gone meanwhile, nothing to do).

    about_bucket: it is the bucket's settings that changed, to `settings`, or the bucket was removed (None).
    """

    id: int
    row: ObjectRow | None
    about_bucket: bool = False
    settings: BucketSettings | None = None


class Counters(msgspec.Struct, frozen=True):
    """Per storage class: (versions with content, their bytes); markers; uploads in progress and their parts' bytes."""

    classes: dict[str, tuple[int, int]]
    markers: int = 0
    uploads: int = 0
    upload_bytes: int = 0


class Cursor(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a walk goes on: behind this version, or, once all versions are done, behind this part of an upload."""

    key: str = ""
    version: int = 0
    upload: str = ""
    part: int = 0


BEGIN = Cursor()


class Holding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What names a content: a version (`row`), or a part of an upload (`upload`, `part`). With neither it waits for its deletion."""

    key: str
    layout: bytes
    row: ObjectRow | None = None
    upload: str = ""
    part: PartRow | None = None

    @property
    def cursor(self) -> Cursor:
        if self.part is not None:
            return Cursor(upload=self.upload, part=self.part.part)
        return Cursor(self.key, self.row.version if self.row is not None else 0)


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a chunk says of itself; version: of a delete marker, whose row names no content."""

    key: str
    content: str
    version: int = 0


Holdings = list[Holding]
Holders = list[Holding | None]
DeleteResults = list[DeleteResult]
Deletions = list[Dropped]
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
    ) -> BucketSettings:
        """None leaves as it is; a document of None is removed. Raises: InvalidBucketState where object lock and versioning disagree."""

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

    async def delete(self, request: DeleteRequest) -> DeleteResult:
        """Raises: PreconditionFailed, Locked. A missing key or version is no error.

        A marker that is made has no layout yet and joins the records to sync: who syncs writes a chunk without bytes for its record and
        names it by `change` (layout), which does not make the record stale again.
        """

    async def delete_many(self, requests: Sequence[DeleteRequest]) -> DeleteResults: ...

    async def list(self, request: ListRequest) -> ListPage: ...

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

    async def rename_prefix(self, source: str, target: str, *, replace: bool) -> int:
        """Every current object under a prefix, one transaction; returns how many.

        Raises: AlreadyExists when a target is taken and not `replace`.
        """

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

    async def knows(self, key: str, content: str) -> bool:
        """Whether a version of any key, a part or a pending deletion names this content (key is a hint)."""

    async def counters(self) -> Counters: ...

    async def walk(self, cursor: Cursor, limit: int) -> Holdings:
        """All that names chunks: versions in order of key and age, then parts of uploads. The last one's cursor goes on."""

    async def holders(self, claims: Sequence[Claim]) -> Holders:
        """What names each content; None: nothing does."""

    async def relocate(self, holder: Holding, layout: bytes, drop: bytes = b"", *, stale: bool = False) -> tuple[Dropped, ...]:
        """The same content lies elsewhere now, if it is still where `holder` says; drop: layout of chunks that are to be deleted.

        stale: the new chunks' records may be older than the row; they are as well when the row was changed since `holder` was read.

        Raises: Superseded.
        """

    async def restale(self, key: str, version: int) -> bool:
        """The version's records are to be written again; False when they are to be anyway, or it is gone."""

    async def refill(self, batch: Refill) -> None:
        """Adds rows as they are, with their sums: for a rebuild into a new bucket. Raises: AlreadyExists."""


class KeyPair(msgspec.Struct, frozen=True, omit_defaults=True):
    """An access key; `name` is its user's.

    secret        only filled where it is needed (verification, creation); stored encrypted
    policies      names of those attached to the key itself
    boundaries    texts of the policies that narrow it, filled where the secret is: those of the user, those of the key; each group counts
    suspended     it is refused;  suspended_by: "account", "user" or "key", the widest of them
    """

    access_key: str
    account: str
    name: str
    user_id: str
    display_name: str = ""
    email: str = ""
    secret: str = ""
    created_us: int = 0
    suspended: bool = False
    admin: bool = False
    policies: tuple[str, ...] = ()
    boundaries: tuple[tuple[str, ...], ...] = ()
    suspended_by: str = ""


class Person(msgspec.Struct, frozen=True):
    """Whom a canonical id stands for."""

    user_id: str
    account: str
    display_name: str
    email: str = ""


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """user_id: canonical id of the account, which is its buckets' owner; "" for one that never had a key."""

    account: str
    user_id: str = ""
    display_name: str = ""
    email: str = ""
    created_us: int = 0
    suspended: bool = False


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who of an account; has any number of access keys. policies: names of those attached; none: it may do what the account may."""

    account: str
    user: str
    created_us: int = 0
    suspended: bool = False
    policies: tuple[str, ...] = ()


class NamedPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """text: JSON; meta never looks into it."""

    name: str
    text: str
    created_us: int = 0
    changed_us: int = 0


class Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom a suspension or a policy concerns: an access key, or a user of an account, or an account."""

    account: str = ""
    user: str = ""
    access_key: str = ""


class BucketEntry(msgspec.Struct, frozen=True):
    bucket: str
    account: str
    created_us: int
    region: str = ""


class Accounts(Protocol):
    """Accounts, access keys and each account's buckets: one base."""

    async def create_key(self, pair: KeyPair) -> KeyPair:
        """Makes access key and secret where they are empty, account and user where they are new. Raises: AlreadyExists, PolicyNotFound."""

    async def key(self, access_key: str) -> KeyPair:
        """With the secret. Raises: KeyPairNotFound."""

    async def keys(self) -> list[KeyPair]: ...

    async def people(self, *, user_id: str = "", email: str = "") -> list[Person]:
        """Those with this canonical id (at most one), or with this e-mail address, whatever its case."""

    async def revoke_key(self, access_key: str) -> None: ...

    async def add_bucket(self, entry: BucketEntry) -> None: ...

    async def remove_bucket(self, account: str, bucket: str) -> None: ...

    async def buckets(self, account: str, *, prefix: str = "", after: str = "", limit: int = 10_000) -> list[BucketEntry]:
        """account "": those of all accounts."""

    async def dump(self) -> bytes:
        """All that is known but the buckets, for `restore`; equal states give equal bytes. Secrets are sealed in it."""

    async def restore(self, dump: bytes) -> None:
        """Adds what a dump says to what is there; existing rows stay. Raises: RecordCorrupt when it can't be read."""


class Identities(Protocol):
    """Accounts, their users, and the policies that narrow users and keys: in the same base as the keys."""

    async def create_account(self, account: Account) -> Account:
        """Makes the canonical id when it is empty. Raises: AlreadyExists, InvalidArgument."""

    async def accounts(self) -> list[Account]: ...

    async def create_user(self, user: User) -> User:
        """Raises: AlreadyExists, AccountNotFound, PolicyNotFound."""

    async def users(self) -> list[User]: ...

    async def remove_user(self, account: str, user: str) -> None:
        """Raises: UserNotFound, StillInUse while it has keys."""

    async def suspend(self, subject: Subject, *, suspended: bool) -> None:
        """Or resume. Raises: AccountNotFound, UserNotFound, KeyPairNotFound."""

    async def put_policy(self, name: str, text: str) -> NamedPolicy:
        """Also in place of one that is there; to whom it is attached feels it at once. Raises: InvalidArgument."""

    async def policies(self) -> list[NamedPolicy]: ...

    async def delete_policy(self, name: str) -> None:
        """Raises: PolicyNotFound, StillInUse while it is attached."""

    async def attach(self, subject: Subject, policy: str, *, attached: bool) -> None:
        """Or detach. Raises: UserNotFound, KeyPairNotFound, PolicyNotFound (also when it was not attached), InvalidArgument."""


class BucketRegistry(Protocol):
    """Which account owns a bucket name, in all regions; touched only when a bucket is made, removed or located."""

    async def claim(self, entry: BucketEntry) -> BucketEntry:
        """The entry as it now stands (idempotent for its owner). Raises: BucketTaken."""

    async def release(self, bucket: str, account: str) -> None: ...

    async def locate(self, bucket: str) -> BucketEntry:
        """Raises: BucketNotFound."""


class EncryptionKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a key of the namespace stands; its bytes are in no metadata. version: the newest; created_us 0: it was always there."""

    id: str
    description: str = ""
    created_us: int = 0
    enabled: bool = True
    version: int = 1
    rotated_us: int = 0


class EncryptionKeys(Protocol):
    """The namespace's encryption keys. implied: a key that is there, in its first version, also when nothing is written of it yet."""

    async def create_encryption_key(self, key: str = "", description: str = "") -> EncryptionKey:
        """key: its id, "" for a random one. Raises: AlreadyExists, InvalidArgument."""

    async def encryption_key(self, key: str, *, implied: bool = False) -> EncryptionKey:
        """Raises: EncryptionKeyNotFound."""

    async def encryption_keys(self) -> list[EncryptionKey]:
        """Those of which something is written."""

    async def enable_encryption_key(self, key: str, *, enabled: bool) -> EncryptionKey:
        """Raises: EncryptionKeyNotFound; InvalidArgument for one that was always there."""

    async def rotate_encryption_key(self, key: str, *, implied: bool = False) -> EncryptionKey:
        """A new version for what is encrypted from now on. Raises: EncryptionKeyNotFound."""

    async def restore_encryption_keys(self, keys: list[EncryptionKey]) -> None:
        """Takes them in as `encryption_keys` told them, in place of those with their ids."""


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """Long work. state: running, paused; done, failed, aborted.

    arguments   what kind's work is about;  pace_bytes: bytes per second at most, 0 = as fast as it goes
    position    where it goes on, in the kind's own words;  progress: counts by name;  message: how it ended, or what holds it up
    """

    kind: str
    arguments: dict[str, str] = {}
    id: int = 0
    state: str = ""
    created_us: int = 0
    changed_us: int = 0
    pace_bytes: int = 0
    position: str = ""
    progress: dict[str, int] = {}
    message: str = ""


class Jobs(Protocol):
    """Long work that survives restarts."""

    async def submit_job(self, job: Job) -> Job:
        """With its number. Raises: AlreadyExists while one of the same kind and arguments is not over."""

    async def job(self, number: int) -> Job:
        """Raises: JobNotFound."""

    async def jobs(self) -> list[Job]: ...

    async def control_job(self, number: int, *, state: str = "", pace_bytes: int | None = None) -> Job:
        """Raises: JobNotFound; AlreadyExists when it is over."""

    async def save_job(self, job: Job) -> Job:
        """For who works on it: position, progress, message, and its end. The job as it is wished now is returned. Raises: JobNotFound."""


class Meta(Protocol):
    """The door to all metadata of the namespace."""

    @property
    def jobs(self) -> Jobs: ...

    @property
    def accounts(self) -> Accounts: ...

    @property
    def identities(self) -> Identities: ...

    @property
    def registry(self) -> BucketRegistry: ...

    @property
    def encryption(self) -> EncryptionKeys: ...

    def container(self, bucket: str) -> Container:
        """A handle; cheap, makes no call."""

    async def create_bucket(self, settings: BucketSettings) -> None:
        """Registry, directory, container and account entry, in this order; repeating it finishes what a crash left. SYSTEM_BUCKET joins
        neither registry nor account.

        Raises: BucketTaken, BucketOwned.
        """

    async def remove_bucket(self, bucket: str) -> None:
        """Raises: BucketNotFound, BucketNotEmpty."""

    async def dirty_containers(self) -> list[str]:
        """Buckets (also removed ones) that have deletions to do or records to sync."""
