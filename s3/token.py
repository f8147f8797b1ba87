"""Continuation tokens: opaque, bound to the listing they came from. Pure.

A token holds a checksum over its listing (bucket, prefix, ...), so that a changed or misused one is refused and not misunderstood. It is
no secret: whoever forges one gets what start-after would have given them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from s3.errors import S3Error

TOKEN_VERSION = b"\x01"
_CHECK_BYTES = 8
TOKEN_CHARACTERS_MAX = 4_096


def _check(after: bytes, binding: str) -> bytes:
    return hashlib.blake2b(b"%b\0%b" % (binding.encode("utf-8", "surrogatepass"), after), digest_size=_CHECK_BYTES).digest()


def encode_token(after: str, binding: str) -> str:
    raw = after.encode()
    return base64.urlsafe_b64encode(TOKEN_VERSION + _check(raw, binding) + raw).decode("ascii")


def decode_token(token: str, binding: str) -> str:
    """Raises: InvalidArgument."""
    refused = S3Error("InvalidArgument", "The continuation token provided is incorrect", ArgumentName="continuation-token")
    if len(token) > TOKEN_CHARACTERS_MAX:
        raise refused
    try:
        data = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        raw = data[1 + _CHECK_BYTES :]
        if data[:1] != TOKEN_VERSION or not hmac.compare_digest(data[1 : 1 + _CHECK_BYTES], _check(raw, binding)):
            raise refused
        return raw.decode()
    except (binascii.Error, UnicodeError) as error:
        raise refused from error
