"""What an upload sends: bytes in memory or a range of a file; can be read again for a retry, and knows its CRC-64/NVME beforehand.

Computing the CRC first costs one more read of cached pages (above 5 GB/s), and lets the store refuse anything that changed on the way.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from typing import Protocol

from cli.exit import Exit, Hinted

PIECE_BYTES = 262_144
"""Fits the processor's second-level cache: read, hashed and sent without going to memory twice."""
CHECKSUM_HEADER = "x-amz-checksum-crc64nvme"
CHECKSUM_NAME = "CRC64NVME"


class Body(Protocol):
    size: int

    def pieces(self) -> AsyncIterator[bytes]:
        """The bytes, from the start, each time it is called."""

    def checksum(self) -> str:
        """CRC-64/NVME as S3 writes it, "" when it can't be known before the bytes were sent."""


def encode_checksum(value: int) -> str:
    return base64.b64encode(value.to_bytes(8, "big")).decode()


def crc64(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """CRC-64/NVME, going on from `value`. The library is imported here: it takes 60 ms, and most commands move no bytes."""
    from awscrt import checksums

    return int(checksums.crc64nvme(data, value))


class BytesBody:
    """A part held in memory (a pipe can't be read again)."""

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self.data = memoryview(data)
        self.size = len(data)

    async def pieces(self) -> AsyncIterator[bytes]:
        for at in range(0, self.size, PIECE_BYTES):
            yield bytes(self.data[at : at + PIECE_BYTES])

    def checksum(self) -> str:
        return encode_checksum(crc64(self.data))


class FileBody:
    """`size` bytes of an open file from `offset`; blocks for as long as the disk does."""

    def __init__(self, descriptor: int, name: str, offset: int, size: int) -> None:
        self._descriptor = descriptor
        self._name = name
        self._offset = offset
        self.size = size

    async def pieces(self) -> AsyncIterator[bytes]:
        stop = self._offset + self.size
        at = self._offset
        while at < stop:
            piece = self._piece(at, stop)
            yield piece
            at += len(piece)

    def checksum(self) -> str:
        return encode_checksum(file_checksum(self._descriptor, self._offset, self._offset + self.size, self._name))

    def _piece(self, at: int, stop: int) -> bytes:
        return _piece(self._descriptor, at, stop, self._name)


def file_checksum(descriptor: int, start: int, stop: int, name: str) -> int:
    """CRC-64/NVME of a range of a file. Raises: Hinted when the file is shorter, OSError."""
    value = 0
    at = start
    while at < stop:
        piece = _piece(descriptor, at, stop, name)
        value = crc64(piece, value)
        at += len(piece)
    return value


def _piece(descriptor: int, at: int, stop: int, name: str) -> bytes:
    piece = os.pread(descriptor, min(PIECE_BYTES, stop - at), at)
    if not piece:
        raise Hinted(f"{name} became shorter while it was read", "run it again when nothing writes to it", code=Exit.FAILED)
    return piece
