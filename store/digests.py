"""Checksums over the bytes of one PUT: MD5 for the ETag, and whatever else the client announced."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable
from typing import Any

import xxhash
from awscrt import checksums

from node.errors import InvalidArgument

HELD_PIECE_BYTES = 2047
"""From 2 KiB on hashlib gives the GIL away, and getting it back takes longer than hashing so little (Modules/hashlib.h)."""
HELD_BYTES_MAX = 16 << 10
DIGEST_INLINE_BYTES_MAX = 128 << 10
"""Up to here hashing in the event loop (MD5: 200 us) is cheaper than a hop to a thread and back."""


class _Crc:
    """A CRC with hashlib's face."""

    __slots__ = ("_bytes", "_function", "_value")

    def __init__(self, function: Callable[[Any, int], int], size: int) -> None:
        self._function, self._bytes, self._value = function, size, 0

    def update(self, data: memoryview) -> None:
        self._value = self._function(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._bytes, "big")


_MAKERS: dict[str, Callable[[], Any]] = {
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "crc32": lambda: _Crc(zlib.crc32, 4),
    "crc32c": lambda: _Crc(checksums.crc32c, 4),
    "crc64nvme": lambda: _Crc(checksums.crc64nvme, 8),
    "xxhash64": xxhash.xxh64,
    "xxhash3": xxhash.xxh3_64,
    "xxhash128": xxhash.xxh3_128,
}
ALGORITHMS = frozenset(_MAKERS)
DEAR = frozenset({"md5", "sha1", "sha256", "sha512"})
"""Milliseconds per MiB; the others take hardly more than a copy."""


class Digests:
    """Running checksums by algorithm. dear: `update` of much is for a thread."""

    __slots__ = ("_running", "dear")

    def __init__(self, algorithms: Iterable[str], *, etag: bool = True) -> None:
        """etag: MD5 too, which is the ETag. Raises: InvalidArgument for an algorithm that is not in ALGORITHMS."""
        try:
            self._running = {name: _MAKERS[name]() for name in ({"md5", *algorithms} if etag else set(algorithms))}
        except KeyError as error:
            raise InvalidArgument(f"there is no checksum algorithm {error}") from error
        self.dear = etag or not DEAR.isdisjoint(self._running)

    def update(self, data: memoryview) -> None:
        """Blocking: MD5 takes 1.6 ms per MiB."""
        for each in self._running.values():
            if len(data) <= HELD_BYTES_MAX and not isinstance(each, _Crc):
                for at in range(0, len(data), HELD_PIECE_BYTES):
                    each.update(data[at : at + HELD_PIECE_BYTES])
            else:
                each.update(data)

    def finish(self) -> dict[str, bytes]:
        """Raw digests; CRCs and XXHash big-endian, as they are written."""
        return {name: each.digest() for name, each in self._running.items()}
