"""One statement of a policy: read from JSON, checked, asked. Pure.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from s3.action import ACTIONS, actions_of
from s3.conditionkey import is_condition_key
from s3.identity import Identity
from s3.operator import Condition, parse_condition
from s3.principal import Principals, parse_principals
from s3.router import Level
from s3.wildcard import Lookup, Pattern, compile_pattern, normal_key

_ARN = re.compile(r"(?:arn:aws[a-z-]*:s3:[^:/]*:[^:/]*:)(.+)", re.DOTALL)
_FIELDS = frozenset(
    ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"],
)
_ANY_KEY = "\0"
"""Stands for whatever key: no pattern can have it, so only stars reach over it."""


class PolicyRefused(ValueError):
    """The text is no policy; the words are AWS's."""


class Ask(msgspec.Struct, frozen=True):
    """What a policy is asked: may `who` do `permission` to `resource` ("bucket", "bucket/key", "*" for the service)?"""

    who: Identity
    permission: str
    resource: str
    lookup: Lookup


class Dialect(msgspec.Struct, frozen=True):
    """bucket: whose policy it is, "" for a policy of keys and users; variables: ${...} are filled in."""

    bucket: str
    variables: bool


class Statement(msgspec.Struct, frozen=True):
    """principals: None in policies of keys; not_principals, not_resources: all but those."""

    sid: str
    allows: bool
    principals: Principals | None
    not_principals: bool
    actions: frozenset[str]
    resources: tuple[Pattern, ...]
    not_resources: bool
    conditions: tuple[Condition, ...]

    def fits(self, who: Identity) -> bool:
        return self.principals is None or self.principals.fit(who) != self.not_principals

    def applies(self, ask: Ask) -> bool:
        """Whether the statement speaks of this; the policy has chosen it by action and caller."""
        lookup, resource = ask.lookup, ask.resource
        for pattern in self.resources:
            if pattern.matches(resource, lookup):
                if self.not_resources:
                    return False
                break
        else:
            if not self.not_resources:
                return False
        for condition in self.conditions:  # noqa: SIM110 - on the path of requests, where a generator costs as much as a condition
            if not condition.holds(lookup):
                return False
        return True


def parse_statement(value: object, dialect: Dialect) -> Statement:
    """Raises: PolicyRefused."""
    if not isinstance(value, Mapping):
        raise PolicyRefused("Policies must be valid JSON and the first byte must be '{'")
    for name in value:
        if name not in _FIELDS:
            raise PolicyRefused(f"Unknown field {name}")
    effect = value.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise PolicyRefused("Missing required field Effect" if effect is None else f"Invalid effect: {effect}")
    allows = effect == "Allow"
    principals, not_principals = _principals(value, dialect, allows)
    actions = _actions(value, dialect)
    resources, not_resources = _resources(value, dialect)
    sid = value.get("Sid", "")
    if not isinstance(sid, str):
        raise PolicyRefused("Invalid Sid")
    statement = Statement(
        sid, allows, principals, not_principals, actions, resources, not_resources, _conditions(value.get("Condition"), dialect)
    )
    if dialect.bucket and not _reaches(statement, dialect.bucket):
        raise PolicyRefused("Action does not apply to any resource(s) in statement")
    return statement


def _principals(value: Mapping[str, object], dialect: Dialect, allows: bool) -> tuple[Principals | None, bool]:
    if not dialect.bucket:
        if "Principal" in value or "NotPrincipal" in value:
            raise PolicyRefused("A policy of keys and users has no Principal: it speaks of whom it is attached to")
        return None, False
    negated = "NotPrincipal" in value
    if negated == ("Principal" in value):
        raise PolicyRefused(
            "Missing required field Principal" if not negated else "Statement must have Principal or NotPrincipal, not both"
        )
    if negated and allows:
        raise PolicyRefused("Allow with NotPrincipal is not allowed.")
    try:
        return parse_principals(value["NotPrincipal" if negated else "Principal"]), negated
    except ValueError as error:
        raise PolicyRefused("Invalid principal in policy") from error


def _one_of(value: Mapping[str, object], name: str) -> tuple[list[str], bool]:
    """The texts of a field or of its negation, and which it was."""
    negated = f"Not{name}" in value
    if negated == (name in value):
        raise PolicyRefused(f"Statement must have {name} or Not{name}, not both" if negated else f"Missing required field {name}")
    return _texts(value[f"Not{name}" if negated else name], name), negated


def _texts(value: object, name: str) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise PolicyRefused(f"Missing required field {name} cannot be empty!")
    for text in texts:
        if not isinstance(text, str) or not text:
            raise PolicyRefused(f"Policy has invalid {name.lower()}")
    return texts


def _actions(value: Mapping[str, object], dialect: Dialect) -> frozenset[str]:
    texts, negated = _one_of(value, "Action")
    try:
        sets = [actions_of(text, others=not dialect.bucket) for text in texts]
        named = sets[0] if len(sets) == 1 else frozenset[str]().union(*sets)
    except ValueError as error:
        raise PolicyRefused("Policy has invalid action") from error
    return frozenset(ACTIONS) - named if negated else named


def _resources(value: Mapping[str, object], dialect: Dialect) -> tuple[tuple[Pattern, ...], bool]:
    texts, negated = _one_of(value, "Resource")
    patterns = []
    for text in texts:
        if text == "*" and not dialect.bucket:
            patterns.append(compile_pattern(text))
            continue
        found = _ARN.fullmatch(text)
        if found is None:
            raise PolicyRefused("Policy has invalid resource")
        pattern = compile_pattern(found[1], variables=dialect.variables)
        if dialect.bucket and not _names_bucket(found[1], dialect.bucket):
            raise PolicyRefused("Policy has invalid resource")
        patterns.append(pattern)
    return tuple(patterns), negated


def _names_bucket(text: str, bucket: str) -> bool:
    """Whether the pattern is about this bucket: its part before the slash fits the name."""
    return compile_pattern(text.partition("/")[0], variables=False).matches(bucket, _no_values)


def _no_values(_key: str) -> tuple[str, ...]:
    return ()


def _reaches(statement: Statement, bucket: str) -> bool:
    """Whether any of the actions can be done to any of the resources."""
    if statement.not_resources:
        return True
    levels = {ACTIONS[action] for action in statement.actions}
    if Level.BUCKET in levels and any(pattern.matches(bucket, _no_values) or pattern.parts is None for pattern in statement.resources):
        return True
    return Level.OBJECT in levels and any(_may_be_object(pattern) for pattern in statement.resources)


def _may_be_object(pattern: Pattern) -> bool:
    return any("/" in piece or "*" in piece for piece in pattern.pieces if isinstance(piece, str)) or pattern.parts is None


def _conditions(value: object, dialect: Dialect) -> tuple[Condition, ...]:
    if value is None:
        return ()
    if not isinstance(value, Mapping):
        raise PolicyRefused("Policy has invalid condition")
    found = []
    for name, keys in value.items():
        if not isinstance(keys, Mapping) or not keys:
            raise PolicyRefused(f"Invalid Condition type : {name}")
        for key, operands in keys.items():
            if not is_condition_key(normal_key(key)):
                raise PolicyRefused("Policy has an invalid condition key")
            found.append(_condition(name, key, operands, dialect))
    return tuple(found)


def _condition(name: str, key: str, value: object, dialect: Dialect) -> Condition:
    operands = []
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, bool):
            operands.append("true" if each else "false")
        elif isinstance(each, str | int | float):
            operands.append(str(each))
        else:
            raise PolicyRefused(f"Invalid value in condition {name}")
    if not operands:
        raise PolicyRefused(f"Missing values in condition {name}")
    try:
        return parse_condition(name, key, tuple(operands), variables=dialect.variables)
    except KeyError as error:
        raise PolicyRefused(f"Invalid Condition type : {name}") from error
    except ValueError as error:
        raise PolicyRefused(f"Invalid value in condition {name}") from error
