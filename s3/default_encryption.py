"""A bucket's encryption document: how objects are encrypted that say nothing of it, and what is blocked. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketEncryption.html
"""

from __future__ import annotations

from typing import Literal

import msgspec

from meta.protocol.bucket import BucketSettings
from s3.configuration import Configuration
from s3.errors import S3Error, not_implemented
from s3.shape import Shape
from store.envelope import KMS

DOUBLE = "aws:kms:dsse"
SSE_C = "SSE-C"


class ByDefault(Shape, frozen=True):
    algorithm: Literal["AES256", "aws:kms", "aws:kms:dsse"] = msgspec.field(name="SSEAlgorithm")
    key: str | None = msgspec.field(name="KMSMasterKeyID", default=None)


class Blocked(Shape, frozen=True):
    encryption_type: tuple[Literal["SSE-C", "NONE"], ...] = ()


class Rule(Shape, frozen=True):
    apply_server_side_encryption_by_default: ByDefault | None = None
    bucket_key_enabled: bool | None = None
    blocked_encryption_types: Blocked | None = None


class Encryption(Shape, frozen=True):
    rule: tuple[Rule, ...] = ()


def checked(encryption: Encryption) -> Encryption:
    """As AWS shows it: with the default that a rule without one means. Raises: MalformedXML, InvalidArgument, NotImplemented."""
    if len(encryption.rule) != 1:
        raise S3Error("MalformedXML")
    rule = encryption.rule[0]
    default = rule.apply_server_side_encryption_by_default or ByDefault("AES256")
    if default.algorithm == DOUBLE:
        raise not_implemented("Encryption in two layers (aws:kms:dsse)")
    if default.key is not None and default.algorithm != KMS:
        raise S3Error(
            "InvalidArgument",
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
            ArgumentName="ApplyServerSideEncryptionByDefault",
        )
    if default.key == "":
        raise S3Error("MalformedXML")
    blocked = rule.blocked_encryption_types
    if blocked is not None and len(blocked.encryption_type) != 1:
        raise S3Error("MalformedXML")
    return Encryption((Rule(default, bool(rule.bucket_key_enabled), blocked),))


ENCRYPTION = Configuration(
    "encryption",
    "ServerSideEncryptionConfiguration",
    Encryption,
    absent="ServerSideEncryptionConfigurationNotFoundError",
    checked=checked,
)
"""Until it is set there is none and nothing is encrypted unasked, which AWS would do: who reads the document learns what is so here."""

NONE = Rule()


def rule_of(settings: BucketSettings) -> Rule:
    """The bucket's rule, NONE without one."""
    if ENCRYPTION.name not in settings.documents:
        return NONE
    encryption = ENCRYPTION.of(settings)
    return encryption.rule[0] if encryption is not None else NONE


def blocks_customer_keys(rule: Rule) -> bool:
    return rule.blocked_encryption_types is not None and SSE_C in rule.blocked_encryption_types.encryption_type
