"""Who may do what: one pure function, called once for every request before its handler runs.

A route names the permission it needs (S3's action names). What a bucket's settings alone can't decide is UNDECIDED: the caller fetches
the object and asks again with its ACL. Policies, grants, ownership and public-access blocks join here as arguments, not in handlers.
"""

from __future__ import annotations

from enum import Enum

from meta.protocol import BucketSettings
from s3.identity import Identity

PUBLIC_READ = "public-read"


class Decision(Enum):
    ALLOW = "allow"
    DENY = "deny"
    UNDECIDED = "undecided"


_BY_BUCKET_ACL_READ = frozenset({"s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"})
_BY_OBJECT_ACL_READ = frozenset({"s3:GetObject", "s3:GetObjectVersion"})
_BY_ACCOUNT = frozenset({"s3:ListAllMyBuckets", "s3:CreateBucket"})
"""Permissions that concern no bucket there is yet: every identity has them."""


def allow(identity: Identity, permission: str, settings: BucketSettings | None, object_acl: str | None = None) -> Decision:
    """settings: of the bucket concerned, None when the operation has none. object_acl: of the object, None when it was not fetched yet;
    "" when there is no such object."""
    if settings is None:
        return Decision.ALLOW if permission in _BY_ACCOUNT and not identity.anonymous else Decision.DENY
    if identity.admin or (identity.account == settings.account and not identity.anonymous):
        return Decision.ALLOW
    if permission in _BY_BUCKET_ACL_READ and settings.acl == PUBLIC_READ:
        return Decision.ALLOW
    if permission in _BY_OBJECT_ACL_READ:
        if object_acl is None:
            return Decision.UNDECIDED
        if object_acl == PUBLIC_READ:
            return Decision.ALLOW
    return Decision.DENY


def may_know_absence(identity: Identity, settings: BucketSettings) -> bool:
    """Whether a missing key is told as missing: only to those who may list; others learn nothing (AccessDenied)."""
    return allow(identity, "s3:ListBucket", settings) is Decision.ALLOW
