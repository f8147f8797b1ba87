"""The door to all metadata of a namespace."""

from __future__ import annotations

from typing import Protocol

from meta.protocol.accounts import Accounts
from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.encryption import EncryptionKeys
from meta.protocol.identities import Identities
from meta.protocol.jobs import Jobs
from meta.protocol.registry import BucketRegistry


class Meta(Protocol):
    """The door to all metadata of the namespace."""

    @property
    def jobs(self) -> Jobs: ...

    @property
    def accounts(self) -> Accounts: ...

    @property
    def identities(self) -> Identities: ...

    @property
    def registry(self) -> BucketRegistry: ...

    @property
    def encryption(self) -> EncryptionKeys: ...

    def container(self, bucket: str) -> Container:
        """A handle; cheap, makes no call."""

    async def create_bucket(self, settings: BucketSettings) -> None:
        """Registry, directory, container and account entry, in this order; repeating it finishes what a crash left. SYSTEM_BUCKET joins
        neither registry nor account.

        Raises: BucketTaken, BucketOwned.
        """

    async def remove_bucket(self, bucket: str, *, created_us: int = 0) -> None:
        """created_us: only the bucket that was made then, not one that took its name later; 0: whichever there is.

        Raises: BucketNotFound, BucketNotEmpty.
        """

    async def dirty_containers(self) -> list[str]:
        """Buckets (also removed ones) that have deletions to do or records to sync."""
