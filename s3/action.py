"""The actions that policies allow and deny, and what each is done to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from s3.router import NOT_IN_MODEL, ROUTES, Level
from s3.wildcard import compile_pattern

OF_VERSIONS: Mapping[str, str] = MappingProxyType(
    {
        "s3:GetObject": "s3:GetObjectVersion",
        "s3:DeleteObject": "s3:DeleteObjectVersion",
        "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
        "s3:PutObjectTagging": "s3:PutObjectVersionTagging",
        "s3:DeleteObjectTagging": "s3:DeleteObjectVersionTagging",
        "s3:GetObjectAcl": "s3:GetObjectVersionAcl",
        "s3:PutObjectAcl": "s3:PutObjectVersionAcl",
        "s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
        "s3:GetObjectTorrent": "s3:GetObjectVersionTorrent",
    }
)
"""What a permission is called when the request names a version."""

_MORE = {
    "s3:BypassGovernanceRetention": Level.OBJECT,
    "s3:GetObjectAttributes": Level.OBJECT,
    "s3:ReplicateObject": Level.OBJECT,
    "s3:ReplicateDelete": Level.OBJECT,
    "s3:ReplicateTags": Level.OBJECT,
    "s3:InitiateReplication": Level.BUCKET,
    "s3:ObjectOwnerOverrideToBucketOwner": Level.OBJECT,
    "s3:GetObjectVersionForReplication": Level.OBJECT,
    "s3:GetAccountPublicAccessBlock": Level.SERVICE,
    "s3:PutAccountPublicAccessBlock": Level.SERVICE,
}
"""Actions that are no operation's first permission."""


def _actions() -> dict[str, Level]:
    found = dict(_MORE)
    for route in ROUTES:
        if route.operation not in NOT_IN_MODEL and route.permission.startswith("s3:") and found.get(route.permission) is not Level.OBJECT:
            found[route.permission] = route.level
    return found | dict.fromkeys(OF_VERSIONS.values(), Level.OBJECT)


ACTIONS: Mapping[str, Level] = MappingProxyType(_actions())
"""Every action that a policy may name, with what it is done to."""
_BY_LOWER = {name.lower(): name for name in ACTIONS}
_SERVICE = "s3"
_TEXTS_CACHED = 1_024


@lru_cache(maxsize=_TEXTS_CACHED)
def actions_of(text: str, *, others: bool) -> frozenset[str]:
    """The actions that a policy's text names, whatever its case. others: actions of other services are passed over.

    Raises: ValueError when it names none.
    """
    if text == "*":
        return frozenset(ACTIONS)
    service, colon, _ = text.partition(":")
    if not colon:
        raise ValueError(f"{text} is no action")
    if service.lower() != _SERVICE:
        if others:
            return frozenset()
        raise ValueError(f"{text} is no action of S3")
    pattern = compile_pattern(text.lower(), variables=False)
    found = frozenset(name for lower, name in _BY_LOWER.items() if pattern.matches(lower, _no_values))
    if not found:
        raise ValueError(f"{text} is no action of S3")
    return found


def _no_values(_key: str) -> tuple[str, ...]:
    return ()
