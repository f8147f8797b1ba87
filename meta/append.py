"""Appending: the current version of a key grows by a content that is written already; what it held stays where it is."""

from __future__ import annotations

from meta.protocol.object import Append, PutResult
from meta.row import Stored, check_key, check_lock, find, remember_moved, take
from meta.transaction import ContainerTransaction
from meta.version import check_current, store
from node.errors import Superseded

_IS_STALE = "SELECT EXISTS (SELECT 1 FROM stale_records WHERE key = ? AND age = ?)"


def append(transaction: ContainerTransaction, request: Append) -> PutResult:
    """Raises: BucketNotFound, PreconditionFailed, ObjectNotFound, Superseded, Locked, QuotaExceeded."""
    row = request.row
    check_key(row.key)
    versioned = transaction.settings.versioning == "Enabled"
    current = find(transaction.db, row.key, None)
    check_current(request.condition, current)
    if current is None or current.seq != request.expect_seq:
        raise Superseded("the object is not the one that was to be appended to")
    if request.in_place:
        if versioned or not current.is_null:
            raise Superseded("the bucket's versioning was changed meanwhile")
        return _grow(transaction, current, request)
    return store(transaction, row, current, parts=",".join(request.contents))


def _grow(transaction: ContainerTransaction, current: Stored, request: Append) -> PutResult:
    """The null version's content lives on in the new row. Chunks whose records were not brought up to date yet still are to be."""
    check_lock(transaction, current, bypass_governance=False)
    row = request.row
    stale = bool(transaction.db.execute(_IS_STALE, (current.key, current.age)).get)
    contents = [*(current.parts.split(",") if current.parts else [current.content]), *request.contents]
    others = take(transaction, current)
    newest = find(transaction.db, row.key, None) if others else None
    result = store(transaction, row, newest, parts=",".join(contents), moved=bool(current.moved), stale=stale)
    if current.moved:
        remember_moved(transaction, [row.content, *contents], row.key, result.version)
    return result
