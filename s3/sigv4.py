"""AWS Signature Version 4 for S3. Pure: raw request bytes, a key and the time go in; a verdict comes out.

`parse` reads what the request claims (header or query form), `verify` checks it. Everything a request can do later is bound here: the
path as sent, every query parameter, Host and every x-amz-* header; a request with one that is not signed is refused.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache
from operator import itemgetter

import msgspec

from node.http.message import Headers
from s3.errors import S3Error, not_implemented
from s3.query import QUERIES_REMEMBERED, SIGNATURE, SIGNING, Parameters, Query
from s3.target import canonical_path

ALGORITHM = b"AWS4-HMAC-SHA256"
SKEW_S_MAX = 15 * 60
EXPIRES_S_MAX = 7 * 24 * 3600
SIGNED_HEADERS_MAX = 100
SIGNED_HEADERS_CACHED = 1_024
SIGNING_KEYS_CACHED = 1_024
CREDENTIALS_CACHED = 1_024
CREDENTIAL_BYTES_MAX = 256
HEAD_BYTES_MAX = 1_024
"""Of an Authorization header before the signature, or of a list of signed headers. Longer ones, and longer credentials, are taken apart
each time: nobody can fill the memory with what is remembered."""
DATE_BYTES_MAX = 128
UNSIGNED = b"UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest().encode()
_DUMMY_SECRET = "no key has this secret"
_EXPIRES = re.compile(rb"[0-9]{1,9}")
_TIMESTAMP = re.compile(rb"\d{8}T\d{6}Z")
_SIGNATURE = re.compile(rb"[0-9a-f]{64}")


class Payload(Enum):
    """How the body is bound to the signature: the values of x-amz-content-sha256 that are no hash."""

    SHA256 = b"<hash>"
    UNSIGNED = UNSIGNED
    STREAMING = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    STREAMING_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    STREAMING_UNSIGNED_TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"


_PAYLOADS = {payload.value: payload for payload in Payload if payload is not Payload.SHA256}


class Credential(msgspec.Struct, frozen=True):
    """The parts of a request's credential and, in the header form, its list of signed headers: the same for a client all day."""

    access_key: str
    date: bytes
    region: bytes
    service: bytes
    scope: bytes
    signed_headers: bytes = b""


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


def payload_of(content: bytes) -> Payload:
    """Of a valid x-amz-content-sha256."""
    return _PAYLOADS.get(content, Payload.SHA256)


_NEW_SHA256 = hashlib.sha256()


class SigningKey:
    """HMAC-SHA256 under one key. The key's two pads are hashed once: then a signature takes 0.9 us, where hmac.digest takes 2.2
    (6.5 against 1.7 with cold caches, for OpenSSL looks its algorithm up each time)."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        """key: at most 64 bytes."""
        padded = key.ljust(64, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def sign(self, message: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()


class Seed(msgspec.Struct, frozen=True):
    """What the chunks of a signed stream are verified with."""

    key: SigningKey
    timestamp: bytes
    scope: bytes
    signature: bytes


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


def header_time(values: Mapping[bytes, bytes]) -> tuple[bytes, int]:
    """When the request says it was made: as _timestamp. Raises: AccessDenied."""
    stamp = values.get(b"x-amz-date", values.get(b"date"))
    if not stamp or len(stamp) > DATE_BYTES_MAX:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    return _timestamp(stamp)


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
    if not _TIMESTAMP.fullmatch(found[b"X-Amz-Date"]):
        raise S3Error("AuthorizationQueryParametersError", "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    credential = credential_of(found[b"X-Amz-Credential"], "AuthorizationQueryParametersError")
    timestamp, time_s = _timestamp(found[b"X-Amz-Date"])
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


def check_content(content: bytes) -> None:
    """Raises: InvalidArgument for a value that x-amz-content-sha256 can't have; NotImplemented."""
    if content in _PAYLOADS or _SIGNATURE.fullmatch(content):
        return
    if content.startswith(b"STREAMING-AWS4-ECDSA-"):
        raise not_implemented("AWS4-ECDSA-P256-SHA256 (SigV4A)")
    raise S3Error(
        "InvalidArgument",
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
        ArgumentName="x-amz-content-sha256",
        ArgumentValue=content.decode("latin-1"),
    )


def credential_of(text: bytes, code: str) -> Credential:
    """Raises: S3Error of that code. An access key may itself hold slashes."""
    return _credential(text, code) if len(text) <= CREDENTIAL_BYTES_MAX else _credential.__wrapped__(text, code)


@lru_cache(maxsize=CREDENTIALS_CACHED)
def _credential(text: bytes, code: str) -> Credential:
    parts = text.rsplit(b"/", 4)
    if len(parts) != 5 or parts[4] != b"aws4_request" or not parts[0] or not text.isascii():
        raise S3Error(code, 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".')
    access_key, date, region, service, _ = parts
    return Credential(access_key.decode("ascii"), date, region, service, text[len(access_key) + 1 :])


@lru_cache(maxsize=1_024)
def _timestamp(stamp: bytes) -> tuple[bytes, int]:
    """The ISO 8601 basic form and seconds since 1970 of an x-amz-date or a Date header. Raises: AccessDenied."""
    try:
        if _TIMESTAMP.fullmatch(stamp):
            moment = datetime.strptime(stamp.decode("ascii"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        else:
            moment = parsedate_to_datetime(stamp.decode("latin-1")).astimezone(UTC)
        if moment.timestamp() < 0:
            raise ValueError("before 1970")
        return moment.strftime("%Y%m%dT%H%M%SZ").encode("ascii"), int(moment.timestamp())
    except (ValueError, TypeError, OverflowError) as error:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header") from error


@lru_cache(maxsize=SIGNING_KEYS_CACHED)
def signing_key(secret: str, date: bytes, region: bytes, service: bytes) -> SigningKey:
    key = hmac.digest(b"AWS4" + secret.encode(), date, "sha256")
    for step in (region, service, b"aws4_request"):
        key = hmac.digest(key, step, "sha256")
    return SigningKey(key)


class SignedHeaders:
    """A list of signed headers, prepared: the same for all requests of a client.

    names   in order
    lines   their part of the canonical request, to be filled with their values
    values  picks these from a mapping; KeyError when one is missing
    """

    __slots__ = ("lines", "names", "values")

    def __init__(self, names: Sequence[bytes]) -> None:
        self.names = dict.fromkeys(names)
        self.lines = b"".join([name.replace(b"%", b"%%") + b":%b\n" for name in self.names])
        self.values: Callable[[Mapping[bytes, bytes]], bytes | tuple[bytes, ...]] = itemgetter(*self.names)


@lru_cache(maxsize=SIGNED_HEADERS_CACHED)
def _signed_headers(listed: bytes) -> SignedHeaders:
    """Raises: AccessDenied when Host is not among them."""
    signed = SignedHeaders(sorted(listed.split(b";", SIGNED_HEADERS_MAX)))
    if b"host" not in signed.names:
        raise _not_signed(b"host")
    return signed


def canonical_request(method: str, raw_path: bytes, query: bytes, headers: Headers, signed_headers: bytes, content: bytes) -> bytes:
    """The bytes whose digest is signed. query: as canonical_query makes it.

    Raises: AccessDenied when Host or an x-amz-* header is not signed, or a signed header is missing.
    """
    signed = _signed_headers(signed_headers) if len(signed_headers) <= HEAD_BYTES_MAX else _signed_headers.__wrapped__(signed_headers)
    values = headers.first
    if len(values) != len(headers.lines):
        values = joined(headers.lines)
    for name in values.keys() - signed.names.keys():
        if name.startswith(b"x-amz-"):
            raise _not_signed(name)
    try:
        lines = signed.lines % signed.values(values)
    except KeyError as error:
        raise S3Error("AccessDenied", "A signed header is missing in the request", HeadersMissing=error.args[0].decode("latin-1")) from None
    if b"  " in lines or b"\t" in lines or b": " in lines or b" \n" in lines:  # seldom: space to be tidied, or ": " within a value
        lines = b"".join([b"%b:%b\n" % (name, b" ".join(values[name].split())) for name in signed.names])
    return b"%b\n%b\n%b\n%b\n%b\n%b" % (method.encode("ascii"), canonical_path(raw_path), query, lines, signed_headers, content)


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


def _not_signed(name: bytes) -> S3Error:
    message = "There were headers present in the request which were not signed"
    return S3Error("AccessDenied", message, HeadersNotSigned=name.decode("latin-1"))


def verify(
    claim: Claim,
    secret: str | None,
    *,
    method: str,
    raw_path: bytes,
    query: bytes,
    headers: Headers,
    region: bytes,
    now_s: float,
) -> Seed:
    """Checks the claim against the request; `secret` None means the access key is unknown: the same work is done, then it is refused.

    Raises: S3Error with the code for what is wrong: scope, region, skew, expiry, unsigned headers, unknown key, signature.
    """
    credential = claim.credential
    if credential.region != region or credential.service != b"s3" or credential.date != claim.timestamp[:8]:
        raise _wrong_scope(claim, region)
    _check_time(claim, now_s)
    canonical = canonical_request(method, raw_path, query, headers, claim.signed_headers, claim.content)
    digest = _NEW_SHA256.copy()
    digest.update(canonical)
    to_sign = b"AWS4-HMAC-SHA256\n%b\n%b\n%b" % (claim.timestamp, credential.scope, digest.hexdigest().encode("ascii"))
    key = signing_key(_DUMMY_SECRET if secret is None else secret, credential.date, credential.region, credential.service)
    matches = hmac.compare_digest(key.sign(to_sign), bytes.fromhex(claim.signature.decode("ascii")))
    if secret is None:
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=claim.access_key)
    if not matches:
        raise S3Error(
            "SignatureDoesNotMatch",
            AWSAccessKeyId=claim.access_key,
            StringToSign=to_sign.decode("latin-1"),
            SignatureProvided=claim.signature.decode("latin-1"),
            CanonicalRequest=canonical.decode("latin-1"),
        )
    return Seed(key, claim.timestamp, credential.scope, claim.signature)


def _wrong_scope(claim: Claim, region: bytes) -> S3Error:
    code, begin = "AuthorizationHeaderMalformed", "The authorization header is malformed; the"
    if claim.expires_s is not None:
        code, begin = "AuthorizationQueryParametersError", "Error parsing the X-Amz-Credential parameter; the"
    credential = claim.credential
    if credential.region != region:
        wrong, right = credential.region.decode("latin-1"), region.decode("ascii")
        return S3Error(code, f"{begin} region '{wrong}' is wrong; expecting '{right}'", Region=right)
    if credential.service != b"s3":
        service = credential.service.decode("latin-1")
        return S3Error(code, f'{begin} service "{service}" is wrong. This endpoint belongs to "s3".')
    date, stamp = credential.date.decode("latin-1"), claim.timestamp[:8].decode("ascii")
    return S3Error(code, f'{begin} credential date "{date}" is wrong. This date is not the same as X-Amz-Date: "{stamp}".')


def _check_time(claim: Claim, now_s: float) -> None:
    if claim.expires_s is None:
        check_skew(claim.timestamp, claim.time_s, now_s)
    elif claim.time_s > now_s + SKEW_S_MAX:
        raise S3Error("AccessDenied", "Request is not yet valid", ServerTime=_iso(now_s))
    elif now_s > claim.time_s + claim.expires_s:
        raise expired(claim.time_s + claim.expires_s, now_s)


def check_skew(timestamp: bytes, time_s: int, now_s: float) -> None:
    """Raises: RequestTimeTooSkewed."""
    if abs(now_s - time_s) > SKEW_S_MAX:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=timestamp.decode("ascii"),
            ServerTime=_iso(now_s),
            MaxAllowedSkewMilliseconds=str(SKEW_S_MAX * 1000),
        )


def expired(end_s: int, now_s: float) -> S3Error:
    return S3Error("AccessDenied", "Request has expired", Expires=_iso(end_s), ServerTime=_iso(now_s))


def _iso(time_s: float) -> str:
    return datetime.fromtimestamp(int(time_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
