"""Who owns what is written into a bucket, and whether its access control lists count. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from meta.protocol.bucket import BucketSettings
from s3.acl import BUCKET_OWNER_FULL_CONTROL
from s3.configuration import Configuration
from s3.identity import Identity
from s3.shape import Shape

Mode = Literal["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter"]
ENFORCED: Mode = "BucketOwnerEnforced"
PREFERRED: Mode = "BucketOwnerPreferred"
WRITER: Mode = "ObjectWriter"
DEFAULT = WRITER
"""Of a bucket that was not told: lists count, as old clients expect them to."""
MIXED = "objectsOfOthers"
"""Name of the document that is there once another account may have written objects of its own into the bucket."""


class Rule(Shape, frozen=True):
    object_ownership: Mode


class OwnershipControls(Shape, frozen=True):
    rules: Annotated[tuple[Rule, ...], msgspec.Meta(min_length=1, max_length=1)] = msgspec.field(name="Rule")


OWNERSHIP_CONTROLS = Configuration("ownershipControls", "OwnershipControls", OwnershipControls, absent="OwnershipControlsNotFoundError")


def controls_of(mode: str) -> OwnershipControls:
    """Raises: ValueError when there is no such mode."""
    return msgspec.convert({"Rule": [{"ObjectOwnership": mode}]}, OwnershipControls)


def ownership_of(settings: BucketSettings) -> Mode:
    controls = OWNERSHIP_CONTROLS.of(settings)
    return DEFAULT if controls is None else controls.rules[0].object_ownership


def owner_of_new(who: Identity, settings: BucketSettings, acl: str) -> str:
    """Canonical id that will own what `who` writes with this list. What nobody in particular writes, or an administrator of another
    account, belongs to the bucket's owner."""
    if who.account == settings.account and not who.anonymous:
        return who.user_id
    if who.anonymous or who.admin:
        return settings.owner
    mode = ownership_of(settings)
    if mode == ENFORCED or (mode == PREFERRED and acl == BUCKET_OWNER_FULL_CONTROL):
        return settings.owner
    return who.user_id
