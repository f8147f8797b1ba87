"""The register of bucket names in its SQLite form: for one region. A PostgreSQL form, for several, stands beside it later."""

from __future__ import annotations

import apsw

from meta.base import Base
from meta.kind import Kind, Transaction
from meta.protocol.registry import BucketEntry
from node.errors import BucketNotFound, BucketTaken

REGISTRY = Kind(name="registry", format=2, tables=("names",), transaction=Transaction)

_FIND = "SELECT bucket, account, created_us, region FROM names WHERE bucket = ?"


class LocalRegistry:
    """Implements meta.protocol.registry.BucketRegistry on a base of this host."""

    def __init__(self, base: Base[Transaction]) -> None:
        self._base = base

    def __repr__(self) -> str:
        return f"<LocalRegistry {self._base!r}>"

    async def claim(self, entry: BucketEntry) -> BucketEntry:
        return await self._base.write(_claim, entry)

    async def release(self, bucket: str, account: str) -> None:
        """Another account's name stays."""
        await self._base.write(_release, bucket, account)

    async def locate(self, bucket: str) -> BucketEntry:
        return self._base.read(_locate, bucket)


def _claim(transaction: Transaction, entry: BucketEntry) -> BucketEntry:
    found = transaction.db.execute(_FIND, (entry.bucket,)).get
    if found is None:
        transaction.write("INSERT INTO names VALUES (?, ?, ?, ?)", (entry.bucket, entry.account, entry.created_us, entry.region))
        return entry
    there = BucketEntry(*found)
    if there.account != entry.account:
        raise BucketTaken(f"the name {entry.bucket} belongs to another account")
    return there


def _release(transaction: Transaction, bucket: str, account: str) -> None:
    transaction.write("DELETE FROM names WHERE bucket = ? AND account = ?", (bucket, account))


def _locate(db: apsw.Connection, bucket: str) -> BucketEntry:
    found = db.execute(_FIND, (bucket,)).get
    if found is None:
        raise BucketNotFound("there is no such bucket")
    return BucketEntry(*found)
