"""The keys of signature version 4, derived from a secret for a day, a region and a service. Pure."""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache

import msgspec

SIGNING_KEYS_CACHED = 1_024


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


@lru_cache(maxsize=SIGNING_KEYS_CACHED)
def signing_key(secret: str, date: bytes, region: bytes, service: bytes) -> SigningKey:
    key = hmac.digest(b"AWS4" + secret.encode(), date, "sha256")
    for step in (region, service, b"aws4_request"):
        key = hmac.digest(key, step, "sha256")
    return SigningKey(key)
