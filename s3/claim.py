"""What a request says of its signature, in its headers or in its URL, before any of it is believed. Pure.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from node.http.message import Headers
from s3.credential import CREDENTIALS_CACHED, Credential, credential_of
from s3.errors import S3Error, not_implemented
from s3.payload import EMPTY_SHA256, UNSIGNED, Payload, check_content, payload_of
from s3.query import QUERIES_REMEMBERED, SIGNATURE, SIGNING, Parameters, Query
from s3.signingtime import TIMESTAMP, header_time, timestamp_of

ALGORITHM = b"AWS4-HMAC-SHA256"
EXPIRES_S_MAX = 7 * 24 * 3600
HEAD_BYTES_MAX = 1_024
"""Of an Authorization header before the signature, or of a list of signed headers. Longer ones, and longer credentials, are taken apart
each time: nobody can fill the memory with what is remembered."""
_EXPIRES = re.compile(rb"[0-9]{1,9}")
_SIGNATURE = re.compile(rb"[0-9a-f]{64}")


class Claim(msgspec.Struct, frozen=True):
    """What a request says about its signature, before any of it is believed.

    expires_s   validity of a presigned URL, None for the header form
    content     value of x-amz-content-sha256 as signed: a hex digest or one of Payload's words
    """

    credential: Credential
    signed_headers: bytes
    signature: bytes
    timestamp: bytes
    time_s: int
    expires_s: int | None
    content: bytes

    @property
    def access_key(self) -> str:
        return self.credential.access_key

    @property
    def payload(self) -> Payload:
        return payload_of(self.content)


HeaderItems = Sequence[tuple[bytes, bytes]]
_ONCE = (b"authorization", b"x-amz-date", b"x-amz-content-sha256", b"date")


def parse(headers: Headers, query: Query, signature: bytes | None) -> Claim | None:
    """The claim of a request, None when it is anonymous. `query` and `signature` are what `read_query` makes of its query.

    Raises: S3Error for two claims at once, other signature versions, repeated or malformed parts, a repeated x-amz-* header.
    """
    values = headers.first
    if len(values) != len(headers.lines):
        check_once(headers.lines)
    authorization = values.get(b"authorization")
    terms = None
    if query.parameters:
        terms = _terms(query) if query.remembered else _terms.__wrapped__(query)
    if authorization is not None:
        if terms is not None or signature is not None:
            raise two_mechanisms()
        return _from_header(authorization, values)
    if terms is not None or signature is not None:
        return _from_query(terms, signature, values.get(b"x-amz-content-sha256"))
    if len(values) != len(headers.lines):
        joined(headers.lines)  # as `canonical_request` does: authorization reads the first, others might read the last
    return None


def is_presigned(parameters: Parameters) -> bool:
    return any(name in SIGNING or name == SIGNATURE for name, _ in parameters)


def two_mechanisms() -> S3Error:
    return S3Error(
        "InvalidArgument",
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the "
        "Authorization header should be specified",
        ArgumentName="Authorization",
    )


def check_once(headers: HeaderItems) -> None:
    """Raises: InvalidArgument when a header that says who signed what and when is repeated."""
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            shown = name.decode("ascii")
            raise S3Error("InvalidArgument", f"The {shown} header must be sent once.", ArgumentName=shown)


def _version_not_supported() -> S3Error:
    return S3Error("InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")


def _from_header(authorization: bytes, values: Mapping[bytes, bytes]) -> Claim:
    head, mark, signature = authorization.rpartition(b"Signature=")
    credential = _header_credential(head) if len(head) <= HEAD_BYTES_MAX else _header_credential.__wrapped__(head)
    if not mark or credential is None or not _SIGNATURE.fullmatch(signature):
        raise _malformed_header(authorization)
    content = values.get(b"x-amz-content-sha256")
    if content is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    if content != EMPTY_SHA256:
        check_content(content)
    timestamp, time_s = header_time(values)
    return Claim(credential, credential.signed_headers, signature, timestamp, time_s, None, content)


_HEAD = re.compile(rb"AWS4-HMAC-SHA256[ ]+Credential=([^,\s]+)[ ]*,[ ]*SignedHeaders=([^,\s]+)[ ]*,[ ]*")


@lru_cache(maxsize=CREDENTIALS_CACHED)
def _header_credential(head: bytes) -> Credential | None:
    """The part of an Authorization header before the signature; None when it is malformed. Clients send the same all day."""
    match = _HEAD.fullmatch(head)
    if match is None:
        return None
    try:
        return msgspec.structs.replace(credential_of(match[1], "AuthorizationHeaderMalformed"), signed_headers=match[2])
    except S3Error:
        return None


_PARTS = re.compile(rb"AWS4-HMAC-SHA256[ ]+Credential=([^,\s]+)[ ]*,[ ]*SignedHeaders=([^,\s]+)[ ]*,[ ]*Signature=([^,\s]+)[ ]*")


def _malformed_header(authorization: bytes) -> S3Error:
    """What is wrong with an Authorization header that is not as it should be."""
    if not authorization.strip():
        return S3Error("AccessDenied")
    if authorization.startswith(b"AWS4-ECDSA-"):
        return not_implemented("AWS4-ECDSA-P256-SHA256 (SigV4A)")
    if authorization.startswith(b"AWS "):
        return _version_not_supported()
    if not authorization.startswith(ALGORITHM):
        return S3Error("InvalidArgument", "Unsupported Authorization Type", ArgumentName="Authorization")
    parts = _PARTS.fullmatch(authorization)
    if parts is None:
        return S3Error("AuthorizationHeaderMalformed")
    credential_of(parts[1], "AuthorizationHeaderMalformed")
    return S3Error("SignatureDoesNotMatch")


class Terms(msgspec.Struct, frozen=True):
    """What a presigned URL says of its signature, but for the signature. content: "" unless the URL names it."""

    credential: Credential
    signed_headers: bytes
    timestamp: bytes
    time_s: int
    expires_s: int
    content: bytes


@lru_cache(maxsize=QUERIES_REMEMBERED)
def _terms(query: Query) -> Terms | None:
    """None when the query has no part of a signature. Raises: S3Error for a part that is repeated, missing or malformed."""
    found: dict[bytes, bytes] = {}
    for name, value in query.parameters:
        if name in SIGNING or name in (b"X-Amz-Security-Token", b"X-Amz-Content-Sha256"):
            if name in found:
                raise S3Error("AuthorizationQueryParametersError", f"{name.decode()} must be given once.")
            found[name] = value
        elif name in (b"AWSAccessKeyId", b"Signature"):
            raise _version_not_supported()
    if SIGNING.isdisjoint(found):
        return None
    if SIGNING - found.keys():
        raise _incomplete()
    algorithm = found[b"X-Amz-Algorithm"]
    if algorithm.startswith(b"AWS4-ECDSA-"):
        raise not_implemented("AWS4-ECDSA-P256-SHA256 (SigV4A)")
    if algorithm != ALGORITHM:
        raise S3Error("AuthorizationQueryParametersError", 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    expires = found[b"X-Amz-Expires"]
    if not _EXPIRES.fullmatch(expires):
        raise S3Error("AuthorizationQueryParametersError", "X-Amz-Expires should be a number")
    if not 1 <= int(expires) <= EXPIRES_S_MAX:
        raise S3Error("AuthorizationQueryParametersError", f"X-Amz-Expires must be between 1 and {EXPIRES_S_MAX} seconds")
    if not TIMESTAMP.fullmatch(found[b"X-Amz-Date"]):
        raise S3Error("AuthorizationQueryParametersError", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    credential = credential_of(found[b"X-Amz-Credential"], "AuthorizationQueryParametersError")
    timestamp, time_s = timestamp_of(found[b"X-Amz-Date"])
    content = found.get(b"X-Amz-Content-Sha256", b"")
    if content:
        check_content(content)
    return Terms(credential, found[b"X-Amz-SignedHeaders"], timestamp, time_s, int(expires), content)


def _incomplete() -> S3Error:
    return S3Error(
        "AuthorizationQueryParametersError",
        "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, "
        "X-Amz-SignedHeaders, and X-Amz-Expires parameters.",
    )


def _from_query(terms: Terms | None, signature: bytes | None, content: bytes | None) -> Claim:
    if terms is None or signature is None:
        raise _incomplete()
    if not _SIGNATURE.fullmatch(signature):
        raise S3Error("SignatureDoesNotMatch")
    if content:
        check_content(content)
    return Claim(
        terms.credential, terms.signed_headers, signature, terms.timestamp, terms.time_s, terms.expires_s,
        content or terms.content or UNSIGNED,
    )  # fmt: skip


def joined(headers: HeaderItems) -> dict[bytes, bytes]:
    """Values by name, repeated ones with commas between. Raises: InvalidArgument for an x-amz-* header that may not be repeated."""
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        if name not in values:
            values[name] = value
        elif name.startswith(b"x-amz-") and not name.startswith(b"x-amz-meta-"):
            raise S3Error("InvalidArgument", f"The {name.decode('latin-1')} header must be sent once.")
        else:
            values[name] = b"%b,%b" % (values[name], value)
    return values
