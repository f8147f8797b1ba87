"""Metadata for a gateway process beside the writing one: reads from the files of this host, writes through the process that owns them.

A reader of SQLite's log sees every commit of the writer, so a read that begins after a write was answered sees it.
"""

from __future__ import annotations

from typing import Any, cast

from meta.gather import Gathered
from meta.local import HANDLES_MAX, LocalMeta
from meta.protocol.accounts import Accounts
from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.door import Meta
from meta.protocol.encryption import EncryptionKeys
from meta.protocol.identities import Identities
from meta.protocol.jobs import Jobs
from meta.protocol.registry import BucketRegistry

READS = frozenset(
    (
        "settings",
        "get",
        "list",
        "browse",
        "peek",
        "follow",
        "get_upload",
        "list_parts",
        "list_uploads",
        "deletions",
        "records_to_sync",
        "cold_due",
        "knows",
        "counters",
        "key",
        "keys",
        "people",
        "accounts",
        "users",
        "policies",
        "buckets",
        "dump",
        "walk",
        "holders",
        "job",
        "jobs",
        "locate",
        "encryption_key",
        "encryption_keys",
    )
)
"""Methods of Container, Accounts, BucketRegistry and EncryptionKeys that change nothing; all others go to the writer."""


class SplitMeta:
    """Implements meta.protocol.door.Meta. `reads` is opened read-only on the files that `writes` owns."""

    def __init__(self, reads: LocalMeta, writes: Meta) -> None:
        self._reads = reads
        self._writes = writes
        self._containers: dict[str, Container] = {}
        self.accounts = cast(Accounts, _Split(reads.accounts, writes.accounts))
        self.identities = cast(Identities, _Split(reads.identities, writes.identities))
        self.registry = cast(BucketRegistry, _Split(reads.registry, writes.registry))
        self.jobs = cast(Jobs, _Split(reads.jobs, writes.jobs))
        self.encryption = cast(EncryptionKeys, _Split(reads.encryption, writes.encryption))

    def __repr__(self) -> str:
        return f"<SplitMeta reads={self._reads!r} writes={self._writes!r}>"

    def container(self, bucket: str) -> Container:
        container = self._containers.get(bucket)
        if container is None:
            if len(self._containers) >= HANDLES_MAX:
                self._containers.clear()
            writes = Gathered(self._writes.container(bucket))
            container = self._containers[bucket] = cast(Container, _Split(self._reads.container(bucket), writes))
        return container

    async def create_bucket(self, settings: BucketSettings) -> None:
        await self._writes.create_bucket(settings)

    async def remove_bucket(self, bucket: str, *, created_us: int = 0) -> None:
        await self._writes.remove_bucket(bucket, created_us=created_us)

    async def dirty_containers(self) -> list[str]:
        return await self._writes.dirty_containers()


class _Split:
    def __init__(self, reads: object, writes: object) -> None:
        self._reads = reads
        self._writes = writes

    def __repr__(self) -> str:
        return f"<reads {self._reads!r}, writes {self._writes!r}>"

    def __getattr__(self, name: str) -> Any:
        """Asked once for each name: what is found stays."""
        found = self.__dict__[name] = getattr(self._reads if name in READS else self._writes, name)
        return found
