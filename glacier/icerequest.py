"""What a worker says in ICE: values to bytes and back, sans-IO. Each layout stands here once; glacier/README.md shows them as tables."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from glacier.icefield import CHECKSUM_BYTES, IDS_MAX, NONCE_BYTES, Reader, Writer, encode_ids, read_head, read_ids, write_head
from glacier.protocol import ChunkHead
from node.errors import FrameMalformed
from rawx.chunk import Buffer

NO_CHECKSUM = bytes(CHECKSUM_BYTES)


class Flag(IntFlag):
    """What a request wishes beyond the usual; what a request's opcode doesn't know must be 0."""

    NONE = 0
    LIST = 1  # PROBE_DISK: the chunks on the disk
    FORCE = 1  # DISK_POWER_ON: although it failed; SATA_CLEAN: although transfers run
    BOARD = 2  # SATA_CLEAN: all buses
    CHECK = 1  # SEND_DATA, GET_DATA: read all from the disk and compare
    RESUME = 2  # SEND_DATA: go on behind what came of the chunk before
    HEAD = 2  # GET_DATA: no bytes
    REPAIR = 1  # FSCK_DISK


@dataclass(frozen=True, slots=True)
class Hello:
    """HELLO: bus u16, nonce 32 bytes."""

    bus: int
    nonce: bytes

    def encode(self) -> bytes:
        return Writer().numbers("H", self.bus).raw(self.nonce).done()

    @classmethod
    def parse(cls, data: Buffer) -> Hello:
        reader = Reader(data)
        hello = cls(reader.number("H"), reader.raw(NONCE_BYTES))
        reader.end()
        return hello


@dataclass(frozen=True, slots=True)
class DiskRequest:
    """PROBE_DISK without LIST, DISK_POWER_ON, DISK_POWER_OFF, FSCK_DISK, SATA_CLEAN (whose disk is 0): disk u16, flags u16."""

    disk: int
    flags: Flag = Flag.NONE

    def encode(self) -> bytes:
        return Writer().numbers("HH", self.disk, self.flags).done()

    @classmethod
    def parse(cls, data: Buffer) -> DiskRequest:
        reader = Reader(data)
        disk, flags = reader.numbers("HH")
        reader.end()
        return cls(disk, Flag(flags))


@dataclass(frozen=True, slots=True)
class ListRequest:
    """PROBE_DISK with LIST: disk u16, flags u16, limit u16, after (u8 length, id; length 0: from the begin)."""

    disk: int
    limit: int
    after: str = ""

    def encode(self) -> bytes:
        return Writer().numbers("HHH", self.disk, Flag.LIST, self.limit).chunk(self.after).done()

    @classmethod
    def parse(cls, data: Buffer) -> ListRequest:
        reader = Reader(data)
        disk = reader.number("H")
        reader.flags(Flag.LIST)
        limit = reader.number("H")
        if not 0 < limit <= IDS_MAX:
            raise FrameMalformed(f"a list has 1 to {IDS_MAX} ids")
        after = reader.chunk_or_none()
        reader.end()
        return cls(disk, limit, after)


@dataclass(frozen=True, slots=True)
class SendRequest:
    """SEND_DATA: disk u16, flags u16, then the chunk's head."""

    disk: int
    flags: Flag
    head: ChunkHead

    def encode(self) -> bytes:
        return write_head(Writer().numbers("HH", self.disk, self.flags), self.head).done()

    @classmethod
    def parse(cls, data: Buffer) -> SendRequest:
        reader = Reader(data)
        disk, flags = reader.numbers("HH")
        head = read_head(reader)
        reader.end()
        return cls(disk, Flag(flags), head)


@dataclass(frozen=True, slots=True)
class GetRequest:
    """GET_DATA: disk u16, flags u16, offset u64, count u64, checksum 16 bytes (zeros: any), id."""

    disk: int
    flags: Flag
    chunk: str
    checksum: bytes
    offset: int
    count: int

    def encode(self) -> bytes:
        writer = Writer().numbers("HHQQ", self.disk, self.flags, self.offset, self.count)
        return writer.raw(self.checksum or NO_CHECKSUM).chunk(self.chunk).done()

    @classmethod
    def parse(cls, data: Buffer) -> GetRequest:
        reader = Reader(data)
        disk, flags, offset, count = reader.numbers("HHQQ")
        checksum = reader.raw(CHECKSUM_BYTES)
        chunk = reader.chunk()
        reader.end()
        return cls(disk, Flag(flags), chunk, b"" if checksum == NO_CHECKSUM else checksum, offset, count)


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """DEL_DATA: disk u16, flags u16, number of ids u16, ids."""

    disk: int
    chunks: tuple[str, ...]

    def encode(self) -> bytes:
        return Writer().numbers("HH", self.disk, 0).raw(encode_ids(self.chunks)).done()

    @classmethod
    def parse(cls, data: Buffer) -> DeleteRequest:
        reader = Reader(data)
        disk = reader.number("H")
        reader.flags(Flag.NONE)
        chunks = read_ids(reader)
        reader.end()
        return cls(disk, tuple(chunks))


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """LINK_DATA: disk u16, flags u16, source id, target id, the target's record (u32 length, JSON)."""

    disk: int
    source: str
    target: str
    record: bytes

    def encode(self) -> bytes:
        return Writer().numbers("HH", self.disk, 0).chunk(self.source).chunk(self.target).block(self.record).done()

    @classmethod
    def parse(cls, data: Buffer) -> LinkRequest:
        reader = Reader(data)
        disk = reader.number("H")
        reader.flags(Flag.NONE)
        request = cls(disk, reader.chunk(), reader.chunk(), reader.block())
        reader.end()
        return request
