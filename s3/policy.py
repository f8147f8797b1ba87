"""Policies: documents of statements that allow and deny. Read once, asked often. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-policy-language-overview.html
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import NoReturn

from s3.conditionkey import EXISTING_TAG, REQUEST_TAG
from s3.operator import Condition
from s3.statement import Ask, Dialect, PolicyRefused, Statement, parse_statement
from s3.wildcard import Variable

POLICY_BYTES_MAX = 20 << 10
POLICIES_CACHED = 256
CALLERS_REMEMBERED = 64
"""Callers and actions, of one policy."""
_VERSIONS = ("2012-10-17", "2008-10-17")
_VERSION_WITHOUT = "2008-10-17"
"""What a policy without a version is: one whose ${...} are plain text."""


class Effect(Enum):
    """NONE: the policy says nothing of it."""

    ALLOW = "Allow"
    DENY = "Deny"
    NONE = ""


_ALLOW, _DENY, _NONE = Effect  # an Enum's member costs 60 ns to look up


class Policy:
    """statements: in order; public: it gives to everybody what is not fenced in (see `is_public`); by_tag: it asks for an object's tags;
    keys: of its conditions. Whom of the callers each statement fits is remembered."""

    __slots__ = ("_about", "_by_action", "by_tag", "keys", "public", "statements")

    def __init__(self, statements: tuple[Statement, ...]) -> None:
        self.statements = statements
        self.public = any(is_public(statement) for statement in statements)
        self.by_tag = any(_asks_tags(statement) for statement in statements)
        self.keys = frozenset(condition.key for statement in statements for condition in statement.conditions)
        by_action: dict[str, list[Statement]] = {}
        for statement in sorted(statements, key=lambda each: each.allows):  # denials first: one that applies ends it
            for action in statement.actions:
                by_action.setdefault(action, []).append(statement)
        self._by_action = {action: tuple(found) for action, found in by_action.items()}
        self._about: dict[tuple[str, str, str, str], tuple[Statement, ...]] = {}

    def __repr__(self) -> str:
        return f"<Policy statements={len(self.statements)} public={self.public}>"

    def effect(self, ask: Ask) -> Effect:
        """An explicit denial wins over every permission."""
        for statement in self._concerning(ask):
            if statement.applies(ask):
                return _ALLOW if statement.allows else _DENY
        return _NONE

    def _concerning(self, ask: Ask) -> tuple[Statement, ...]:
        """The statements on this action that fit this caller."""
        who = ask.who
        asked = ask.permission, who.account, who.user, who.user_id
        found = self._about.get(asked)
        if found is None:
            if len(self._about) >= CALLERS_REMEMBERED:
                self._about.clear()
            found = tuple(statement for statement in self._by_action.get(ask.permission, ()) if statement.fits(who))
            self._about[asked] = found
        return found

    def allows_tags(self, ask: Ask) -> bool:
        """Whether a permission to put the object is bound to the very tags that the request brings along: then they are allowed too."""
        return any(
            statement.allows
            and statement.fits(ask.who)
            and statement.applies(ask)
            and any(condition.key.startswith(REQUEST_TAG) for condition in statement.conditions)
            for statement in self._by_action.get("s3:PutObject", ())
        )


@lru_cache(maxsize=POLICIES_CACHED)
def parse_policy(text: str, bucket: str = "") -> Policy:
    """A bucket's policy, or with bucket "" one of keys and users. Remembered by its text. Raises: PolicyRefused."""
    if len(text.encode("utf-8", "surrogatepass")) > POLICY_BYTES_MAX:
        raise PolicyRefused(f"Normalized policy document exceeds the maximum allowed size of {POLICY_BYTES_MAX} bytes.")
    if not text.lstrip().startswith("{"):
        raise PolicyRefused("Policies must be valid JSON and the first byte must be '{'")
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PolicyRefused("This policy contains invalid Json") from error
    return Policy(_statements(value, bucket))


def _statements(value: Mapping[str, object], bucket: str) -> tuple[Statement, ...]:
    for name in value:
        if name not in ("Version", "Id", "Statement"):
            raise PolicyRefused(f"Unknown field {name}")
    version = value.get("Version", _VERSION_WITHOUT)
    if version not in _VERSIONS:
        raise PolicyRefused("The policy must contain a valid version string")
    if not isinstance(value.get("Id", ""), str):
        raise PolicyRefused("Invalid Id")
    found = value.get("Statement")
    listed = found if isinstance(found, list) else [found]
    if not listed or found is None:
        raise PolicyRefused("Missing required field Statement")
    dialect = Dialect(bucket, version != _VERSION_WITHOUT)
    statements = tuple(parse_statement(each, dialect) for each in listed)
    sids = [statement.sid for statement in statements if statement.sid]
    if len(sids) != len(set(sids)):
        raise PolicyRefused("Statement ids (SID) in a single policy must be unique")
    return statements


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A field given twice would be read by one as the first and by another as the second."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _asks_tags(statement: Statement) -> bool:
    """In a condition's key or in a variable."""
    if any(condition.key.startswith(EXISTING_TAG) for condition in statement.conditions):
        return True
    operands = [operand for condition in statement.conditions for operand in condition.operands]
    keys = [piece.key for pattern in statement.resources for piece in pattern.pieces if isinstance(piece, Variable)]
    return any(EXISTING_TAG in text.lower() for text in operands) or any(key.startswith(EXISTING_TAG) for key in keys)


# What counts as public

_FENCING_KEYS = """
aws:principalarn aws:principalorgid aws:principalaccount aws:sourceaccount aws:sourcearn aws:sourceip aws:sourceowner aws:sourcevpc
aws:sourcevpce aws:userid s3:dataaccesspointaccount s3:dataaccesspointarn s3:x-amz-server-side-encryption-aws-kms-key-id
"""
_FENCES = frozenset(_FENCING_KEYS.split())
_FENCING = frozenset(["StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress"])
PREFIX_MIN_V4, PREFIX_MIN_V6 = 8, 32
"""Wider networks are the public at large."""


def is_public(statement: Statement) -> bool:
    """Whether it allows everybody something, without a condition that holds for fixed callers only.

    Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status
    """
    if not statement.allows or statement.principals is None or not statement.principals.everybody:
        return False
    return not any(_fences(condition) for condition in statement.conditions)


def _fences(condition: Condition) -> bool:
    if condition.key not in _FENCES or condition.operator not in _FENCING or condition.if_absent:  # it holds for who has no such value
        return False
    if condition.operator == "IpAddress":
        return all(_is_narrow(operand) for operand in condition.operands)
    return not any(set(operand) & set("*?") or "${" in operand for operand in condition.operands)


def _is_narrow(operand: str) -> bool:
    network = ipaddress.ip_network(operand.strip(), strict=False)
    return network.prefixlen >= (PREFIX_MIN_V4 if network.version == 4 else PREFIX_MIN_V6)
