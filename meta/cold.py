"""The list of versions whose bytes are to leave the volumes or to come back: derived from class and restore of their rows.

A version of a cold class is due at once when it is new (its bytes are to be frozen) and while a restore is under way; once restored, when
its copy goes. It leaves the list when whoever freezes has taken its wish, or with its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw

from meta.protocol.restore import ColdCursor, ColdRow
from meta.row import find_row
from meta.transaction import ContainerTransaction, read_settings

_DUE = "SELECT due_us, key, age FROM cold WHERE (due_us, key, age) > (?, ?, ?) AND due_us <= ? ORDER BY due_us, key, age LIMIT ?"
_DONE = "DELETE FROM cold WHERE key = ?1 AND age = ?2 AND EXISTS (SELECT 1 FROM objects WHERE key = ?1 AND age = ?2 AND seq = ?3)"


def due(db: apsw.Connection, until_us: int, limit: int, after: ColdCursor) -> list[ColdRow]:
    """Raises: BucketNotFound."""
    db.execute("BEGIN")
    try:
        read_settings(db)
        found: list[Any] = db.execute(_DUE, (after.due_us, after.key, -after.version, until_us, limit)).fetchall()
        rows = [(due_us, find_row(db, key, -age)) for due_us, key, age in found]
        return [ColdRow(due_us, row) for due_us, row in rows if row is not None]
    finally:
        db.execute("COMMIT")


def done(transaction: ContainerTransaction, places: Sequence[tuple[str, int, int]]) -> None:
    """places: (key, version, seq); one whose row was changed since stays in the list."""
    for key, version, seq in places:
        transaction.write(_DONE, (key, -version, seq))
