"""One bucket made anew among others that are well."""

from __future__ import annotations

from meta.protocol.accounts import Accounts
from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.door import Meta
from meta.protocol.encryption import EncryptionKeys
from meta.protocol.identities import Identities
from meta.protocol.jobs import Jobs
from meta.protocol.registry import BucketRegistry


class OneBucket:
    """Implements Meta for a rebuild of one bucket: its container is `there`; all else is `here`, needed to make it, and thrown away."""

    def __init__(self, bucket: str, *, here: Meta, there: Meta) -> None:
        self._bucket, self._here, self._there = bucket, here, there

    def __repr__(self) -> str:
        return f"<OneBucket {self._bucket} of {self._there!r}>"

    @property
    def jobs(self) -> Jobs:
        return self._here.jobs

    @property
    def accounts(self) -> Accounts:
        return self._here.accounts

    @property
    def identities(self) -> Identities:
        return self._here.identities

    @property
    def registry(self) -> BucketRegistry:
        return self._here.registry

    @property
    def encryption(self) -> EncryptionKeys:
        return self._here.encryption

    def container(self, bucket: str) -> Container:
        return (self._there if bucket == self._bucket else self._here).container(bucket)

    async def create_bucket(self, settings: BucketSettings) -> None:
        if settings.bucket == self._bucket:  # its names in registry, directory and account come last
            await self._there.container(self._bucket).create(settings)
        else:
            await self._here.create_bucket(settings)

    async def remove_bucket(self, bucket: str, *, created_us: int = 0) -> None:
        await self._here.remove_bucket(bucket, created_us=created_us)

    async def dirty_containers(self) -> list[str]:
        return await self._here.dirty_containers()
