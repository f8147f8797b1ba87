"""A durable queue on this host: what is still to be handed over to somebody outside, by topic, in order, at least once.

One SQLite file that all processes of a store write; each waits for the others at most as long as a transaction takes. Additions that
wait share a transaction. A record leaves the file only by `done`, after it was handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import msgspec

from meta.connection import DISK_ERRORS, open_formatted, translate
from meta.kind import schema
from node.lane import Lane
from node.threads import run_blocking

FORMAT = 1
BATCH_MAX = 256


class Record(msgspec.Struct, frozen=True):
    """id: given by the spool; larger is later."""

    topic: str
    key: str
    at_us: int
    body: bytes
    id: int = 0


class Spool:
    """Used from one event loop. number_max, bytes_max: bounds of each topic; what goes beyond them is refused."""

    def __init__(self, path: Path, *, number_max: int, bytes_max: int) -> None:
        self._path = path
        self._number_max = number_max
        self._bytes_max = bytes_max
        self._db: apsw.Connection | None = None
        self._lane: Lane[Callable[[apsw.Connection], Any], Any] = Lane(self._transact, batch_max=BATCH_MAX)

    def __repr__(self) -> str:
        return f"<Spool {self._path.name} {self._lane!r}>"

    async def add(self, records: Sequence[Record]) -> int:
        """Durable at return; how many were refused because their topic is full.

        Raises: VolumeFull, VolumeSick, VolumeReadOnly, BaseCorrupt, Busy.
        """
        refused: int = await self._lane.submit(lambda db: sum(not self._add(db, record) for record in records))
        return refused

    async def topics(self) -> dict[str, int]:
        """Those that have records, and how many. Raises: as add."""
        found: dict[str, int] = await self._lane.submit(lambda db: dict(db.execute("SELECT topic, number FROM topics WHERE number > 0")))
        return found

    async def take(self, topic: str, limit: int) -> list[Record]:
        """The oldest of a topic; they stay until `done`. Raises: as add."""
        query = "SELECT topic, key, at_us, body, id FROM records WHERE topic = ? ORDER BY id LIMIT ?"
        found: list[Record] = await self._lane.submit(lambda db: [Record(*row) for row in db.execute(query, (topic, limit))])
        return found

    async def done(self, records: Sequence[Record]) -> None:
        """They were handed over, or given up. Once more is no error. Raises: as add."""
        await self._lane.submit(lambda db: self._remove(db, records))

    async def aclose(self) -> None:
        """What is in it stays."""
        await run_blocking(self._close)

    def _add(self, db: apsw.Connection, record: Record) -> bool:
        number, size = db.execute("SELECT number, bytes FROM topics WHERE topic = ?", (record.topic,)).fetchone() or (0, 0)
        if number >= self._number_max or size + len(record.body) > self._bytes_max:
            return False
        values = (record.topic, record.key, record.at_us, record.body)
        db.execute("INSERT INTO records(topic, key, at_us, body) VALUES (?, ?, ?, ?)", values)
        db.execute(
            "INSERT INTO topics VALUES (?, 1, ?) ON CONFLICT DO UPDATE SET number = number + 1, bytes = bytes + excluded.bytes",
            (record.topic, len(record.body)),
        )
        return True

    def _remove(self, db: apsw.Connection, records: Sequence[Record]) -> None:
        for record in records:
            if db.execute("DELETE FROM records WHERE id = ? RETURNING 1", (record.id,)).get is not None:
                change = (len(record.body), record.topic)
                db.execute("UPDATE topics SET number = number - 1, bytes = bytes - ? WHERE topic = ?", change)
        db.execute("DELETE FROM topics WHERE number = 0")

    def _transact(self, requests: list[Callable[[apsw.Connection], Any]]) -> list[Any]:
        """All requests in one transaction; a failing disk fails them all."""
        try:
            db = self._db = self._db or open_formatted(self._path, schema("spool"), FORMAT)
            db.execute("BEGIN IMMEDIATE")
            try:
                results = [request(db) for request in requests]
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except DISK_ERRORS as error:
            self._close()
            raise translate(error, self._path) from error
        return results

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close(True)
