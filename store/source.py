"""Where the bytes of a PUT come from."""

from __future__ import annotations

from base64 import b64encode
from typing import Protocol

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """What is known of a content once its last byte is there. checksums: what Source.complete said to keep."""

    size: int
    etag: str
    checksums: dict[str, str]


class Source(Protocol):
    """The incoming bytes of one PUT or part.

    length    decoded length when known
    digests   what to compute over the bytes: any of store.digests.ALGORITHMS; MD5 is also when it is not asked for, if the ETag needs it
    """

    length: int | None
    digests: frozenset[str]

    async def fill(self, buffer: memoryview) -> int:
        """Fills the whole buffer unless the end comes first; bytes filled. After the end: 0.

        Raises: BodyIncomplete, BodyTooSlow, ChecksumMismatch and what else the edge finds wrong.
        """

    def complete(self, digests: dict[str, bytes]) -> dict[str, str]:
        """Called once after the last byte, before anything is committed; what it raises, nothing is stored then.

        digests: raw values by algorithm. Returns {algorithm: base64} to keep with the object. Raises: ChecksumMismatch.
        """


class BytesSource:
    """Bytes that the caller holds. `digests` are kept with the object."""

    def __init__(self, data: bytes, digests: frozenset[str] = frozenset()) -> None:
        self.length: int | None = len(data)
        self.digests = digests
        self._rest = memoryview(data)

    async def fill(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def complete(self, digests: dict[str, bytes]) -> dict[str, str]:
        return {name: b64encode(digests[name]).decode() for name in sorted(self.digests)}
