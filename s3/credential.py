"""Who signed a request, and for what: the credential of signature version 4. Pure."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from s3.errors import S3Error

CREDENTIALS_CACHED = 1_024
CREDENTIAL_BYTES_MAX = 256


class Credential(msgspec.Struct, frozen=True):
    """The parts of a request's credential and, in the header form, its list of signed headers: the same for a client all day."""

    access_key: str
    date: bytes
    region: bytes
    service: bytes
    scope: bytes
    signed_headers: bytes = b""


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
