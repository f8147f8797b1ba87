"""The door to bucket names."""

from __future__ import annotations

from typing import Protocol

import msgspec


class BucketEntry(msgspec.Struct, frozen=True):
    bucket: str
    account: str
    created_us: int
    region: str = ""


class BucketRegistry(Protocol):
    """Which account owns a bucket name, in all regions; touched only when a bucket is made, removed or located."""

    async def claim(self, entry: BucketEntry) -> BucketEntry:
        """The entry as it now stands (idempotent for its owner). Raises: BucketTaken."""

    async def release(self, bucket: str, account: str) -> None: ...

    async def locate(self, bucket: str) -> BucketEntry:
        """Raises: BucketNotFound."""
