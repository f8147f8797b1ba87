"""Access control lists: what canned names stand for, how lists are kept, whom they let in. Pure.

Kept as text: a canned name, or else `[1, [[permission, kind, grantee], ...]]`, kind "id" (a canonical id) or "uri" (a group).

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from s3.identity import Identity

GRANTS_MAX = 100
LISTS_CACHED = 1_024
FORMAT = 1

FULL_CONTROL, READ, WRITE, READ_ACP, WRITE_ACP = "FULL_CONTROL", "READ", "WRITE", "READ_ACP", "WRITE_ACP"
PERMISSIONS = frozenset({FULL_CONTROL, READ, WRITE, READ_ACP, WRITE_ACP})

ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
AUTHENTICATED_USERS = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
LOG_DELIVERY = "http://acs.amazonaws.com/groups/s3/LogDelivery"
GROUPS = frozenset({ALL_USERS, AUTHENTICATED_USERS, LOG_DELIVERY})
_PUBLIC = frozenset({ALL_USERS, AUTHENTICATED_USERS})
USER, GROUP = "id", "uri"


class Grant(msgspec.Struct, frozen=True, array_like=True):
    permission: str
    kind: str
    grantee: str

    @property
    def public(self) -> bool:
        return self.kind == GROUP and self.grantee in _PUBLIC


PRIVATE = "private"
BUCKET_OWNER_FULL_CONTROL = "bucket-owner-full-control"
_GROUP_GRANTS: dict[str, tuple[tuple[str, str], ...]] = {
    PRIVATE: (),
    "public-read": ((READ, ALL_USERS),),
    "public-read-write": ((READ, ALL_USERS), (WRITE, ALL_USERS)),
    "authenticated-read": ((READ, AUTHENTICATED_USERS),),
    "log-delivery-write": ((WRITE, LOG_DELIVERY), (READ_ACP, LOG_DELIVERY)),
    "aws-exec-read": (),
    "bucket-owner-read": (),
    BUCKET_OWNER_FULL_CONTROL: (),
}
_TO_BUCKET_OWNER = {"bucket-owner-read": READ, BUCKET_OWNER_FULL_CONTROL: FULL_CONTROL}
CANNED = frozenset(_GROUP_GRANTS)
"""aws-exec-read lets a service of AWS in that isn't here: it is private. So are the bucket-owner ones for a bucket."""
CANNED_OF_OBJECTS = CANNED - {"log-delivery-write"}


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    format: int
    grants: tuple[Grant, ...]


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(_Kept)


def encode_acl(grants: Sequence[Grant]) -> str:
    return _encode(_Kept(FORMAT, tuple(grants))).decode()


NOBODY = encode_acl(())
"""A list without grants: it takes even the owner's own right to read and write away, though not to read and write the list."""


@lru_cache(maxsize=LISTS_CACHED)
def grants_of(acl: str, owner: str, bucket_owner: str) -> tuple[Grant, ...]:
    """What a kept list grants. acl: as kept; owner: of the bucket or object; bucket_owner: equal to owner for a bucket's own list."""
    groups = _GROUP_GRANTS.get(acl)
    if groups is None:
        return _decoder.decode(acl).grants
    grants = [Grant(permission, GROUP, group) for permission, group in groups]
    grants.append(Grant(FULL_CONTROL, USER, owner))
    if acl in _TO_BUCKET_OWNER and bucket_owner != owner:
        grants.append(Grant(_TO_BUCKET_OWNER[acl], USER, bucket_owner))
    return tuple(grants)


def is_public(grants: Iterable[Grant]) -> bool:
    return any(grant.public for grant in grants)


def permits(grants: Iterable[Grant], who: Identity, permission: str, *, ignore_public: bool) -> bool:
    """Whether a list gives this permission, or all, to `who`."""
    for grant in grants:
        if grant.permission not in (permission, FULL_CONTROL) or (ignore_public and grant.public):
            continue
        if grant.grantee == ALL_USERS if grant.kind == GROUP else grant.grantee == who.user_id and not who.anonymous:
            return True
        if grant.kind == GROUP and grant.grantee == AUTHENTICATED_USERS and not who.anonymous:
            return True
    return False


def shares(grants: Iterable[Grant], *with_: str) -> bool:
    """Whether anybody but these users gets anything."""
    return any(grant.kind == GROUP or grant.grantee not in with_ for grant in grants)
