"""The namespace's directory on a cluster: meta0 says which meta1 base knows a container, meta1 which set of peers has it.

Assignments are stored: a new set gets new containers, nothing moves unasked. In the schemas' columns `peers` stands the set's name.
"""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from meta.base import Base
from meta.directory import container_id
from meta.kind import Transaction
from meta.protocol.directory import ASSIGNED_MAX, Place, Prefix
from node.errors import BucketNotFound, Superseded


class LocalPrefixes:
    """Implements Prefixes on a base of this host."""

    def __init__(self, base: Base[Transaction]) -> None:
        self._base = base

    def __repr__(self) -> str:
        return f"<LocalPrefixes {self._base!r}>"

    async def prefixes(self) -> list[Prefix]:
        return self._base.read(_prefixes)

    async def lay_out(self, prefixes: Sequence[Prefix]) -> list[Prefix]:
        return await self._base.write(_lay_out, prefixes)

    async def move_prefixes(self, base: str, target: str) -> None:
        await self._base.write(_move_prefixes, base, target)


class LocalAssignments:
    """Implements Assignments on a base of this host."""

    def __init__(self, base: Base[Transaction]) -> None:
        self._base = base

    def __repr__(self) -> str:
        return f"<LocalAssignments {self._base!r}>"

    async def assign(self, bucket: str, wish: str) -> Place:
        return await self._base.write(_assign, bucket, wish)

    async def find(self, bucket: str) -> Place:
        return self._base.read(_find, bucket)

    async def mark_removed(self, bucket: str) -> None:
        await self._base.write(_mark_removed, bucket)

    async def counts(self) -> dict[str, int]:
        return self._base.read(_counts)

    async def assigned(self, of: str, after: str = "", limit: int = ASSIGNED_MAX) -> list[Place]:
        return self._base.read(_assigned, of, after, min(limit, ASSIGNED_MAX))

    async def reassign(self, bucket: str, source: str, target: str) -> Place:
        return await self._base.write(_reassign, bucket, source, target)


def _prefixes(db: apsw.Connection) -> list[Prefix]:
    return [Prefix(*row) for row in db.execute("SELECT prefix, base, peers FROM prefixes ORDER BY prefix")]


def _lay_out(transaction: Transaction, prefixes: Sequence[Prefix]) -> list[Prefix]:
    if transaction.db.execute("SELECT 1 FROM prefixes").get is None:
        for each in prefixes:
            transaction.write("INSERT INTO prefixes VALUES (?, ?, ?)", (each.prefix, each.base, each.set))
    return _prefixes(transaction.db)


def _move_prefixes(transaction: Transaction, base: str, target: str) -> None:
    transaction.write("UPDATE prefixes SET peers = ? WHERE base = ?", (target, base))


def _assign(transaction: Transaction, bucket: str, wish: str) -> Place:
    number = container_id(bucket)
    transaction.write("INSERT OR IGNORE INTO containers VALUES (?, ?, ?, 0)", (number, bucket, wish))
    transaction.write("UPDATE containers SET removed = 0 WHERE id = ? AND removed = 1", (number,))
    return _find(transaction.db, bucket)


def _find(db: apsw.Connection, bucket: str) -> Place:
    found = db.execute("SELECT bucket, peers, removed FROM containers WHERE id = ?", (container_id(bucket),)).get
    if found is None:
        raise BucketNotFound("there is no such bucket")
    name, place, removed = found
    return Place(name, place, removed == 1)


def _mark_removed(transaction: Transaction, bucket: str) -> None:
    transaction.write("UPDATE containers SET removed = 1 WHERE id = ?", (container_id(bucket),))


def _counts(db: apsw.Connection) -> dict[str, int]:
    return {str(place): int(number or 0) for place, number in db.execute("SELECT peers, count(*) FROM containers GROUP BY peers")}


def _assigned(db: apsw.Connection, of: str, after: str, limit: int) -> list[Place]:
    found = db.execute(
        "SELECT bucket, peers, removed FROM containers WHERE peers = ? AND id > ? ORDER BY id LIMIT ?",
        (of, container_id(after) if after else "", limit),
    )
    return [Place(bucket, place, removed == 1) for bucket, place, removed in found]


def _reassign(transaction: Transaction, bucket: str, source: str, target: str) -> Place:
    found = _find(transaction.db, bucket)
    if found.set != source:
        raise Superseded(f"the container of {bucket} is in the set {found.set}, not in {source}")
    transaction.write("UPDATE containers SET peers = ? WHERE id = ?", (target, container_id(bucket)))
    return _find(transaction.db, bucket)
