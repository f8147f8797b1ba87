"""Where containers are: a container's id leads through meta0 (prefix to meta1 base) to meta1 (container to its peers).

Assignments are stored, not computed: new hosts take new containers, nothing moves unasked. Alone on one host there is one meta1
base for all and the one peer is "local".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import apsw
import msgspec

from meta.base import Base
from meta.kind import Kind, Transaction
from node.errors import BucketNotFound

META0 = Kind(name="meta0", format=2, tables=("prefixes",), transaction=Transaction)
META1 = Kind(name="meta1", format=2, tables=("containers", "opened"), transaction=Transaction)

LOCAL_PEER = "local"
ONLY_META1 = "meta1-0"


def container_id(bucket: str) -> str:
    """64 hex digits. Bucket names are unique in the namespace, so nothing else goes into it."""
    return hashlib.sha256(b"bucket\0" + bucket.encode("utf-8", "surrogatepass")).hexdigest()


def container_base(bucket: str) -> str:
    """Name of the bucket's base, as peers call it."""
    return f"container/{bucket}"


class Assignment(msgspec.Struct, frozen=True):
    """removed: the bucket is gone, its container still has deletions to do."""

    bucket: str
    peers: tuple[str, ...]
    removed: bool = False


class LocalDirectory:
    """meta0 and meta1 on this host. meta1(name) opens a meta1 base."""

    def __init__(self, meta0: Base[Transaction], meta1: Callable[[str], Base[Transaction]]) -> None:
        self._meta0 = meta0
        self._meta1 = meta1

    async def prepare(self) -> None:
        """The first start of a namespace: one prefix for everything."""
        await self._meta0.write(_bootstrap)
        for name in self._meta0.read(_meta1_names):
            await self._meta1(name).make()

    async def assign(self, bucket: str) -> Assignment:
        """Idempotent; a removed container is taken up again where it is."""
        number = container_id(bucket)
        return await self._base(number).write(_assign, number, bucket)

    async def find(self, bucket: str) -> Assignment:
        """Raises: BucketNotFound."""
        number = container_id(bucket)
        return self._base(number).read(_find, number)

    async def mark_removed(self, bucket: str) -> None:
        number = container_id(bucket)
        await self._base(number).write(_mark_removed, number)

    async def forget(self, bucket: str) -> None:
        """When its base is gone too."""
        number = container_id(bucket)
        await self._base(number).write(_forget, number)

    async def mark_opened(self, bucket: str) -> None:
        """Durable before the container's first write: after a crash only these can have work to do."""
        number = container_id(bucket)
        await self._base(number).write(_mark_opened, number, bucket)

    async def mark_clean(self, buckets: Sequence[str]) -> None:
        by_base: dict[str, list[str]] = {}
        for number in map(container_id, buckets):
            by_base.setdefault(self._name(number), []).append(number)
        for name, numbers in by_base.items():
            await self._meta1(name).write(_mark_clean, numbers)

    def opened(self) -> list[str]:
        return [bucket for name in self._meta0.read(_meta1_names) for bucket in self._meta1(name).read(opened_buckets)]

    def _name(self, number: str) -> str:
        return self._meta0.read(_meta1_of, number)

    def _base(self, number: str) -> Base[Transaction]:
        return self._meta1(self._name(number))


def _bootstrap(transaction: Transaction) -> None:
    if transaction.db.execute("SELECT 1 FROM prefixes").get is None:
        transaction.write("INSERT INTO prefixes VALUES ('', ?, ?)", (ONLY_META1, LOCAL_PEER))


def _meta1_of(db: apsw.Connection, number: str) -> str:
    name: str = db.execute(
        "SELECT base FROM prefixes WHERE prefix = substr(?, 1, (SELECT length(prefix) FROM prefixes LIMIT 1))", (number,)
    ).get
    return name


def _meta1_names(db: apsw.Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT DISTINCT base FROM prefixes ORDER BY base")]


def _assign(transaction: Transaction, number: str, bucket: str) -> Assignment:
    db = transaction.db
    transaction.write("INSERT OR IGNORE INTO containers VALUES (?, ?, ?, 0)", (number, bucket, LOCAL_PEER))
    transaction.write("UPDATE containers SET removed = 0 WHERE id = ? AND removed = 1", (number,))
    return _find(db, number)


def _find(db: apsw.Connection, number: str) -> Assignment:
    found = db.execute("SELECT bucket, peers, removed FROM containers WHERE id = ?", (number,)).get
    if found is None:
        raise BucketNotFound("there is no such bucket")
    bucket, peers, removed = found
    return Assignment(bucket, tuple(peers.split(",")), removed == 1)


def _mark_removed(transaction: Transaction, number: str) -> None:
    transaction.write("UPDATE containers SET removed = 1 WHERE id = ?", (number,))


def _forget(transaction: Transaction, number: str) -> None:
    transaction.write("DELETE FROM containers WHERE id = ? AND removed = 1", (number,))
    transaction.write("DELETE FROM opened WHERE id = ?", (number,))


def _mark_opened(transaction: Transaction, number: str, bucket: str) -> None:
    transaction.write("INSERT OR IGNORE INTO opened VALUES (?, ?)", (number, bucket))


def _mark_clean(transaction: Transaction, numbers: list[str]) -> None:
    for number in numbers:
        transaction.write("DELETE FROM opened WHERE id = ?", (number,))


def opened_buckets(db: apsw.Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT bucket FROM opened ORDER BY bucket")]
