"""Versions of a key: put, get, delete and change, by S3's rules. Each function is one request within a transaction.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/versioning-workflows.html
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw
import msgspec

from meta.condition import check
from meta.lock import check_change, is_protected, with_default
from meta.protocol.object import (
    DELETE_MANY_MAX,
    NO_CONDITION,
    PUT_MANY_MAX,
    Attributes,
    Change,
    Condition,
    DeleteRequest,
    DeleteResult,
    Dropped,
    ObjectRow,
    PutOutcome,
    PutResult,
)
from meta.protocol.restore import COLD_CLASSES, RESTORE, without_restore
from meta.row import Stored, check_key, check_lock, check_seen, count, find, find_row, insert, list_cold, remove, unlist_cold
from meta.transaction import ContainerTransaction, read_settings
from node.errors import (
    Forgotten,
    FrazilError,
    InvalidArgument,
    InvalidBucketState,
    IsDeleteMarker,
    ObjectNotFound,
    QuotaExceeded,
    Superseded,
    VersionNotFound,
    encode_error,
)

_FIND_CONTENT = "SELECT age, is_null, mtime_us FROM objects WHERE key = ? AND content = ?"


def get(db: apsw.Connection, key: str, version: int | None) -> ObjectRow:
    """Raises: BucketNotFound, ObjectNotFound, VersionNotFound."""
    row = find_row(db, key, version)
    if row is None:
        read_settings(db)  # a removed bucket has no rows, so only a miss has to look
        if version is None:
            raise ObjectNotFound("there is no such key")
        raise VersionNotFound("there is no such version")
    return row


def put(transaction: ContainerTransaction, row: ObjectRow, condition: Condition) -> PutResult:
    """Raises: BucketNotFound, PreconditionFailed, ObjectNotFound, Locked, QuotaExceeded."""
    check_key(row.key)
    newest = find(transaction.db, row.key, None)
    if condition is not NO_CONDITION:
        check_current(condition, newest)
    return store(transaction, row, newest)


def put_many(transaction: ContainerTransaction, rows: Sequence[ObjectRow]) -> list[PutOutcome]:
    """Each is done or refused by itself; a refusal is told in its outcome."""
    if len(rows) > PUT_MANY_MAX:
        raise InvalidArgument(f"at most {PUT_MANY_MAX} objects in one request")
    _ = transaction.settings  # no such bucket: the whole request fails
    outcomes = []
    for row in rows:
        try:
            outcomes.append(PutOutcome(put(transaction, row, NO_CONDITION)))
        except FrazilError as error:
            outcomes.append(PutOutcome(error=encode_error(error)))
    return outcomes


def put_again(transaction: ContainerTransaction, row: ObjectRow, condition: Condition) -> PutResult:
    """Raises: Forgotten; as put."""
    check_key(row.key)
    found = transaction.db.execute(_FIND_CONTENT, (row.key, row.content)).get if row.content else None
    if found is not None:
        age, null, mtime_us = found
        return PutResult(-age, null == 1, mtime_us)
    if not transaction.unmade and (row.version <= 0 or transaction.was_given(row.version)):
        raise Forgotten("whether the object was stored for a while, and replaced or deleted since, is not known")
    return put(transaction, row, condition)


def check_current(condition: Condition, newest: Stored | None) -> None:
    """Raises: PreconditionFailed, ObjectNotFound."""
    if newest is None:
        check(condition, None, 0, 0)
    else:
        check(condition, newest.visible_etag, newest.size, newest.mtime_us)


def store(
    transaction: ContainerTransaction,
    row: ObjectRow,
    newest: Stored | None,
    *,
    parts: str = "",
    moved: bool = False,
    stale: bool = False,
    keep_mtime: bool = False,
    freed: int = 0,
) -> PutResult:
    """Makes `row` the newest version of its key, in place of what the bucket's versioning says it replaces.

    newest: the key's newest row now; freed: bytes that this request releases elsewhere (the parts of an upload);
    stale: its chunks' records say something else in any case.
    """
    settings = transaction.settings
    versioning = settings.versioning
    null = versioning != "Enabled"
    replaced = None
    if null and newest is not None:
        replaced = newest if newest.is_null else find(transaction.db, row.key, 0)
    check_quota(transaction, row.size - (replaced.size if replaced else 0) - freed)
    version = transaction.version(row.version, -newest.age if newest else 0)
    older = newest is not None
    dropped: tuple[Dropped, ...] = ()
    attributes = row.attributes
    if settings.object_lock:
        attributes = with_default(attributes, settings.default_retention, version)
    elif is_protected(attributes):
        raise InvalidBucketState("the bucket has no object lock")
    if replaced is not None:
        check_lock(transaction, replaced, bypass_governance=False)
        # A bucket that never had versioning has one row per key.
        older, dropped = remove(transaction, replaced, others=None if versioning else False)
    mtime_us = row.mtime_us if keep_mtime else version
    seq = transaction.changed("put", row.key, -version)
    stored = ObjectRow(
        row.key, version, null, False, row.size, row.etag, mtime_us, row.storage_class, row.policy, row.owner, row.content, row.layout,
        seq, attributes,
    )  # fmt: skip
    insert(transaction, stored, parts=parts, moved=moved, older=older)
    if row.layout and (stale or attributes is not row.attributes or (row.version and (version != row.version or null != row.null))):
        transaction.stale(row.key, -version)
    return PutResult(version, null, mtime_us, dropped)


def check_quota(transaction: ContainerTransaction, added: int) -> None:
    """Raises: QuotaExceeded when the bucket would grow beyond its quota; shrinking is always allowed."""
    quota = transaction.settings.quota_bytes
    if quota and added > 0 and transaction.total() + added > quota:
        raise QuotaExceeded(f"the bucket's quota is {quota} bytes")


def delete(transaction: ContainerTransaction, request: DeleteRequest) -> DeleteResult:
    """Raises: BucketNotFound, PreconditionFailed, Locked. Checks come before the first change, so a refusal needs no rollback."""
    check_key(request.key)
    versioning = transaction.settings.versioning
    if request.version is None and versioning:
        return _mark(transaction, request, versioning)
    found = find(transaction.db, request.key, request.version)
    if request.seen is not None:
        check_seen(transaction, found, request.seen)
    if found is None:
        return DeleteResult(request.key)
    if request.condition is not NO_CONDITION:
        check(request.condition, found.etag, found.size, found.mtime_us)
    check_lock(transaction, found, bypass_governance=request.bypass_governance)
    _, dropped = remove(transaction, found, others=None if versioning else False)
    transaction.changed("delete", request.key, found.age)
    return DeleteResult(request.key, -found.age, found.is_null == 1, False, found.marker == 1, dropped)


def _mark(transaction: ContainerTransaction, request: DeleteRequest, versioning: str) -> DeleteResult:
    """A delete marker becomes the newest version; with versioning suspended it takes the null version's place."""
    newest = find(transaction.db, request.key, None)
    if request.seen is not None:
        check_seen(transaction, newest, request.seen)
    if request.condition != NO_CONDITION:
        if newest is None or newest.marker:
            return DeleteResult(request.key)
        check(request.condition, newest.etag, newest.size, newest.mtime_us)
    null = versioning != "Enabled"
    older = newest is not None
    dropped: tuple[Dropped, ...] = ()
    replaced = find(transaction.db, request.key, 0) if null and newest is not None else None
    if replaced is not None:
        check_lock(transaction, replaced, bypass_governance=request.bypass_governance)
        older, dropped = remove(transaction, replaced)
    version = put_marker(transaction, request.key, null=null, owner=request.owner, newest=-newest.age if newest else 0, older=older)
    return DeleteResult(request.key, version, null, True, False, dropped)


def put_marker(transaction: ContainerTransaction, key: str, *, null: bool, owner: str, newest: int, older: bool) -> int:
    """newest: the key's newest version so far; returns the marker's. Its record is still to be written, so it joins the stale ones."""
    version = transaction.version(0, newest)
    seq = transaction.changed("delete", key, -version)
    insert(transaction, ObjectRow(key, version, null, marker=True, mtime_us=version, owner=owner, seq=seq), older=older)
    transaction.stale(key, -version)
    return version


def delete_many(transaction: ContainerTransaction, requests: Sequence[DeleteRequest]) -> list[DeleteResult]:
    """Each is done or refused by itself; a refusal is told in its result."""
    if len(requests) > DELETE_MANY_MAX:
        raise InvalidArgument(f"at most {DELETE_MANY_MAX} keys in one request")
    _ = transaction.settings  # no such bucket: the whole request fails
    results = []
    for request in requests:
        try:
            results.append(delete(transaction, request))
        except FrazilError as error:
            results.append(DeleteResult(request.key, request.version or 0, error=error.code, message=str(error)))
    return results


def change(transaction: ContainerTransaction, wish: Change) -> ObjectRow:
    """Raises: BucketNotFound, ObjectNotFound, VersionNotFound, IsDeleteMarker, InvalidBucketState, Locked, Superseded."""
    settings = transaction.settings
    found = find(transaction.db, wish.key, wish.version)
    if found is None:
        raise ObjectNotFound("there is no such key") if wish.version is None else VersionNotFound("there is no such version")
    if found.marker and wish.layout is None:
        raise ObjectNotFound("the key is deleted") if wish.version is None else IsDeleteMarker("the version is a delete marker")
    if wish.expect_content is not None and wish.expect_content != found.content:
        raise Superseded("the version has another content now")
    if wish.expect_seq is not None and wish.expect_seq != found.seq:
        raise Superseded("the version was changed meanwhile")
    if wish.seen is not None:
        check_seen(transaction, found, wish.seen)
    row = found.row()
    attributes = _changed_attributes(transaction, row.attributes, wish)
    if is_protected(attributes) and not settings.object_lock:
        raise InvalidBucketState("the bucket has no object lock")
    layout = row.layout if wish.layout is None else wish.layout
    storage_class = wish.storage_class or row.storage_class
    if storage_class not in COLD_CLASSES:
        attributes = without_restore(attributes)
    if attributes == row.attributes and layout == row.layout and storage_class == row.storage_class:
        return row
    seq = transaction.changed("change", row.key, found.age)
    transaction.write(
        "UPDATE objects SET attributes = ?, layout = ?, storage_class = ?, protected = ?, checksum_algorithm = ?, checksum_type = ?,"
        " seq = ? WHERE key = ? AND age = ?",
        (
            msgspec.msgpack.encode(attributes),
            layout,
            storage_class,
            is_protected(attributes),
            ",".join(attributes.checksums),
            attributes.checksum_type,
            seq,
            found.key,
            found.age,
        ),
    )
    changed = msgspec.structs.replace(row, attributes=attributes, layout=layout, storage_class=storage_class, seq=seq)
    if layout and (attributes != row.attributes or storage_class != row.storage_class):
        transaction.stale(found.key, found.age)
    _warm_or_cool(transaction, row, changed)
    return changed


def _warm_or_cool(transaction: ContainerTransaction, old: ObjectRow, new: ObjectRow) -> None:
    """Keeps sums and the list of cold versions in step with class and restore."""
    if old.storage_class != new.storage_class:
        count(transaction, False, old.storage_class, old.size, -1)
        count(transaction, False, new.storage_class, new.size, 1)
        if new.storage_class not in COLD_CLASSES:
            unlist_cold(transaction, new.key, -new.version)
        elif old.storage_class not in COLD_CLASSES:
            list_cold(transaction, new.key, -new.version, new.attributes)
    elif old.attributes.extra.get(RESTORE) != new.attributes.extra.get(RESTORE):
        list_cold(transaction, new.key, -new.version, new.attributes)


def _changed_attributes(transaction: ContainerTransaction, old: Attributes, wish: Change) -> Attributes:
    new = old
    if wish.attributes is not None:  # what protects the version is changed by name only: who read the rest may have read it long ago
        protection = {name: getattr(old, name) for name in ("retain_mode", "retain_until_us", "legal_hold")}
        new = msgspec.structs.replace(wish.attributes, **protection)
    named = {
        name: value
        for name in ("tags", "acl", "retain_mode", "retain_until_us", "legal_hold")
        if (value := getattr(wish, name)) is not None
    }
    if named:
        new = msgspec.structs.replace(new, **named)
    if wish.restored is not None:
        new = without_restore(new)
        if wish.restored:
            new = msgspec.structs.replace(new, extra={**new.extra, RESTORE: wish.restored})
    check_change(old, new, transaction.now_us, bypass_governance=wish.bypass_governance)
    return new
