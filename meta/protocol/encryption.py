"""The door to the namespace's encryption keys."""

from __future__ import annotations

from typing import Protocol

import msgspec


class EncryptionKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a key of the namespace stands; its bytes are in no metadata. version: the newest; created_us 0: it was always there."""

    id: str
    description: str = ""
    created_us: int = 0
    enabled: bool = True
    version: int = 1
    rotated_us: int = 0


class EncryptionKeys(Protocol):
    """The namespace's encryption keys. implied: a key that is there, in its first version, also when nothing is written of it yet."""

    async def create_encryption_key(self, key: str = "", description: str = "") -> EncryptionKey:
        """key: its id, "" for a random one. Raises: AlreadyExists, InvalidArgument."""

    async def encryption_key(self, key: str, *, implied: bool = False) -> EncryptionKey:
        """Raises: EncryptionKeyNotFound."""

    async def encryption_keys(self) -> list[EncryptionKey]:
        """Those of which something is written."""

    async def enable_encryption_key(self, key: str, *, enabled: bool) -> EncryptionKey:
        """Raises: EncryptionKeyNotFound; InvalidArgument for one that was always there."""

    async def rotate_encryption_key(self, key: str, *, implied: bool = False) -> EncryptionKey:
        """A new version for what is encrypted from now on. Raises: EncryptionKeyNotFound."""

    async def restore_encryption_keys(self, keys: list[EncryptionKey]) -> None:
        """Takes them in as `encryption_keys` told them, in place of those with their ids."""
