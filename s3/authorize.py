"""Who may do what: one pure function, asked for every permission that a request needs before its handler runs.

Theory of operation. What narrows the caller (its own policies) must allow it. Then, in this order: an administrator of another account
may; a denial by the bucket's policy ends it (but the bucket's account may always see and mend the policy); the bucket's account may,
save with objects that others own; a permission by the bucket's policy counts for what the bucket's account owns; what is left is up to
the access control lists. What an object's facts are needed for is UNDECIDED until they are there: the caller fetches them and asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from meta.protocol.bucket import BucketSettings
from s3.acl import NOBODY, READ, READ_ACP, WRITE, WRITE_ACP, grants_of, permits
from s3.action import ACTIONS
from s3.ownership import ENFORCED, MIXED, ownership_of
from s3.policy import Effect, Policy, parse_policy
from s3.publicaccess import NO_BLOCK, PUBLIC_ACCESS_BLOCK, PublicAccessBlock
from s3.router import Level
from s3.statement import Ask, PolicyRefused

POLICY = "policy"
"""Name of the bucket's policy among its documents."""
GUARDS_CACHED = 256


class Decision(Enum):
    ALLOW = "allow"
    DENY = "deny"
    UNDECIDED = "undecided"


class Guard(msgspec.Struct, frozen=True):
    """All of a bucket that decides. mixed: it may hold objects of other accounts."""

    account: str
    owner: str
    acl: str
    ownership: str
    policy: Policy | None = None
    block: PublicAccessBlock = NO_BLOCK
    mixed: bool = False


class Thing(msgspec.Struct, frozen=True):
    """All of an object (or upload) that decides; as it will be, when it is about to be written.

    there     False: no such object
    new       it is being made by this very request
    foreign   its owner is of another account than the bucket
    """

    owner: str = ""
    acl: str = "private"
    foreign: bool = False
    there: bool = True
    new: bool = False


ABSENT = Thing(there=False)


def is_plain(settings: BucketSettings) -> bool:
    """Whether the bucket's own account may do everything in it: nothing narrows or denies."""
    documents = settings.documents
    return settings.acl != NOBODY and (not documents or (POLICY not in documents and MIXED not in documents))


def guard_of(settings: BucketSettings) -> Guard:
    """Remembered for as long as the very same settings are at hand."""
    known = _guards.get(settings.bucket)
    if known is not None and known[0] is settings:
        return known[1]
    if len(_guards) >= GUARDS_CACHED:
        _guards.clear()
    guard = _new_guard(settings)
    _guards[settings.bucket] = settings, guard
    return guard


_guards: dict[str, tuple[BucketSettings, Guard]] = {}


def _new_guard(settings: BucketSettings) -> Guard:
    text = settings.documents.get(POLICY)
    return Guard(
        settings.account,
        settings.owner,
        settings.acl,
        ownership_of(settings),
        None if text is None else parse_policy(text, settings.bucket),
        PUBLIC_ACCESS_BLOCK.of(settings) or NO_BLOCK,
        MIXED in settings.documents,
    )


_BY_BUCKET_ACL: Mapping[str, str] = {
    "s3:ListBucket": READ,
    "s3:ListBucketVersions": READ,
    "s3:ListBucketMultipartUploads": READ,
    "s3:PutObject": WRITE,
    "s3:DeleteObject": WRITE,
    "s3:GetBucketAcl": READ_ACP,
    "s3:PutBucketAcl": WRITE_ACP,
}
_BY_OBJECT_ACL: Mapping[str, str] = {
    "s3:GetObject": READ,
    "s3:GetObjectVersion": READ,
    "s3:GetObjectAttributes": READ,
    "s3:GetObjectVersionAttributes": READ,
    "s3:GetObjectTorrent": READ,
    "s3:GetObjectVersionTorrent": READ,
    "s3:GetObjectAcl": READ_ACP,
    "s3:GetObjectVersionAcl": READ_ACP,
    "s3:PutObjectAcl": WRITE_ACP,
    "s3:PutObjectVersionAcl": WRITE_ACP,
}
_OF_NEW = frozenset({"s3:PutObjectAcl", "s3:PutObjectTagging"})
"""Whom the bucket's list lets make an object, it also lets say who may read it and what its tags are; anybody's has no other owner."""
_BY_INITIATOR = frozenset({"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"})
_OWNERS_ALWAYS = frozenset({READ_ACP, WRITE_ACP})
_BY_ACCOUNT = frozenset({"s3:ListAllMyBuckets"})
"""Permissions that concern no bucket: every identity has them."""
_NEVER_LOST = frozenset({"s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"})


def decide(ask: Ask, guard: Guard | None, thing: Thing | None = None) -> Decision:
    """guard: of the bucket concerned (of one to be made: as it will be), None for what concerns none; thing: None until it was fetched."""
    who = ask.who
    if who.boundaries:
        within = _within(ask, thing)
        if within is not Decision.ALLOW:
            return within
    if guard is None:
        return _verdict(not who.anonymous and ask.permission in _BY_ACCOUNT)
    inside = who.account == guard.account and not who.anonymous
    if who.admin and not inside:
        return Decision.ALLOW
    effect = Effect.NONE
    if guard.policy is not None:
        if _waits(guard.policy, ask, thing):
            return Decision.UNDECIDED
        effect = guard.policy.effect(ask)
        if effect is Effect.NONE and thing is not None and thing.new and ask.permission == "s3:PutObjectTagging":
            effect = Effect.ALLOW if guard.policy.allows_tags(ask) else Effect.NONE
        if effect is Effect.DENY:
            return _verdict(inside and ask.permission in _NEVER_LOST)
    if inside:
        return _by_ownership(ask, guard, thing, allowed=effect is Effect.ALLOW)
    if effect is Effect.ALLOW and guard.policy is not None and not (guard.block.restrict_public_buckets and guard.policy.public):
        if not _may_be_foreign(ask, guard):
            return Decision.ALLOW
        if thing is None:
            return Decision.UNDECIDED
        if not thing.foreign:
            return Decision.ALLOW
    return _by_acl(ask, guard, thing)


def _verdict(allowed: bool) -> Decision:
    return Decision.ALLOW if allowed else Decision.DENY


def _waits(policy: Policy, ask: Ask, thing: Thing | None) -> bool:
    return policy.by_tag and thing is None and ACTIONS.get(ask.permission) is Level.OBJECT


def _within(ask: Ask, thing: Thing | None) -> Decision:
    """Whether each group of the caller's own policies allows it and none denies it."""
    for group in ask.who.boundaries:
        try:
            policies = [parse_policy(text) for text in group]
        except PolicyRefused:  # nobody can say what it allows
            return Decision.DENY
        if any(_waits(policy, ask, thing) for policy in policies):
            return Decision.UNDECIDED
        effects = {policy.effect(ask) for policy in policies}
        if Effect.DENY in effects or Effect.ALLOW not in effects:
            return Decision.DENY
    return Decision.ALLOW


def _may_be_foreign(ask: Ask, guard: Guard) -> bool:
    return guard.mixed and ask.permission in _BY_OBJECT_ACL and guard.ownership != ENFORCED


def _by_ownership(ask: Ask, guard: Guard, thing: Thing | None, *, allowed: bool) -> Decision:
    """The bucket's own account: everything, save what another account's object, or a list that grants nobody anything, keeps from it."""
    if _may_be_foreign(ask, guard):
        if thing is None:
            return Decision.UNDECIDED
        if thing.foreign:
            return _by_acl(ask, guard, thing)
    if guard.acl == NOBODY and not allowed and guard.ownership != ENFORCED:
        return _verdict(_BY_BUCKET_ACL.get(ask.permission) not in (READ, WRITE))
    return Decision.ALLOW


def _by_acl(ask: Ask, guard: Guard, thing: Thing | None) -> Decision:
    who, ignored = ask.who, guard.block.ignore_public_acls
    if ask.permission in _BY_INITIATOR:
        return Decision.UNDECIDED if thing is None else _verdict(thing.owner == who.user_id and not who.anonymous)
    if guard.ownership == ENFORCED:
        return Decision.DENY
    wanted = WRITE if thing is not None and thing.new and ask.permission in _OF_NEW else _BY_BUCKET_ACL.get(ask.permission)
    if wanted is not None:
        return _verdict(permits(grants_of(guard.acl, guard.owner, guard.owner), who, wanted, ignore_public=ignored))
    wanted = _BY_OBJECT_ACL.get(ask.permission)
    if wanted is None:
        return Decision.DENY
    if thing is None:
        return Decision.UNDECIDED
    if not thing.there:
        return Decision.DENY
    if wanted in _OWNERS_ALWAYS and thing.owner == who.user_id and not who.anonymous:
        return Decision.ALLOW
    return _verdict(permits(grants_of(thing.acl, thing.owner, guard.owner), who, wanted, ignore_public=ignored))
