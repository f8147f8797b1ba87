"""Whom a policy's statement speaks of. Pure.

An account is named by its name, its canonical id or arn:aws:iam::ACCOUNT:root; one of its users by arn:aws:iam::ACCOUNT:user/NAME.
arn:aws:iam:::user/ID, Ceph's form without a tenant, is the account with that name or canonical id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from s3.identity import Identity

EVERYBODY = "*"
_NAME = r"[^\s:/*?\"\\]+"
_ACCOUNT = re.compile(_NAME)
_IAM = re.compile(rf"arn:aws[a-z-]*:(?:iam|sts)::({_NAME})?:(root|(?:user|role|assumed-role|federated-user)/[^\s*?\"\\]+)")
_KINDS = ("AWS", "CanonicalUser", "Federated", "Service")


class Principals(msgspec.Struct, frozen=True):
    """accounts: by name or canonical id; users: (account, name) pairs. What stands for services and roles fits nobody here."""

    everybody: bool = False
    accounts: frozenset[str] = frozenset()
    users: frozenset[tuple[str, str]] = frozenset()

    def fit(self, who: Identity) -> bool:
        if self.everybody:
            return True
        if who.anonymous:
            return False
        if who.account in self.accounts or who.user_id in self.accounts:
            return True
        return bool(self.users) and ((who.account, who.user) in self.users or (who.user_id, who.user) in self.users)


def parse_principals(value: object) -> Principals:
    """Raises: ValueError when it is no Principal element."""
    if value == EVERYBODY:
        return Principals(everybody=True)
    if not isinstance(value, Mapping) or not value or not value.keys() <= set(_KINDS):
        raise ValueError("a principal is * or an object of AWS, CanonicalUser, Federated, Service")
    everybody, accounts, users = False, set[str](), set[tuple[str, str]]()
    for kind, named in value.items():
        texts = [named] if isinstance(named, str) else named
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
            raise ValueError(f"{kind} names nobody")
        for text in texts:
            if kind == "AWS" and text == EVERYBODY:
                everybody = True
            elif kind == "AWS" and text.startswith("arn:"):
                _add_arn(text, accounts, users)
            elif kind in ("AWS", "CanonicalUser"):
                if not _ACCOUNT.fullmatch(text):
                    raise ValueError(f"{text} is no account")
                accounts.add(text)
    return Principals(everybody, frozenset(accounts), frozenset(users))


def _add_arn(text: str, accounts: set[str], users: set[tuple[str, str]]) -> None:
    found = _IAM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text} is no principal")
    account, named = found[1], found[2]
    kind, _, path = named.partition("/")
    if kind == "root" and account:
        accounts.add(account)
    elif kind == "user" and account:
        users.add((account, path))
    elif kind == "user":
        accounts.add(path)
    elif kind == "root":
        raise ValueError(f"{text} names no account")


def account_arn(account: str) -> str:
    return f"arn:aws:iam::{account}:root"


def user_arn(account: str, user: str) -> str:
    return f"arn:aws:iam::{account}:user/{user}"
