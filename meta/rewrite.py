"""Rewriting: the current version of a key gets another content, some of which may be chunks of the one it had."""

from __future__ import annotations

import msgspec

from meta.protocol.object import PutResult, Rewrite
from meta.row import check_key, check_lock, find, remember_moved, take
from meta.transaction import ContainerTransaction
from meta.version import check_current, store
from node.errors import Superseded


def rewrite(transaction: ContainerTransaction, request: Rewrite) -> PutResult:
    """Raises: BucketNotFound, PreconditionFailed, ObjectNotFound, Superseded, Locked, QuotaExceeded."""
    row, parts = request.row, ",".join(request.contents)
    check_key(row.key)
    versioned = transaction.settings.versioning == "Enabled"
    current = find(transaction.db, row.key, None)
    check_current(request.condition, current)
    if current is None or current.seq != request.expect_seq:
        raise Superseded("the object is not the one that was to be rewritten")
    if not request.in_place:
        return store(transaction, row, current, parts=parts)
    if versioned or not current.is_null:
        raise Superseded("the bucket's versioning was changed meanwhile")
    check_lock(transaction, current, bypass_governance=False)
    others = take(transaction, current)
    newest = find(transaction.db, row.key, None) if others else None
    result = store(transaction, row, newest, parts=parts, moved=bool(current.moved))
    if current.moved:
        remember_moved(transaction, [row.content, *request.contents], row.key, result.version)
    return msgspec.structs.replace(result, dropped=(*result.dropped, *transaction.drop("", "", request.drop)))
