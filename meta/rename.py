"""Renaming: rows move to other keys, chunks stay; their records follow through the list of stale records.

With versioning, the current version leaves its key; where older versions stay behind, a delete marker takes its place, so that the
name is gone for everyone who doesn't ask for versions.
"""

from __future__ import annotations

import hashlib

import msgspec

from meta.listing import successor
from meta.protocol.object import Condition, PutResult
from meta.row import KEY_BYTES_MAX, Stored, check_key, check_lock, find, remember_moved, take
from meta.transaction import ContainerTransaction, completed, remember_completed
from meta.version import check_current, put_marker, store
from node.errors import AlreadyExists, InvalidArgument, ObjectNotFound, TokenReused

_TOKEN = "rename "
"""Sets their tokens apart from the ids of uploads."""
RENAMED_MAX = 100_000
"""Objects renamed in one transaction: bounds its memory (about 2 KiB each) and how long it holds back others (about 5 s)."""
RENAMED_AT_ONCE_MAX = 1_000_000
"""Where SQLite can do it alone: about 5 us each and no memory."""

_UNDER = "SELECT key, marker FROM objects WHERE key >= ? AND key < ? ORDER BY key, age"
_UNDER_OPEN = "SELECT key, marker FROM objects WHERE key >= ? ORDER BY key, age"


class _Done(msgspec.Struct, frozen=True):
    """What is kept of a rename with a token. wish: a digest of its parameters."""

    wish: bytes
    result: PutResult


_done_decoder = msgspec.msgpack.Decoder(_Done)


def rename(
    transaction: ContainerTransaction, source: str, target: str, condition: Condition, source_condition: Condition, token: str = ""
) -> PutResult:
    """Raises: BucketNotFound, ObjectNotFound, PreconditionFailed, Locked, InvalidArgument, TokenReused."""
    if not token:
        return _rename(transaction, source, target, condition, source_condition)
    wish = hashlib.sha256(msgspec.msgpack.encode((source, target, condition, source_condition))).digest()
    kept = completed(transaction, _TOKEN + token)
    if kept is not None:
        done = _done_decoder.decode(kept)
        if done.wish != wish:
            raise TokenReused("the client token was used before, with other parameters")
        return done.result
    result = _rename(transaction, source, target, condition, source_condition)
    value = msgspec.msgpack.encode(_Done(wish, msgspec.structs.replace(result, dropped=())))
    remember_completed(transaction, _TOKEN + token, target, value)
    return result


def _rename(transaction: ContainerTransaction, source: str, target: str, condition: Condition, source_condition: Condition) -> PutResult:
    check_key(target)
    _ = transaction.settings
    found = find(transaction.db, source, None)
    if found is None or found.marker:
        raise ObjectNotFound("there is no such key")
    check_current(source_condition, found)
    there = find(transaction.db, target, None)
    check_current(condition, there)
    if source == target:
        return PutResult(-found.age, found.is_null == 1, found.mtime_us)
    return _move(transaction, found, target, there)


def rename_prefix(transaction: ContainerTransaction, source: str, target: str, replace: bool) -> int:
    """Raises: BucketNotFound, AlreadyExists, Locked, InvalidArgument."""
    _ = transaction.settings
    if source == target:
        raise InvalidArgument("the prefixes are the same")
    if _is_plain(transaction, source, target):
        return _rename_at_once(transaction, source, target)
    keys = _visible(transaction, source)
    moving = dict.fromkeys(keys)
    if not replace:
        _check_free(transaction, moving, source, target)
    for key in keys:
        # Where the prefixes overlap, a target may be a source that has yet to move: such chains move from their end.
        chain = []
        while key in moving:
            del moving[key]
            chain.append(key)
            key = target + key[len(source) :]
        for old in reversed(chain):
            new = target + old[len(source) :]
            check_key(new)
            found = find(transaction.db, old, None)
            assert found is not None
            _move(transaction, found, new, find(transaction.db, new, None))
    return len(keys)


def _is_plain(transaction: ContainerTransaction, source: str, target: str) -> bool:
    """Whether every row under the source just gets another key: none has versions, protection or parts, none is in the way."""
    if transaction.settings.versioning or transaction.settings.object_lock or source.startswith(target) or target.startswith(source):
        return False
    stop, target_stop = successor(source), successor(target)
    if not source or not target or stop is None or target_stop is None:
        return False
    if transaction.db.execute("SELECT 1 FROM objects WHERE key >= ? AND key < ? LIMIT 1", (target, target_stop)).get is not None:
        return False
    odd, longest = transaction.db.execute(
        "SELECT sum(marker OR protected OR NOT is_null OR parts != '' OR instr(CAST(key AS BLOB), x'00')),"  # SQL's substr ends at a NUL
        " max(length(CAST(key AS BLOB))) FROM objects WHERE key >= ? AND key < ?",
        (source, stop),
    ).get
    return not odd and (longest or 0) - len(source.encode()) + len(target.encode()) <= KEY_BYTES_MAX


def _rename_at_once(transaction: ContainerTransaction, source: str, target: str) -> int:
    """The rows share the number of the change; each has its own among the stale records."""
    stop, target_stop = successor(source), successor(target)
    assert stop is not None
    assert target_stop is not None
    count: int = transaction.db.execute("SELECT count(*) FROM objects WHERE key >= ? AND key < ?", (source, stop)).get
    if count > RENAMED_AT_ONCE_MAX:
        raise InvalidArgument(f"more than {RENAMED_AT_ONCE_MAX} objects under the prefix: rename its parts")
    if not count:
        return 0
    seq = transaction.changed("folder", source, 0)
    transaction.changed("folder", target, 0)
    transaction.write(
        "UPDATE objects SET key = ? || substr(key, ?), seq = ?, moved = 1 WHERE key >= ? AND key < ?",
        (target, len(source) + 1, seq, source, stop),
    )
    moved = "FROM objects WHERE key >= ? AND key < ?"
    transaction.write(f"INSERT OR REPLACE INTO moved SELECT content, key, age {moved} AND content != ''", (target, target_stop))
    transaction.write(
        f"INSERT INTO stale_records SELECT ? + row_number() OVER (ORDER BY key), key, age {moved} AND layout != x''",
        (transaction.reserve(count) - 1, target, target_stop),
    )
    return count


def _visible(transaction: ContainerTransaction, prefix: str) -> list[str]:
    stop = successor(prefix)
    cursor = transaction.db.execute(_UNDER_OPEN, (prefix,)) if stop is None else transaction.db.execute(_UNDER, (prefix, stop))
    keys: list[str] = []
    last = None
    for key, marker in cursor:
        if key == last:
            continue
        last = key
        if not marker:
            keys.append(key)
            if len(keys) > RENAMED_MAX:
                raise InvalidArgument(f"more than {RENAMED_MAX} objects under the prefix: rename its parts")
    return keys


def _check_free(transaction: ContainerTransaction, moving: dict[str, None], source: str, target: str) -> None:
    for key in moving:
        new = target + key[len(source) :]
        if new in moving:
            continue
        there = find(transaction.db, new, None)
        if there is not None and not there.marker:
            raise AlreadyExists("an object is in the place of a renamed one")


def _move(transaction: ContainerTransaction, found: Stored, target: str, there: Stored | None) -> PutResult:
    check_lock(transaction, found, bypass_governance=False)
    left = take(transaction, found)
    transaction.changed("delete", found.key, found.age)
    if left:
        suspended = transaction.settings.versioning == "Suspended"
        put_marker(transaction, found.key, null=suspended and found.is_null == 1, owner=found.owner, newest=-found.age, older=True)
    row = found.row()
    if row.attributes.retain_mode:  # it has expired, or the lock had held the row; kept, it would stand in for the bucket's default
        row = msgspec.structs.replace(row, attributes=msgspec.structs.replace(row.attributes, retain_mode="", retain_until_us=0))
    row = msgspec.structs.replace(row, key=target, version=0)
    result = store(transaction, row, there, parts=found.parts, moved=True, stale=True, keep_mtime=True)
    remember_moved(transaction, found.contents, target, result.version)
    return result
