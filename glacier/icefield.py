"""Fields of ICE payloads, of which the messages are made; sans-IO. All numbers little-endian; texts and ids UTF-8 behind their length."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from glacier.protocol import ChunkHead
from node.errors import FrameMalformed, InvalidArgument
from rawx.chunk import Buffer, check_chunk_id

NONCE_BYTES = 32
CHECKSUM_BYTES = 16
IDS_MAX = 900
"""Chunk ids of one deletion or one piece of a list: 900 of 64 digits fit into SMALL_BYTES_MAX."""
TEXT_BYTES_MAX = 4096


class Writer:
    """Fields in order."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def numbers(self, form: str, *values: int) -> Writer:
        self._parts.append(struct.pack("<" + form, *values))
        return self

    def raw(self, data: bytes) -> Writer:
        self._parts.append(data)
        return self

    def chunk(self, chunk: str) -> Writer:
        data = chunk.encode()
        return self.numbers("B", len(data)).raw(data)

    def text(self, text: str, bytes_max: int = TEXT_BYTES_MAX) -> Writer:
        """Cut off at bytes_max."""
        data = text.encode(errors="backslashreplace")[:bytes_max].decode(errors="ignore").encode()
        return self.numbers("H", len(data)).raw(data)

    def block(self, data: bytes) -> Writer:
        return self.numbers("I", len(data)).raw(data)

    def done(self) -> bytes:
        return b"".join(self._parts)


class Reader:
    """The same fields back. Every method raises FrameMalformed when the payload is too short for them."""

    def __init__(self, data: Buffer) -> None:
        self._data = memoryview(data)
        self._at = 0

    def raw(self, count: int) -> bytes:
        if count > len(self._data) - self._at:
            raise FrameMalformed("the payload is too short for what it says")
        begin, self._at = self._at, self._at + count
        return bytes(self._data[begin : self._at])

    def numbers(self, form: str) -> tuple[int, ...]:
        form = "<" + form
        return struct.unpack(form, self.raw(struct.calcsize(form)))

    def number(self, form: str) -> int:
        return self.numbers(form)[0]

    def chunk(self) -> str:
        try:
            return check_chunk_id(self.chunk_or_none())
        except InvalidArgument as error:
            raise FrameMalformed(str(error)) from error

    def chunk_or_none(self) -> str:
        data = self.raw(self.number("B"))
        try:
            return check_chunk_id(data.decode("ascii")) if data else ""
        except (UnicodeDecodeError, InvalidArgument) as error:
            raise FrameMalformed("a chunk id is 32 to 64 lower-case hex digits, of whole bytes") from error

    def text(self) -> str:
        try:
            return self.raw(self.number("H")).decode()
        except UnicodeDecodeError as error:
            raise FrameMalformed("a text is not UTF-8") from error

    def block(self) -> bytes:
        return self.raw(self.number("I"))

    def flags(self, expected: int) -> None:
        """Of a request that has no choice."""
        if self.number("H") != expected:
            raise FrameMalformed("flags that mean nothing here")

    def end(self) -> None:
        if self._at != len(self._data):
            raise FrameMalformed(f"{len(self._data) - self._at} bytes behind the payload's end")


def write_head(writer: Writer, head: ChunkHead) -> Writer:
    """size u64, unit_bytes u32, checksum 16 bytes, id, record (u32 length, JSON), units (u32 length, 8 bytes each)."""
    writer.numbers("QI", head.size, head.unit_bytes).raw(head.checksum)
    return writer.chunk(head.chunk).block(head.record).block(head.units)


def read_head(reader: Reader) -> ChunkHead:
    size, unit_bytes = reader.numbers("QI")
    checksum = reader.raw(CHECKSUM_BYTES)
    return ChunkHead(reader.chunk(), size, unit_bytes, checksum, reader.block(), reader.block())


def encode_ids(chunks: Sequence[str]) -> bytes:
    """REPLY of DEL_DATA (what could not be deleted) and of PROBE_DISK with LIST: number u16, ids."""
    writer = Writer().numbers("H", len(chunks))
    for chunk in chunks:
        writer.chunk(chunk)
    return writer.done()


def read_ids(reader: Reader) -> list[str]:
    number = reader.number("H")
    if number > IDS_MAX:
        raise FrameMalformed(f"{number} ids at once; {IDS_MAX} are allowed")
    return [reader.chunk() for _ in range(number)]
