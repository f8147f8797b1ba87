"""AWS Signature Version 4 for S3. Pure: raw request bytes, a key and the time go in; a verdict comes out.

`claim.parse` reads what the request claims (header or query form), `verify` checks it. Everything a request can do later is bound here: the
path as sent, every query parameter, Host and every x-amz-* header; a request with one that is not signed is refused.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter

from node.http.message import Headers
from s3.claim import HEAD_BYTES_MAX, Claim, joined
from s3.errors import S3Error
from s3.signingkey import Seed, signing_key
from s3.signingtime import SKEW_S_MAX, check_skew, expired, iso
from s3.target import canonical_path

SIGNED_HEADERS_MAX = 100
SIGNED_HEADERS_CACHED = 1_024
_DUMMY_SECRET = "no key has this secret"
_NEW_SHA256 = hashlib.sha256()


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
        raise S3Error("AccessDenied", "Request is not yet valid", ServerTime=iso(now_s))
    elif now_s > claim.time_s + claim.expires_s:
        raise expired(claim.time_s + claim.expires_s, now_s)
