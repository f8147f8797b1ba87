"""What a POST form says of its signer: the policy signed with version 4, or with HMAC-SHA1 as forms were before. Pure.

The old kind is taken always: the policy names everything it allows, so unlike in version 2 of requests nothing is left unsigned.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-authentication-HTTPPOST.html, .../userguide/HTTPPOSTForms.html
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

import msgspec

from s3 import sigv2
from s3.claim import ALGORITHM, two_mechanisms
from s3.credential import Credential, credential_of
from s3.errors import S3Error, not_implemented
from s3.signingkey import signing_key

POLICY = "policy"
_NEW = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")
OLD_KEY = "awsaccesskeyid"
_OLD = (OLD_KEY, "signature")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_DATE = re.compile(r"\d{8}T\d{6}Z")
_SHOWN = {OLD_KEY: "AWSAccessKeyId", "x-amz-algorithm": "X-Amz-Algorithm", "x-amz-credential": "X-Amz-Credential"}
_SHOWN |= {"x-amz-date": "X-Amz-Date", "x-amz-signature": "X-Amz-Signature"}
_DUMMY_SECRET = "no key has this secret"


class Claim(msgspec.Struct, frozen=True):
    """policy: base64, as it was signed; credential: None for the old kind."""

    access_key: str
    policy: str
    signature: str
    credential: Credential | None = None


def missing_field(name: str) -> S3Error:
    shown = _SHOWN.get(name, name)
    return S3Error(
        "InvalidArgument",
        f"Bucket POST must contain a field named '{shown}'.  If it is specified, please check the order of the fields.",
        ArgumentName=shown,
        ArgumentValue="",
    )


def parse(fields: Mapping[str, str]) -> Claim | None:
    """fields: by lower-case name. None when the form names no signer: it is anonymous. Raises: S3Error."""
    new = any(name in fields for name in _NEW)
    old = any(name in fields for name in _OLD)
    if new and old:
        raise two_mechanisms()
    if not new and not old and POLICY not in fields:
        return None
    for name in (POLICY, *(_NEW if new else _OLD)):
        if not fields.get(name):
            raise missing_field(name)
    if not new:
        return Claim(fields[OLD_KEY], fields[POLICY], fields["signature"])
    algorithm = fields["x-amz-algorithm"]
    if algorithm.startswith("AWS4-ECDSA-"):
        raise not_implemented("AWS4-ECDSA-P256-SHA256 (SigV4A)")
    if algorithm != ALGORITHM.decode():
        raise S3Error("InvalidArgument", 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"', ArgumentName="X-Amz-Algorithm")
    credential = credential_of(fields["x-amz-credential"].encode(), "InvalidArgument")
    if not _DATE.fullmatch(fields["x-amz-date"]):
        raise S3Error("InvalidArgument", "X-Amz-Date must be formatted as yyyyMMdd'T'HHmmss'Z'", ArgumentName="X-Amz-Date")
    if fields["x-amz-date"][:8].encode() != credential.date:
        raise S3Error("InvalidArgument", "The date in X-Amz-Credential differs from X-Amz-Date.", ArgumentName="X-Amz-Credential")
    return Claim(credential.access_key, fields[POLICY], fields["x-amz-signature"], credential)


def verify(claim: Claim, secret: str | None, region: bytes) -> None:
    """Checks the claim; `secret` None means the access key is unknown. Raises: S3Error InvalidAccessKeyId, SignatureDoesNotMatch."""
    policy = claim.policy.encode()
    if claim.credential is None:
        right = sigv2.matches(secret, policy, claim.signature.encode())
    else:
        _check_scope(claim.credential, region)
        key = signing_key(
            _DUMMY_SECRET if secret is None else secret, claim.credential.date, claim.credential.region, claim.credential.service
        )
        given = bytes.fromhex(claim.signature) if _SIGNATURE.fullmatch(claim.signature) else b""
        right = hmac.compare_digest(key.sign(policy), given)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
    if not right:
        raise S3Error(
            "SignatureDoesNotMatch", AWSAccessKeyId=claim.access_key, StringToSign=claim.policy, SignatureProvided=claim.signature
        )


def _check_scope(credential: Credential, region: bytes) -> None:
    if credential.region != region:
        right = region.decode("ascii")
        wrong = credential.region.decode("latin-1")
        raise S3Error("InvalidArgument", f"The region '{wrong}' in X-Amz-Credential is wrong; expecting '{right}'", Region=right)
    if credential.service != b"s3":
        raise S3Error("InvalidArgument", 'X-Amz-Credential names another service than "s3".', ArgumentName="X-Amz-Credential")
