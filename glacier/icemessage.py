"""Payloads of ICE frames: values to bytes and back, sans-IO. All numbers little-endian; texts and ids are UTF-8 behind their length.

Each layout stands here once, as the list of fields that `encode` writes and `parse` reads; glacier/README.md shows them as tables.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

from glacier.ice import ERRORS, SMALL_BYTES_MAX, Code
from glacier.protocol import BusReport, ChunkHead, DiskReport, DiskState, FsckReport, Sent
from node.errors import FrameMalformed, FrazilError, InvalidArgument
from rawx.chunk import Buffer, check_chunk_id

NONCE_BYTES = 32
CHECKSUM_BYTES = 16
IDS_MAX = 900
"""Chunk ids of one deletion or one piece of a list: 900 of 64 digits fit into SMALL_BYTES_MAX."""
TEXT_BYTES_MAX = 4096
LONG_TEXT_BYTES_MAX = SMALL_BYTES_MAX - 64
NO_CHECKSUM = bytes(CHECKSUM_BYTES)


class Flag(IntFlag):
    """What a request wishes beyond the usual; what a request's opcode doesn't know must be 0."""

    NONE = 0
    LIST = 1  # PROBE_DISK: the chunks on the disk
    FORCE = 1  # DISK_POWER_ON: although it failed; SATA_CLEAN: although transfers run
    BOARD = 2  # SATA_CLEAN: all buses
    CHECK = 1  # SEND_DATA, GET_DATA: read all from the disk and compare
    HEAD = 2  # GET_DATA: no bytes
    REPAIR = 1  # FSCK_DISK


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
            raise FrameMalformed("a chunk id is 32 to 64 lower-case hex digits") from error

    def text(self) -> str:
        try:
            return self.raw(self.number("H")).decode()
        except UnicodeDecodeError as error:
            raise FrameMalformed("a text is not UTF-8") from error

    def block(self) -> bytes:
        return self.raw(self.number("I"))

    def flags(self, expected: Flag) -> None:
        """Of a request that has no choice."""
        if self.number("H") != expected:
            raise FrameMalformed("flags that mean nothing here")

    def end(self) -> None:
        if self._at != len(self._data):
            raise FrameMalformed(f"{len(self._data) - self._at} bytes behind the payload's end")


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
        chunks = _read_ids(reader)
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


def write_head(writer: Writer, head: ChunkHead) -> Writer:
    """size u64, unit_bytes u32, checksum 16 bytes, id, record (u32 length, JSON), units (u32 length, 8 bytes each)."""
    writer.numbers("QI", head.size, head.unit_bytes).raw(head.checksum)
    return writer.chunk(head.chunk).block(head.record).block(head.units)


def read_head(reader: Reader) -> ChunkHead:
    size, unit_bytes = reader.numbers("QI")
    checksum = reader.raw(CHECKSUM_BYTES)
    return ChunkHead(reader.chunk(), size, unit_bytes, checksum, reader.block(), reader.block())


def encode_head(head: ChunkHead) -> bytes:
    """GO of GET_DATA."""
    return write_head(Writer(), head).done()


def parse_head(data: Buffer) -> ChunkHead:
    reader = Reader(data)
    head = read_head(reader)
    reader.end()
    return head


def encode_ids(chunks: Sequence[str]) -> bytes:
    """REPLY of DEL_DATA (what could not be deleted) and of PROBE_DISK with LIST: number u16, ids."""
    writer = Writer().numbers("H", len(chunks))
    for chunk in chunks:
        writer.chunk(chunk)
    return writer.done()


def parse_ids(data: Buffer) -> list[str]:
    reader = Reader(data)
    chunks = _read_ids(reader)
    reader.end()
    return chunks


def _read_ids(reader: Reader) -> list[str]:
    number = reader.number("H")
    if number > IDS_MAX:
        raise FrameMalformed(f"{number} ids at once; {IDS_MAX} are allowed")
    return [reader.chunk() for _ in range(number)]


_REPORT = "HBQQQQIIIQIIII"


def encode_report(report: DiskReport) -> bytes:
    """REPLY of PROBE_DISK, DISK_POWER_ON, DISK_POWER_OFF: the fields of `_REPORT` in order, then volume and problem as texts."""
    writer = Writer().numbers(
        _REPORT,
        report.disk,
        report.state,
        report.bytes_total,
        report.bytes_free,
        report.measured_us,
        report.since_us,
        report.ready_ms,
        report.rest_ms,
        report.power_cycles,
        report.powered_s,
        report.failed_starts,
        report.read_errors,
        report.write_errors,
        report.checksum_errors,
    )
    return writer.text(report.volume).text(report.problem).done()


def parse_report(data: Buffer) -> DiskReport:
    reader = Reader(data)
    disk, state, total, free, measured, since, ready, rest, cycles, powered, failed, reads, writes, sums = reader.numbers(_REPORT)
    volume, problem = reader.text(), reader.text()
    reader.end()
    try:
        return DiskReport(
            disk,
            DiskState(state),
            total,
            free,
            measured,
            since,
            ready,
            rest,
            cycles,
            powered,
            failed,
            reads,
            writes,
            sums,
            volume,
            problem,
        )
    except ValueError as error:
        raise FrameMalformed(f"there is no disk state {state}") from error


def encode_welcome(report: BusReport) -> bytes:
    """WELCOME: bus u16, buses u16, powered at a time per bus u16 and per board u16, spin_up_ms u32, start_ms_max u32, disks (u16 number,
    u16 each), the board's name as a text."""
    writer = Writer().numbers(
        "HHHHII",
        report.bus,
        report.buses,
        report.bus_powered_max,
        report.board_powered_max,
        report.spin_up_ms,
        report.start_ms_max,
    )
    writer.numbers("H", len(report.disks)).numbers(f"{len(report.disks)}H", *report.disks)
    return writer.text(report.board).done()


def parse_welcome(data: Buffer) -> BusReport:
    reader = Reader(data)
    bus, buses, bus_max, board_max, spin_up_ms, start_ms_max = reader.numbers("HHHHII")
    disks = reader.numbers(f"{reader.number('H')}H")
    report = BusReport(reader.text(), bus, buses, disks, bus_max, board_max, spin_up_ms, start_ms_max)
    reader.end()
    return report


def encode_sent(sent: Sent) -> bytes:
    """REPLY of SEND_DATA: existed u8, checked u8, bytes_free u64."""
    return Writer().numbers("BBQ", sent.existed, sent.checked, sent.bytes_free).done()


def parse_sent(data: Buffer) -> Sent:
    reader = Reader(data)
    existed, checked, free = reader.numbers("BBQ")
    reader.end()
    return Sent(bool(existed), bool(checked), free)


def encode_fsck(report: FsckReport) -> bytes:
    """REPLY of FSCK_DISK: clean u8, repaired u8, text."""
    return Writer().numbers("BB", report.clean, report.repaired).text(report.text, LONG_TEXT_BYTES_MAX).done()


def parse_fsck(data: Buffer) -> FsckReport:
    reader = Reader(data)
    clean, repaired = reader.numbers("BB")
    report = FsckReport(bool(clean), bool(repaired), reader.text())
    reader.end()
    return report


def encode_total(count: int) -> bytes:
    """END of SEND_DATA and REPLY of GET_DATA: bytes sent u64."""
    return Writer().numbers("Q", count).done()


def parse_total(data: Buffer) -> int:
    reader = Reader(data)
    count = reader.number("Q")
    reader.end()
    return count


def encode_error(code: Code, message: str) -> bytes:
    """REPLY of ERROR: code u16, text."""
    return Writer().numbers("H", code).text(message).done()


def parse_error(data: Buffer) -> tuple[int, FrazilError]:
    """The code, and the error to raise for it; of an unknown code the root of all."""
    reader = Reader(data)
    number, message = reader.number("H"), reader.text()
    reader.end()
    kind = ERRORS[Code(number)] if number in ERRORS else FrazilError
    return number, kind(message or f"the freezer answered with code {number}")
