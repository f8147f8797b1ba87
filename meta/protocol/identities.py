"""The door to accounts, their users and the policies that narrow them."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Account(msgspec.Struct, frozen=True, omit_defaults=True):
    """user_id: canonical id of the account, which is its buckets' owner; "" for one that never had a key."""

    account: str
    user_id: str = ""
    display_name: str = ""
    email: str = ""
    created_us: int = 0
    suspended: bool = False


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who of an account; has any number of access keys. policies: names of those attached; none: it may do what the account may."""

    account: str
    user: str
    created_us: int = 0
    suspended: bool = False
    policies: tuple[str, ...] = ()


class NamedPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """text: JSON; meta never looks into it."""

    name: str
    text: str
    created_us: int = 0
    changed_us: int = 0


class Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whom a suspension or a policy concerns: an access key, or a user of an account, or an account."""

    account: str = ""
    user: str = ""
    access_key: str = ""


class Identities(Protocol):
    """Accounts, their users, and the policies that narrow users and keys: in the same base as the keys."""

    async def create_account(self, account: Account) -> Account:
        """Makes the canonical id when it is empty. Raises: AlreadyExists, InvalidArgument."""

    async def accounts(self) -> list[Account]: ...

    async def create_user(self, user: User) -> User:
        """Raises: AlreadyExists, AccountNotFound, PolicyNotFound."""

    async def users(self) -> list[User]: ...

    async def remove_user(self, account: str, user: str) -> None:
        """Raises: UserNotFound, StillInUse while it has keys."""

    async def suspend(self, subject: Subject, *, suspended: bool) -> None:
        """Or resume. Raises: AccountNotFound, UserNotFound, KeyPairNotFound."""

    async def put_policy(self, name: str, text: str) -> NamedPolicy:
        """Also in place of one that is there; to whom it is attached feels it at once. Raises: InvalidArgument."""

    async def policies(self) -> list[NamedPolicy]: ...

    async def delete_policy(self, name: str) -> None:
        """Raises: PolicyNotFound, StillInUse while it is attached."""

    async def attach(self, subject: Subject, policy: str, *, attached: bool) -> None:
        """Or detach. Raises: UserNotFound, KeyPairNotFound, PolicyNotFound (also when it was not attached), InvalidArgument."""
