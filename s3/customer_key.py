"""Customers' own encryption keys (SSE-C) as requests bring them.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerSideEncryptionCustomerKeys.html; the words are those of AWS's answers.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode

import msgspec

from s3.call import Call
from s3.errors import S3Error, invalid_argument

KEY_BYTES = 32
METHOD = b"x-amz-server-side-encryption"


class KeyHeaders(msgspec.Struct, frozen=True):
    """Names of the three headers that bring a customer's key."""

    algorithm: bytes
    key: bytes
    md5: bytes

    @classmethod
    def behind(cls, prefix: bytes) -> KeyHeaders:
        return cls(prefix + b"algorithm", prefix + b"key", prefix + b"key-md5")


OF_OBJECT = KeyHeaders.behind(METHOD + b"-customer-")
OF_SOURCE = KeyHeaders.behind(b"x-amz-copy-source-server-side-encryption-customer-")


class CustomerKey:
    """A key that a request brought. Never shown, never kept."""

    __slots__ = ("secret",)

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    def __repr__(self) -> str:
        return "<CustomerKey>"


def customer_key(call: Call, names: KeyHeaders = OF_OBJECT) -> CustomerKey | None:
    """The key in the request's headers; from headers only, for a URL's parameters end up in logs.

    Raises: S3Error InvalidRequest without TLS, InvalidArgument, InvalidEncryptionAlgorithmError. None repeats the key.
    """
    headers = call.request.headers
    algorithm, key, md5 = (headers.get(name) for name in (names.algorithm, names.key, names.md5))
    if algorithm is None and key is None and md5 is None:
        return None
    if not call.request.secure and not call.services.options.allow_ssec_http:
        raise S3Error("InvalidRequest", _about("be made over a secure connection."))
    if not algorithm:
        raise _invalid(_about("provide a valid encryption algorithm."))
    if algorithm != b"AES256":
        raise S3Error("InvalidEncryptionAlgorithmError", ArgumentName=METHOD.decode("ascii"), ArgumentValue=algorithm.decode("latin-1"))
    if not key:
        raise _invalid(_about("provide an appropriate secret key."))
    if not md5:
        raise _invalid(_about("provide the client calculated MD5 of the secret key."))
    secret = _decoded(key)
    if len(secret) != KEY_BYTES:
        raise _invalid("The secret key was invalid for the specified algorithm.")
    if not hmac.compare_digest(_decoded(md5), hashlib.md5(secret, usedforsecurity=False).digest()):
        raise _invalid("The calculated MD5 hash of the key did not match the hash that was provided.")
    return CustomerKey(secret)


def wrong_key() -> S3Error:
    return S3Error("AccessDenied", _about("provide the correct secret key."))


def _about(words: str) -> str:
    return f"Requests specifying Server Side Encryption with Customer provided keys must {words}"


def _invalid(words: str) -> S3Error:
    return invalid_argument(words, METHOD.decode("ascii"), "null")


def _decoded(text: bytes) -> bytes:
    """b"", which is no key and no digest, for what is no base64."""
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        return b""
