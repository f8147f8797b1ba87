"""Who names a content: walking all that do, finding it for a chunk, and moving the chunks it names. For scrubs, repair and rebalancing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import Any

import apsw
import msgspec

from meta.protocol.holding import Claim, Cursor, Holding
from meta.protocol.object import Dropped, ObjectRow
from meta.protocol.upload import PartRow
from meta.row import READ, decode_row, find, find_row
from meta.transaction import ContainerTransaction, read_settings
from node.errors import Superseded

_AFTER = f"SELECT {READ} FROM objects WHERE (key, age) > (?, ?) AND layout <> x'' ORDER BY key, age LIMIT ?"
_PARTS_AFTER = (
    "SELECT uploads.key, upload, part, size, etag, content, layout, mtime_us, checksums FROM parts JOIN uploads USING (upload)"
    " WHERE (upload, part) > (?, ?) ORDER BY upload, part LIMIT ?"
)
_NAMING = f"SELECT {READ} FROM objects WHERE key = ?1 AND (content = ?2 OR instr(parts, ?2)) LIMIT 1"
_MARKER = "SELECT age FROM objects WHERE key = ? AND age = ? AND marker = 1"
_MOVED = "SELECT key, age FROM moved WHERE content = ?"
_PART = (
    "SELECT uploads.key, upload, part, size, etag, content, layout, mtime_us, checksums FROM parts JOIN uploads USING (upload)"
    " WHERE uploads.key = ? AND content = ?"
)
_DELETED = "SELECT 1 FROM deletions WHERE content = ?1 OR instr(parts, ?1) LIMIT 1"
_checksums = msgspec.msgpack.Decoder(dict[str, str])


def walk(db: apsw.Connection, cursor: Cursor, limit: int) -> list[Holding]:
    """Raises: BucketNotFound."""
    read_settings(db)
    found: list[Holding] = []
    if not cursor.upload:
        behind = (cursor.key, -cursor.version if cursor.key else -(1 << 62), limit)
        found = [_of_row(row) for row in starmap(decode_row, db.execute(_AFTER, behind))]
        if len(found) == limit:
            return found
    parts = db.execute(_PARTS_AFTER, (cursor.upload, cursor.part, limit - len(found)))
    return found + [_part(row) for row in parts]


def holders(db: apsw.Connection, claims: Sequence[Claim]) -> list[Holding | None]:
    """Raises: BucketNotFound."""
    read_settings(db)
    db.execute("BEGIN")
    try:
        return [_holder(db, claim) for claim in claims]
    finally:
        db.execute("COMMIT")


def _holder(db: apsw.Connection, claim: Claim) -> Holding | None:
    naming = db.execute(_NAMING, (claim.key, claim.content)).get
    if naming is not None:
        return _of_row(decode_row(*naming))
    key, age = claim.key, None
    if claim.version:
        age = db.execute(_MARKER, (claim.key, -claim.version)).get
    if age is None:
        key, age = db.execute(_MOVED, (claim.content,)).get or (key, None)
    if age is not None:
        row = find_row(db, key, -age)
        return None if row is None else _of_row(row)
    part = db.execute(_PART, (claim.key, claim.content)).get
    if part is not None:
        return _part(part)
    return Holding("", b"") if db.execute(_DELETED, (claim.content,)).get else None


def _of_row(row: ObjectRow) -> Holding:
    return Holding(row.key, row.layout, row)


def _part(found: Any) -> Holding:
    key, upload, part, size, etag, content, layout, mtime_us, checksums = found
    row = PartRow(part, size, etag, content, layout, mtime_us, _checksums.decode(checksums))
    return Holding(key, layout, None, upload, row)


def relocate(
    transaction: ContainerTransaction, holding: Holding, layout: bytes, drop: bytes, stale: bool, policy: str = ""
) -> tuple[Dropped, ...]:
    """Raises: BucketNotFound, Superseded."""
    _ = transaction.settings
    if holding.part is not None:
        where = (holding.upload, holding.part.part, holding.layout)
        changed = transaction.write("UPDATE parts SET layout = ? WHERE upload = ? AND part = ? AND layout = ?", (layout, *where))
        if not changed:
            raise Superseded("the part was replaced, or its chunks were moved, meanwhile")
        return transaction.drop("", "", drop)
    assert holding.row is not None
    found = find(transaction.db, holding.key, holding.row.version)
    if found is None or found.layout != holding.layout:
        raise Superseded("the version is gone, or its chunks were moved, meanwhile")
    seq = transaction.changed("change", found.key, found.age)
    transaction.write(
        "UPDATE objects SET layout = ?, policy = ?, seq = ? WHERE key = ? AND age = ?",
        (layout, policy or holding.row.policy, seq, found.key, found.age),
    )
    if stale or found.seq != holding.row.seq:  # a sync of the records may have gone to the old chunks
        transaction.stale(found.key, found.age)
    return transaction.drop("", "", drop)


def restale(transaction: ContainerTransaction, key: str, version: int) -> bool:
    """Raises: BucketNotFound."""
    _ = transaction.settings
    found = find(transaction.db, key, version)
    if found is None or transaction.db.execute("SELECT 1 FROM stale_records WHERE key = ? AND age = ?", (key, -version)).get:
        return False
    seq = transaction.changed("change", key, found.age)
    transaction.write("UPDATE objects SET seq = ? WHERE key = ? AND age = ?", (seq, key, found.age))
    transaction.stale(key, found.age)
    return True
