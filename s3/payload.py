"""How a body is bound to its request's signature: what x-amz-content-sha256 may say. Pure."""

from __future__ import annotations

import hashlib
import re
from enum import Enum

from s3.errors import S3Error, not_implemented

UNSIGNED = b"UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest().encode()


class Payload(Enum):
    """How the body is bound to the signature: the values of x-amz-content-sha256 that are no hash."""

    SHA256 = b"<hash>"
    UNSIGNED = UNSIGNED
    STREAMING = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    STREAMING_TRAILER = b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    STREAMING_UNSIGNED_TRAILER = b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"


_SHA256 = re.compile(rb"[0-9a-f]{64}")
_PAYLOADS = {payload.value: payload for payload in Payload if payload is not Payload.SHA256}


def payload_of(content: bytes) -> Payload:
    """Of a valid x-amz-content-sha256."""
    return _PAYLOADS.get(content, Payload.SHA256)


def check_content(content: bytes) -> None:
    """Raises: InvalidArgument for a value that x-amz-content-sha256 can't have; NotImplemented."""
    if content in _PAYLOADS or _SHA256.fullmatch(content):
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
