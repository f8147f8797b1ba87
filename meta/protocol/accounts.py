"""The door to access keys, and to which buckets an account has."""

from __future__ import annotations

from typing import Protocol

import msgspec

from meta.protocol.registry import BucketEntry


class KeyPair(msgspec.Struct, frozen=True, omit_defaults=True):
    """An access key; `name` is its user's.

    secret        only filled where it is needed (verification, creation); stored encrypted
    policies      names of those attached to the key itself
    boundaries    texts of the policies that narrow it, filled where the secret is: those of the user, those of the key; each group counts
    suspended     it is refused;  suspended_by: "account", "user" or "key", the widest of them
    """

    access_key: str
    account: str
    name: str
    user_id: str
    display_name: str = ""
    email: str = ""
    secret: str = ""
    created_us: int = 0
    suspended: bool = False
    admin: bool = False
    policies: tuple[str, ...] = ()
    boundaries: tuple[tuple[str, ...], ...] = ()
    suspended_by: str = ""


class Person(msgspec.Struct, frozen=True):
    """Whom a canonical id stands for."""

    user_id: str
    account: str
    display_name: str
    email: str = ""


class Accounts(Protocol):
    """Accounts, access keys and each account's buckets: one base."""

    async def create_key(self, pair: KeyPair) -> KeyPair:
        """Makes access key and secret where they are empty, account and user where they are new. Raises: AlreadyExists, PolicyNotFound."""

    async def key(self, access_key: str) -> KeyPair:
        """With the secret. Raises: KeyPairNotFound."""

    async def keys(self) -> list[KeyPair]: ...

    async def people(self, *, user_id: str = "", email: str = "") -> list[Person]:
        """Those with this canonical id (at most one), or with this e-mail address, whatever its case."""

    async def revoke_key(self, access_key: str) -> None: ...

    async def add_bucket(self, entry: BucketEntry) -> None: ...

    async def remove_bucket(self, account: str, bucket: str) -> None: ...

    async def buckets(self, account: str, *, prefix: str = "", after: str = "", limit: int = 10_000) -> list[BucketEntry]:
        """account "": those of all accounts."""

    async def dump(self) -> bytes:
        """All that is known but the buckets, for `restore`; equal states give equal bytes. Secrets are sealed in it."""

    async def restore(self, dump: bytes) -> None:
        """Adds what a dump says to what is there; existing rows stay. Raises: RecordCorrupt when it can't be read."""
