"""Objects: their versions as rows, and what is asked of them."""

from __future__ import annotations

from typing import Any

import msgspec

DELETE_MANY_MAX = 1_000
PUT_MANY_MAX = 64
"""As many as share a sync of chunks (rawx/device.py)."""


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


class Attributes(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
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
    extra      of parts that have their own words, by name: encryption (store/envelope.py), restore (meta/protocol/restore.py)
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


class ObjectRow(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
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


class PutOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one put among many. error: as node.errors.encode_error words it, when it was refused."""

    result: PutResult | None = None
    error: bytes = b""


class Seen(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody has decided by; when it is otherwise by now, what was asked for is refused with Superseded.

    seq    of the version: nothing about it was changed
    newer  versions of the key that came after it and are still there; none: it is the key's newest
    alone  the key has no other version or marker
    """

    seq: int
    newer: tuple[int, ...] = ()
    alone: bool = False


class DeleteRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """version None: the key as S3 means it (a marker where versioning is on); 0: the null version; else that version."""

    key: str
    version: int | None = None
    condition: Condition = NO_CONDITION
    owner: str = ""
    bypass_governance: bool = False
    seen: Seen | None = None


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


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """Change of one version in place (no new version); None leaves a field as it is.

    restored    the Restore to be kept, as it stands in `extra`; {} takes it away
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
    storage_class: str | None = None
    restored: dict[str, Any] | None = None
    expect_content: str | None = None
    expect_seq: int | None = None
    seen: Seen | None = None


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


class Rewrite(msgspec.Struct, frozen=True, omit_defaults=True):
    """`row` is the object as it is to be, its version a wish as in a put.

    contents    ids of all contents that its layout names chunks of, when they are several
    in_place    the null version itself is changed, and its chunks are the new row's but for those of `drop`; else a new version is made
    drop        layout of the chunks that no row names any more
    expect_seq  of the row that was read: Superseded when it is another by now
    """

    row: ObjectRow
    contents: tuple[str, ...]
    expect_seq: int
    in_place: bool
    drop: bytes = b""
    condition: Condition = NO_CONDITION
