"""What is still to be done outside the base, and what workers and sweeps ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from meta.protocol import Counters, Dropped, RecordToSync
from meta.row import find_row
from meta.transaction import ContainerTransaction, read_settings

_KNOWS = (
    "SELECT EXISTS (SELECT 1 FROM objects WHERE key = ?1 AND (content = ?2 OR instr(parts, ?2)))"
    " OR EXISTS (SELECT 1 FROM moved WHERE content = ?2)"
    " OR EXISTS (SELECT 1 FROM uploads JOIN parts USING (upload) WHERE key = ?1 AND content = ?2)"
    " OR EXISTS (SELECT 1 FROM deletions WHERE content = ?2 OR instr(parts, ?2))"
)


def deletions(db: apsw.Connection, limit: int, after: int) -> list[Dropped]:
    return [Dropped(*found) for found in db.execute("SELECT id, layout FROM deletions WHERE id > ? ORDER BY id LIMIT ?", (after, limit))]


def deletions_done(transaction: ContainerTransaction, ids: Sequence[int]) -> None:
    transaction.db.executemany("DELETE FROM deletions WHERE id = ?", ((number,) for number in ids))


def add_deletion(transaction: ContainerTransaction, layout: bytes) -> Dropped:
    """Also in a removed bucket: chunks outlive it."""
    number = transaction.number()
    transaction.db.execute("INSERT INTO deletions VALUES (?, '', '', ?)", (number, layout))
    return Dropped(number, layout)


def records_to_sync(db: apsw.Connection, limit: int, after: int) -> list[RecordToSync]:
    db.execute("BEGIN")
    try:
        found: list[Any] = db.execute("SELECT id, key, age FROM stale_records WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()
        return [RecordToSync(number, find_row(db, key, -age)) for number, key, age in found]
    finally:
        db.execute("COMMIT")


def records_synced(transaction: ContainerTransaction, ids: Sequence[int]) -> None:
    transaction.db.executemany("DELETE FROM stale_records WHERE id = ?", ((number,) for number in ids))


def knows(db: apsw.Connection, key: str, content: str) -> bool:
    """Exact without an index over all contents: a content is under the key its chunks name, or its row was renamed and `moved` has it."""
    return bool(content) and bool(db.execute(_KNOWS, (key, content)).get)


def counters(db: apsw.Connection) -> Counters:
    """Raises: BucketNotFound."""
    db.execute("BEGIN")
    try:
        read_settings(db)
        sums = {(kind, name): (number, size) for kind, name, number, size in db.execute("SELECT kind, name, number, bytes FROM counters")}
    finally:
        db.execute("COMMIT")
    return Counters(
        classes={name: total for (kind, name), total in sums.items() if kind == "class" and total[0]},
        markers=sums.get(("marker", ""), (0, 0))[0],
        uploads=sums.get(("upload", ""), (0, 0))[0],
        upload_bytes=sums.get(("part", ""), (0, 0))[1],
    )
