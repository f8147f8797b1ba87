"""AWS Signature Version 2 for S3, for clients that know no other. Pure, as `sigv4` is; taken only where it is switched on.

It signs less than version 4: of the query only SIGNED_PARAMETERS (and, presigned, x-amz-*), of the body only Content-MD5. So a parameter
that names an operation and that this version does not sign is refused: else a URL for one thing could be made one for another.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/RESTAuthentication.html
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re

import msgspec

from s3.claim import HeaderItems, check_once, is_presigned, joined, two_mechanisms
from s3.errors import S3Error
from s3.query import Parameters
from s3.router import SUBRESOURCES
from s3.signingtime import check_skew, expired, header_time

SIGNATURE_BYTES = 20
SIGNED_PARAMETERS = frozenset(
    b"accelerate acl analytics cors defaultObjectAcl delete inventory lifecycle location logging metrics notification object-lock "
    b"partNumber policy replication requestPayment response-cache-control response-content-disposition response-content-encoding "
    b"response-content-language response-content-type response-expires restore select select-type storageClass tagging torrent "
    b"uploadId uploads versionId versioning versions website".split()
)
_QUERY_NAMES = frozenset((b"AWSAccessKeyId", b"Signature", b"Expires"))
_EXPIRES = re.compile(rb"[0-9]{1,11}")
_DUMMY_SECRET = "no key has this secret"


class Claim(msgspec.Struct, frozen=True):
    """What a request says about its signature. expires: end of a presigned URL, as sent; None for the header form."""

    access_key: str
    signature: bytes
    expires: bytes | None = None


def parse(headers: HeaderItems, parameters: Parameters) -> Claim | None:
    """The claim of a request that is signed this way, None for every other.

    Raises: S3Error for two claims at once, repeated or missing parts.
    """
    given = [(name, value) for name, value in parameters if name in _QUERY_NAMES]
    authorization = [value for name, value in headers if name == b"authorization"]
    presigned = any(name != b"Expires" for name, _ in given)
    if not presigned and not any(value.startswith(b"AWS ") for value in authorization):
        return None
    check_once(headers)
    if presigned and (authorization or is_presigned(parameters)):
        raise two_mechanisms()
    if presigned:
        return _from_query(given)
    if is_presigned(parameters):
        raise two_mechanisms()
    access_key, mark, signature = authorization[0][4:].strip().rpartition(b":")
    if not mark or not access_key or not access_key.isascii():
        raise S3Error(
            "InvalidArgument", "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature", ArgumentName="Authorization"
        )
    return Claim(access_key.decode("ascii"), signature)


def _from_query(given: Parameters) -> Claim:
    found = dict(given)
    if len(found) != len(_QUERY_NAMES) or len(given) != len(found):
        raise S3Error(
            "AccessDenied", "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters, each once"
        )
    expires = found[b"Expires"]
    if not _EXPIRES.fullmatch(expires):
        raise S3Error("AccessDenied", f"Invalid date (should be seconds since epoch): {expires.decode('latin-1')}")
    access_key = found[b"AWSAccessKeyId"]
    if not access_key.isascii():
        raise S3Error("InvalidAccessKeyId")
    return Claim(access_key.decode("ascii"), found[b"Signature"], expires)


def string_to_sign(
    claim: Claim, *, method: str, raw_path: bytes, virtual_bucket: str, parameters: Parameters, headers: HeaderItems
) -> bytes:
    """virtual_bucket: the bucket that the host names, "" in path style. Raises: AccessDenied for what would go unsigned."""
    values = _signed_headers(claim, parameters, headers)
    amz = sorted(name for name in values if name.startswith(b"x-amz-"))
    date = claim.expires
    if date is None:
        date = b"" if b"x-amz-date" in values else values.get(b"date", b"")
    bucket = b"/" + virtual_bucket.encode("latin-1") if virtual_bucket else b""
    lines = [method.encode("ascii"), values.get(b"content-md5", b""), values.get(b"content-type", b""), date]
    lines += [b"%b:%b" % (name, values[name]) for name in amz]
    lines.append(bucket + raw_path + _signed_query(parameters))
    return b"\n".join(lines)


def _signed_headers(claim: Claim, parameters: Parameters, headers: HeaderItems) -> dict[bytes, bytes]:
    """Headers by name, repeated ones joined; a presigned URL carries x-amz-* ones, and what its client did not send, in its query."""
    values = {name: b" ".join(value.split()) for name, value in joined(headers).items()}
    for name, value in parameters:
        lower = name.lower()
        if lower.startswith(b"x-amz-"):
            if claim.expires is None:
                raise _not_signed(name)
            if lower in values:
                raise S3Error("InvalidArgument", f"{lower.decode('latin-1')} must be sent once.")
            values[lower] = value.strip()
        elif claim.expires is not None and lower in (b"content-md5", b"content-type"):
            values.setdefault(lower, value)
    return values


def _signed_query(parameters: Parameters) -> bytes:
    """The part of the query that is signed, values decoded. Raises: AccessDenied for a parameter that names an operation and is not."""
    signed: dict[bytes, bytes] = {}
    for name, value in parameters:
        if name in SIGNED_PARAMETERS:
            if name in signed:
                raise S3Error("InvalidArgument", f"{name.decode('ascii')} must be given once.")
            signed[name] = value
        elif name.decode("latin-1") in SUBRESOURCES:
            raise _not_signed(name)
    pieces = [name + b"=" + signed[name] if signed[name] else name for name in sorted(signed)]
    return b"?" + b"&".join(pieces) if pieces else b""


def _not_signed(name: bytes) -> S3Error:
    shown = name.decode("latin-1")
    return S3Error(
        "AccessDenied", f"Signature version 2 does not sign the parameter {shown}. Please use AWS4-HMAC-SHA256.", ArgumentName=shown
    )


def sign(secret: str, text: bytes) -> bytes:
    return hmac.digest(secret.encode(), text, "sha1")


def matches(secret: str | None, text: bytes, signature: bytes) -> bool:
    """Whether `signature` (base64) is that of `text`, in constant time; with no secret the same work is done, then it is not."""
    try:
        given = base64.b64decode(signature, validate=True)
    except binascii.Error:
        given = b""
    same = hmac.compare_digest(sign(_DUMMY_SECRET if secret is None else secret, text), given)
    return same and secret is not None


def verify(
    claim: Claim,
    secret: str | None,
    *,
    method: str,
    raw_path: bytes,
    virtual_bucket: str,
    parameters: Parameters,
    headers: HeaderItems,
    now_s: float,
) -> None:
    """Checks the claim; `secret` None means the access key is unknown.

    Raises: S3Error for skew, expiry, what is not signed, an unknown key, a wrong signature.
    """
    _check_time(claim, headers, now_s)
    texts = [
        string_to_sign(claim, method=method, raw_path=path, virtual_bucket=virtual_bucket, parameters=parameters, headers=headers)
        for path in _spellings(raw_path, virtual_bucket)
    ]
    right = any(matches(secret, text, claim.signature) for text in texts)
    if secret is None:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
    if not right:
        raise S3Error(
            "SignatureDoesNotMatch",
            AWSAccessKeyId=claim.access_key,
            StringToSign=texts[0].decode("latin-1"),
            SignatureProvided=claim.signature.decode("latin-1"),
        )


def _spellings(raw_path: bytes, virtual_bucket: str) -> tuple[bytes, ...]:
    """botocore sends /bucket and signs /bucket/, which are the same here too."""
    bare = not virtual_bucket and len(raw_path) > 1 and raw_path.count(b"/") == 1
    return (raw_path, raw_path + b"/") if bare else (raw_path,)


def _check_time(claim: Claim, headers: HeaderItems, now_s: float) -> None:
    if claim.expires is None:
        values = dict(headers)
        check_skew(*header_time(values), now_s)
    elif now_s > int(claim.expires):
        raise expired(int(claim.expires), now_s)
