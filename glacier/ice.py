"""Frames of the ICE protocol: bytes to values and back, sans-IO. glacier/README.md describes every byte.

    frame    header (24 bytes), payload, tag (16 bytes)
    header   "ICE", version, opcode, kind, 0, 0, call, payload bytes, CRC-32 of the payload, CRC-32 of the 20 bytes before (u32 each)

All numbers are little-endian. Whoever receives reads 24 bytes, has `Header.parse` and its session judge them, and only then makes room
for the rest.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass

from node import errors
from node.errors import FrameMalformed, FrazilError
from rawx.chunk import Buffer

MAGIC = b"ICE"
VERSION = 1
HEADER_BYTES = 24
TAG_BYTES = 16
DATA_BYTES_MAX = 1 << 20
"""Bytes of a chunk in one frame."""
HEAD_BYTES_MAX = (1 << 20) + (1 << 16)
"""Of a frame with a chunk's head: what a chunk can say of itself fits into a mebibyte (rawx.attributes.SIDECAR_BYTES_MAX)."""
SMALL_BYTES_MAX = 1 << 16
"""Of every other frame."""
_HEADER = struct.Struct("<3sBBBHIII")
_SUM = struct.Struct("<I")


class Opcode(enum.IntEnum):
    """What is asked. The numbers are the text's order and never change."""

    PROBE_DISK = 0
    DISK_POWER_ON = 1
    DISK_POWER_OFF = 2
    SEND_DATA = 3
    GET_DATA = 4
    DEL_DATA = 5
    SATA_CLEAN = 6
    FSCK_DISK = 7
    LINK_DATA = 8
    ERROR = 9


class Kind(enum.IntEnum):
    """A frame's part in the conversation. W: the worker sends it; F: the freezer."""

    HELLO = 0  # W: the bus and a nonce; the only frame without a proof
    CHALLENGE = 1  # F: its nonce
    PROOF = 2  # W: nothing but the tag
    WELCOME = 3  # F: the bus's report
    REQUEST = 4  # W: begins a call
    GO = 5  # F: SEND_DATA may send; or the head of what GET_DATA sends
    DATA = 6  # both
    END = 7  # W: SEND_DATA has sent all
    REPLY = 8  # F: ends a call; of opcode ERROR when it failed


class Code(enum.IntEnum):
    """Why a call failed. Below 100 the connection ends as well."""

    MALFORMED = 1
    VERSION_UNKNOWN = 2
    NOT_AUTHENTICATED = 3
    TOO_SLOW = 4
    TOO_MANY = 5
    INTERNAL = 6
    SHUTTING_DOWN = 7
    DISK_NOT_FOUND = 100
    DISK_ASLEEP = 101
    DISK_FAILED = 102
    POWER_BUDGET_SPENT = 103
    BUSY = 104
    CHUNK_NOT_FOUND = 105
    ALREADY_EXISTS = 106
    CHUNK_CORRUPT = 107
    RECORD_CORRUPT = 108
    CHECKSUM_MISMATCH = 109
    DISK_FULL = 110
    DISK_READ_ONLY = 111
    INVALID_ARGUMENT = 112
    DEADLINE_EXCEEDED = 113
    DISK_FOREIGN = 114
    CONFIGURATION = 115


FATAL_BELOW = 100
ERRORS: dict[Code, type[FrazilError]] = {
    Code.MALFORMED: errors.FrameMalformed,
    Code.VERSION_UNKNOWN: errors.FrameMalformed,
    Code.NOT_AUTHENTICATED: errors.CallNotAuthenticated,
    Code.TOO_SLOW: errors.BodyTooSlow,
    Code.TOO_MANY: errors.Busy,
    Code.INTERNAL: errors.FrazilError,
    Code.SHUTTING_DOWN: errors.ShuttingDown,
    Code.DISK_NOT_FOUND: errors.DiskNotFound,
    Code.DISK_ASLEEP: errors.DiskAsleep,
    Code.DISK_FAILED: errors.DiskFailed,
    Code.POWER_BUDGET_SPENT: errors.PowerBudgetSpent,
    Code.BUSY: errors.Busy,
    Code.CHUNK_NOT_FOUND: errors.ChunkNotFound,
    Code.ALREADY_EXISTS: errors.AlreadyExists,
    Code.CHUNK_CORRUPT: errors.ChunkCorrupt,
    Code.RECORD_CORRUPT: errors.RecordCorrupt,
    Code.CHECKSUM_MISMATCH: errors.ChecksumMismatch,
    Code.DISK_FULL: errors.VolumeFull,
    Code.DISK_READ_ONLY: errors.VolumeReadOnly,
    Code.INVALID_ARGUMENT: errors.InvalidArgument,
    Code.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    Code.DISK_FOREIGN: errors.VolumeForeign,
    Code.CONFIGURATION: errors.ConfigError,
}


class VersionUnknown(FrameMalformed):
    """A frame of a version that this code doesn't speak; it says which one it does."""


_CODES = {kind: code for code, kind in ERRORS.items() if code is not Code.TOO_MANY} | {
    errors.FrameMalformed: Code.MALFORMED,
    VersionUnknown: Code.VERSION_UNKNOWN,
    errors.VolumeSick: Code.DISK_FAILED,
}


def code_of(error: FrazilError) -> Code:
    """The code that carries an error to the worker; of the nearest kind that has one."""
    return next(_CODES[kind] for kind in type(error).__mro__ if kind in _CODES)


@dataclass(frozen=True, slots=True)
class Header:
    """The first 24 bytes of a frame, checked in themselves. call: 0 during the handshake, then the worker counts up from 1."""

    opcode: Opcode
    kind: Kind
    call: int
    length: int
    payload_sum: int

    def encode(self) -> bytes:
        start = _HEADER.pack(MAGIC, VERSION, self.opcode, self.kind, 0, self.call, self.length, self.payload_sum)
        return start + _SUM.pack(zlib.crc32(start))

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """data: HEADER_BYTES. Raises: FrameMalformed, VersionUnknown."""
        magic, version, opcode, kind, zero, call, length, payload_sum = _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise FrameMalformed("what came is no ICE frame")
        if version != VERSION:
            raise VersionUnknown(f"the frame has version {version}; this side speaks {VERSION}")
        if _SUM.unpack_from(data, _HEADER.size)[0] != zlib.crc32(data[: _HEADER.size]):
            raise FrameMalformed("the header's checksum is wrong")
        if zero:
            raise FrameMalformed("two bytes that must be zero are not")
        try:
            header = cls(Opcode(opcode), Kind(kind), call, length, payload_sum)
        except ValueError as error:
            raise FrameMalformed(f"there is no opcode {opcode} with kind {kind}") from error
        if length > header.length_max:
            raise FrameMalformed(f"{length} bytes in a frame that may have {header.length_max}")
        return header

    @property
    def length_max(self) -> int:
        if self.kind is Kind.DATA:
            return DATA_BYTES_MAX
        carries_head = (self.opcode, self.kind) in _WITH_HEAD
        return HEAD_BYTES_MAX if carries_head else SMALL_BYTES_MAX

    def check_payload(self, payload: Buffer) -> None:
        """Raises: FrameMalformed when these are not the bytes that were sent."""
        if zlib.crc32(payload) != self.payload_sum:
            raise FrameMalformed("the payload's checksum is wrong")


_WITH_HEAD = {
    (Opcode.SEND_DATA, Kind.REQUEST),
    (Opcode.LINK_DATA, Kind.REQUEST),
    (Opcode.GET_DATA, Kind.GO),
}


def header_for(opcode: Opcode, kind: Kind, call: int, payload: Buffer) -> Header:
    """The header of a frame to be sent."""
    header = Header(opcode, kind, call, len(payload), zlib.crc32(payload))
    assert header.length <= header.length_max, f"{header} is too long"
    return header
