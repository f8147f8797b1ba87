"""A bucket's creation and removal, which span sets. The leader of the registry sees to them, so that no two of one name cross."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import trio

from meta.bucket import check_created
from meta.protocol.accounts import Accounts
from meta.protocol.bucket import SYSTEM_BUCKET, BucketSettings
from meta.protocol.container import Container
from meta.protocol.directory import Place
from meta.protocol.registry import BucketEntry, BucketRegistry
from node.errors import BucketNotFound, BucketOwned


class Parts(Protocol):
    """Where the steps are made: on this host or another."""

    @property
    def accounts(self) -> Accounts: ...

    @property
    def registry(self) -> BucketRegistry: ...

    def container(self, bucket: str) -> Container: ...

    async def assign(self, bucket: str) -> Place: ...

    async def mark_removed(self, bucket: str) -> None: ...


class Births:
    """lead: raises NotLeader when this host does not lead the registry any more; asked before the steps, for another may be at it then."""

    def __init__(self, parts: Parts, lead: Callable[[], Awaitable[None]]) -> None:
        self._parts = parts
        self._lead = lead
        self._locks: dict[str, tuple[trio.Lock, int]] = {}

    def __repr__(self) -> str:
        return f"<Births under way={list(self._locks)}>"

    async def create_bucket(self, settings: BucketSettings) -> None:
        """As Meta.create_bucket."""
        bucket, account, parts = settings.bucket, settings.account, self._parts
        entry = BucketEntry(bucket, account, settings.created_us, settings.region)
        async with self._exclusive(bucket):
            if bucket == SYSTEM_BUCKET:  # nobody's: in no list
                await parts.assign(bucket)
                await parts.container(bucket).create(settings)
                return
            await parts.registry.claim(entry)
            await parts.assign(bucket)
            there = False
            try:
                await parts.container(bucket).create(settings)
            except BucketOwned:
                there = True
            await self._lead()
            if there and await self._listed(account, bucket):
                raise BucketOwned(f"the bucket {bucket} is yours already")
            await parts.accounts.add_bucket(entry)

    async def remove_bucket(self, bucket: str, *, created_us: int = 0) -> None:
        """As Meta.remove_bucket."""
        parts = self._parts
        async with self._exclusive(bucket):
            try:
                settings = await parts.container(bucket).settings()
                found_us, account = settings.created_us, settings.account
                await self._lead()
                if created_us in (0, found_us):
                    await parts.container(bucket).destroy()
            except BucketNotFound:
                entry = await parts.registry.locate(bucket)  # a crash came between the steps, or there is no such bucket
                found_us, account = entry.created_us, entry.account
            check_created(found_us, created_us)
            await self._lead()
            await parts.accounts.remove_bucket(account, bucket)
            await self._lead()
            await parts.mark_removed(bucket)
            await parts.registry.release(bucket, account)

    async def _listed(self, account: str, bucket: str) -> bool:
        found = await self._parts.accounts.buckets(account, prefix=bucket, limit=1)
        return bool(found) and found[0].bucket == bucket

    @asynccontextmanager
    async def _exclusive(self, bucket: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(bucket, (trio.Lock(), 0))
        self._locks[bucket] = (lock, users + 1)
        try:
            async with lock:
                await self._lead()
                yield
        finally:
            lock, users = self._locks.pop(bucket)
            if users > 1:
                self._locks[bucket] = (lock, users - 1)
