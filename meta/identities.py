"""Accounts, their users, and the policies that narrow users and keys: requests to the base that the keys lie in."""

from __future__ import annotations

import re
import secrets

import apsw
import msgspec

from meta.accounts import FIND_ACCOUNTS, account_of, check_policies, decode_names, encode_names, write_account
from meta.base import Base
from meta.kind import Transaction
from meta.protocol.identities import Account, NamedPolicy, Subject, User
from node.errors import AccountNotFound, AlreadyExists, InvalidArgument, KeyPairNotFound, PolicyNotFound, StillInUse, UserNotFound

ATTACHED_MAX = 10
"""Policies of one user or key."""
POLICY_NAME_MAX = 1_024 + 128
"""A preset's name holds a bucket and a prefix."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+=,.@_-]{0,127}")
_USER_ID = re.compile(r"[^\s/*?\"\\:]{1,128}")


class LocalIdentities:
    """Implements meta.protocol.identities.Identities on a base of this host."""

    def __init__(self, base: Base[Transaction]) -> None:
        self._base = base

    def __repr__(self) -> str:
        return f"<LocalIdentities {self._base!r}>"

    async def create_account(self, account: Account) -> Account:
        _check_name(account.account, "an account")
        if account.user_id and not _USER_ID.fullmatch(account.user_id):
            raise InvalidArgument('a canonical id has 1 to 128 characters, none of them a space or one of / : * ? " \\')
        made = msgspec.structs.replace(
            account, user_id=account.user_id or secrets.token_hex(32), display_name=account.display_name or account.account
        )
        return await self._base.write(_create_account, made)

    async def accounts(self) -> list[Account]:
        return self._base.read(lambda db: [account_of(found) for found in db.execute(FIND_ACCOUNTS + " ORDER BY account")])

    async def create_user(self, user: User) -> User:
        _check_name(user.user, "a user")
        return await self._base.write(_create_user, user)

    async def users(self) -> list[User]:
        return self._base.read(_users)

    async def remove_user(self, account: str, user: str) -> None:
        await self._base.write(_remove_user, account, user)

    async def suspend(self, subject: Subject, *, suspended: bool) -> None:
        await self._base.write(_suspend, subject, suspended)

    async def put_policy(self, name: str, text: str) -> NamedPolicy:
        if not name or len(name) > POLICY_NAME_MAX or not name.isprintable():
            raise InvalidArgument(f"a policy's name has 1 to {POLICY_NAME_MAX} printable characters")
        return await self._base.write(_put_policy, name, text)

    async def policies(self) -> list[NamedPolicy]:
        return self._base.read(_policies)

    async def delete_policy(self, name: str) -> None:
        await self._base.write(_delete_policy, name)

    async def attach(self, subject: Subject, policy: str, *, attached: bool) -> None:
        if not subject.access_key and not subject.user:
            raise InvalidArgument("a policy is attached to a user or a key")
        await self._base.write(_attach, subject, policy, attached)


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f"the name of {what} has 1 to 128 characters of A-Z a-z 0-9 + = , . @ _ -, the first a letter or digit")


def _create_account(transaction: Transaction, account: Account) -> Account:
    db = transaction.db
    found = db.execute(f"{FIND_ACCOUNTS} WHERE account = ?", (account.account,)).get
    if found is not None and found[1]:
        raise AlreadyExists(f"there is an account {account.account} already")
    if db.execute("SELECT 1 FROM accounts WHERE user_id = ?1 UNION SELECT 1 FROM keys WHERE user_id = ?1", (account.user_id,)).get:
        raise AlreadyExists("another account has that canonical id")
    made = msgspec.structs.replace(account, created_us=found[4] if found else transaction.now_us)
    write_account(transaction, made)
    return made


def _create_user(transaction: Transaction, user: User) -> User:
    db = transaction.db
    if db.execute("SELECT 1 FROM accounts WHERE account = ?", (user.account,)).get is None:
        raise AccountNotFound(f"there is no account {user.account}")
    if db.execute("SELECT 1 FROM users WHERE account = ? AND user = ?", (user.account, user.user)).get is not None:
        raise AlreadyExists(f"there is a user {user.user} of account {user.account} already")
    _check_attached(db, user.policies)
    made = msgspec.structs.replace(user, created_us=transaction.now_us)
    transaction.write(
        "INSERT INTO users VALUES (?, ?, ?, ?, ?)", (made.account, made.user, made.created_us, made.suspended, encode_names(made.policies))
    )
    return made


def _users(db: apsw.Connection) -> list[User]:
    found = db.execute("SELECT account, user, created_us, suspended, policies FROM users ORDER BY account, user")
    return [User(account, user, created_us, suspended == 1, decode_names(names)) for account, user, created_us, suspended, names in found]


def _remove_user(transaction: Transaction, account: str, user: str) -> None:
    if transaction.db.execute("SELECT 1 FROM keys WHERE account = ? AND name = ?", (account, user)).get is not None:
        raise StillInUse(f"the user {user} of account {account} has access keys")
    if not transaction.write("DELETE FROM users WHERE account = ? AND user = ?", (account, user)):
        raise _no_user(account, user)


def _no_user(account: str, user: str) -> UserNotFound:
    return UserNotFound(f"there is no user {user} of account {account}")


def _suspend(transaction: Transaction, subject: Subject, suspended: bool) -> None:
    if subject.access_key:
        if not transaction.write("UPDATE keys SET suspended = ? WHERE access_key = ?", (suspended, subject.access_key)):
            raise KeyPairNotFound("there is no such access key")
    elif subject.user:
        if not transaction.write(
            "UPDATE users SET suspended = ? WHERE account = ? AND user = ?", (suspended, subject.account, subject.user)
        ):
            raise _no_user(subject.account, subject.user)
    elif not transaction.write("UPDATE accounts SET suspended = ? WHERE account = ?", (suspended, subject.account)):
        raise AccountNotFound(f"there is no account {subject.account}")


def _put_policy(transaction: Transaction, name: str, text: str) -> NamedPolicy:
    created_us = transaction.db.execute("SELECT created_us FROM policies WHERE name = ?", (name,)).get or transaction.now_us
    policy = NamedPolicy(name, text, created_us, transaction.now_us)
    transaction.write(
        "INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?)", (policy.name, policy.text, policy.created_us, policy.changed_us)
    )
    return policy


def _policies(db: apsw.Connection) -> list[NamedPolicy]:
    return [NamedPolicy(*found) for found in db.execute("SELECT name, text, created_us, changed_us FROM policies ORDER BY name")]


def _delete_policy(transaction: Transaction, name: str) -> None:
    attached = [text for (text,) in transaction.db.execute("SELECT policies FROM users UNION SELECT policy FROM keys")]
    if any(name in decode_names(text) for text in attached):
        raise StillInUse(f"the policy {name} is attached")
    if not transaction.write("DELETE FROM policies WHERE name = ?", (name,)):
        raise PolicyNotFound(f"there is no policy {name}")


def _attach(transaction: Transaction, subject: Subject, policy: str, attached: bool) -> None:
    db = transaction.db
    if subject.access_key:
        text = db.execute("SELECT policy FROM keys WHERE access_key = ?", (subject.access_key,)).get
        missing: KeyPairNotFound | UserNotFound = KeyPairNotFound("there is no such access key")
    else:
        text = db.execute("SELECT policies FROM users WHERE account = ? AND user = ?", (subject.account, subject.user)).get
        missing = _no_user(subject.account, subject.user)
    if text is None:
        raise missing
    names = tuple(name for name in decode_names(text) if name != policy)
    if attached:
        names = (*names, policy)
        _check_attached(db, names)
    elif len(names) == len(decode_names(text)):
        raise PolicyNotFound(f"the policy {policy} is not attached")
    if subject.access_key:
        transaction.write("UPDATE keys SET policy = ? WHERE access_key = ?", (encode_names(names), subject.access_key))
    else:
        transaction.write(
            "UPDATE users SET policies = ? WHERE account = ? AND user = ?", (encode_names(names), subject.account, subject.user)
        )


def _check_attached(db: apsw.Connection, names: tuple[str, ...]) -> None:
    if len(names) > ATTACHED_MAX:
        raise InvalidArgument(f"at most {ATTACHED_MAX} policies are attached to one user or key")
    check_policies(db, names)
