"""What is still to be done outside the base, and what workers and sweeps ask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from meta.protocol.bucket import Counters
from meta.protocol.holding import RecordToSync
from meta.protocol.object import Dropped
from meta.row import find_row
from meta.transaction import SETTINGS_KEY, ContainerTransaction, find_settings, read_settings, read_sums

_CLASS = "class/"
_NOTHING = (0, 0)

_KNOWS = (
    "SELECT EXISTS (SELECT 1 FROM objects WHERE key = ?1 AND (content = ?2 OR instr(parts, ?2)))"
    " OR EXISTS (SELECT 1 FROM moved WHERE content = ?2)"
    " OR EXISTS (SELECT 1 FROM uploads JOIN parts USING (upload) WHERE key = ?1 AND content = ?2)"
    " OR EXISTS (SELECT 1 FROM deletions WHERE content = ?2 OR instr(parts, ?2))"
)


def deletions(db: apsw.Connection, limit: int, after: int) -> list[Dropped]:
    return [Dropped(*found) for found in db.execute("SELECT id, layout FROM deletions WHERE id > ? ORDER BY id LIMIT ?", (after, limit))]


def deletions_done(transaction: ContainerTransaction, ids: Sequence[int]) -> None:
    for number in ids:
        transaction.write("DELETE FROM deletions WHERE id = ?", (number,))


def add_deletion(transaction: ContainerTransaction, layout: bytes) -> Dropped:
    """Also in a removed bucket: chunks outlive it."""
    number = transaction.number()
    transaction.write("INSERT INTO deletions VALUES (?, '', '', ?)", (number, layout))
    return Dropped(number, layout)


def records_to_sync(db: apsw.Connection, limit: int, after: int) -> list[RecordToSync]:
    db.execute("BEGIN")
    try:
        found: list[Any] = db.execute("SELECT id, key, age FROM stale_records WHERE id > ? ORDER BY id LIMIT ?", (after, limit)).fetchall()
        return [
            RecordToSync(number, None, True, find_settings(db)) if key == SETTINGS_KEY else RecordToSync(number, find_row(db, key, -age))
            for number, key, age in found
        ]
    finally:
        db.execute("COMMIT")


def records_synced(transaction: ContainerTransaction, ids: Sequence[int]) -> None:
    for number in ids:
        transaction.write("DELETE FROM stale_records WHERE id = ?", (number,))


def knows(db: apsw.Connection, key: str, content: str) -> bool:
    """Exact without an index over all contents: a content is under the key its chunks name, or its row was renamed and `moved` has it."""
    return bool(content) and bool(db.execute(_KNOWS, (key, content)).get)


def counters(db: apsw.Connection) -> Counters:
    """Raises: BucketNotFound."""
    db.execute("BEGIN")
    try:
        read_settings(db)
        sums = read_sums(db)
    finally:
        db.execute("COMMIT")
    return Counters(
        classes={place[len(_CLASS) :]: (number, size) for place, (number, size) in sums.items() if place.startswith(_CLASS) and number},
        markers=sums.get("marker", _NOTHING)[0],
        uploads=sums.get("upload", _NOTHING)[0],
        upload_bytes=sums.get("part", _NOTHING)[1],
    )
