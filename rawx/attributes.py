"""Where a chunk keeps its record and unit checksums: in two extended attributes, or in a sidecar file when they don't fit.

    user.frazil.chunk   the record as JSON; or {"v":1,"sidecar":true}, or nothing, when there is a sidecar
    user.frazil.units   byte 1 (version), unit_bytes (4 bytes, little-endian), 8-byte checksums
    <chunk>.record      the sidecar: JSON {"v":1, "record": {...}, "unit_bytes": n, "units": base64}

ext4 gives about 4 KiB for all attributes of a file, 968 bytes with 1 KiB blocks. The record in the attribute wins when both are there, so
a change of form has one instant at which it counts; a chunk that once has a sidecar keeps it.
"""

from __future__ import annotations

import errno
import os
import struct

import msgspec

from node.errors import InvalidArgument, RecordCorrupt
from rawx import system
from rawx.chunk import UNIT_BYTES_MAX, UNIT_DIGEST_BYTES, UNREADABLE, ChunkRecord

RECORD_ATTRIBUTE = "user.frazil.chunk"
UNITS_ATTRIBUTE = "user.frazil.units"
SIDECAR_SUFFIX = ".record"
SIDECAR_VERSION = 1
SIDECAR_BYTES_MAX = 1 << 20
TEMPORARY_PREFIX = "."
FILE_MODE = 0o640
_RECORD_NAME, _UNITS_NAME = RECORD_ATTRIBUTE.encode(), UNITS_ATTRIBUTE.encode()
_UNITS_HEADER = struct.Struct("<BI")
_UNITS_VERSION = 1
_SHORT_UNITS = (system.SHORT_ATTRIBUTE_BYTES - _UNITS_HEADER.size) // UNIT_DIGEST_BYTES
"""Checksums of so many units are a short attribute."""
DOES_NOT_FIT = frozenset({errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EOVERFLOW, errno.EFBIG})
_POINTER = b'{"v":1,"sidecar":true}'


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What a chunk's attributes or sidecar say."""

    record: ChunkRecord
    unit_bytes: int
    units: bytes
    in_sidecar: bool = False


class _Sidecar(msgspec.Struct, frozen=True):
    record: ChunkRecord
    unit_bytes: int
    units: bytes
    v: int = SIDECAR_VERSION


_sidecar_decoder = msgspec.json.Decoder(_Sidecar)


def encode_units(unit_bytes: int, units: bytes) -> bytes:
    return _UNITS_HEADER.pack(_UNITS_VERSION, unit_bytes) + units


def decode_units(data: bytes) -> tuple[int, bytes]:
    """Raises: RecordCorrupt."""
    if len(data) < _UNITS_HEADER.size:
        raise RecordCorrupt("the unit checksums are cut off")
    version, unit_bytes = _UNITS_HEADER.unpack_from(data)
    units = data[_UNITS_HEADER.size :]
    if version != _UNITS_VERSION or not 0 < unit_bytes <= UNIT_BYTES_MAX or len(units) % UNIT_DIGEST_BYTES:
        raise RecordCorrupt("the unit checksums are not readable")
    return unit_bytes, units


def check_units(record: ChunkRecord, size: int, units: bytes) -> None:
    """Raises: InvalidArgument when record, size and checksums of a new chunk contradict each other."""
    if record.size != size:
        raise InvalidArgument(f"the record says {record.size} bytes, {size} came")
    if not 0 < record.unit_bytes <= UNIT_BYTES_MAX:
        raise InvalidArgument(f"a checksummed unit has 1 to {UNIT_BYTES_MAX} bytes, not {record.unit_bytes}")
    if len(units) != UNIT_DIGEST_BYTES * -(-size // record.unit_bytes):
        raise InvalidArgument(f"{len(units)} bytes of unit checksums do not match {size} bytes in units of {record.unit_bytes}")


def write_new(descriptor: int, root: int, path: str, record: ChunkRecord, units: bytes) -> bool:
    """Gives a new file its record and unit checksums; True when they went to a sidecar, which then is durable.

    Raises: InvalidArgument when the record can't be written; OSError.
    """
    try:
        os.setxattr(descriptor, RECORD_ATTRIBUTE, record.encode())
        os.setxattr(descriptor, UNITS_ATTRIBUTE, encode_units(record.unit_bytes, units))
    except OSError as error:
        if error.errno not in DOES_NOT_FIT:
            raise
        write_sidecar(root, path, Stored(record, record.unit_bytes, units))
        _point_to_sidecar(descriptor)
        return True
    return False


def replace(descriptor: int, root: int, path: str, old: Stored, record: ChunkRecord) -> None:
    """Puts another record in place of the old one; the caller syncs. A crash between any two steps leaves one of them.

    Raises: InvalidArgument when the record can't be written; OSError.
    """
    encoded = record.encode()
    if not old.in_sidecar:
        try:
            os.setxattr(descriptor, RECORD_ATTRIBUTE, encoded)
        except OSError as error:
            if error.errno not in DOES_NOT_FIT:
                raise
        else:
            return
    write_sidecar(root, path, Stored(record, old.unit_bytes, old.units))
    if not old.in_sidecar:
        _point_to_sidecar(descriptor)


def make_room(descriptor: int, root: int, path: str) -> None:
    """Moves the record into a sidecar, so that another attribute fits; the caller syncs. Raises: RecordCorrupt, OSError."""
    stored = read(descriptor, root, path)
    if not stored.in_sidecar:
        write_sidecar(root, path, stored)
        _point_to_sidecar(descriptor)


def _point_to_sidecar(descriptor: int) -> None:
    try:
        os.setxattr(descriptor, RECORD_ATTRIBUTE, _POINTER)
    except OSError as error:
        if error.errno not in DOES_NOT_FIT:
            raise
        try:  # not even the pointer fits: no record in the attribute says the same
            os.removexattr(descriptor, RECORD_ATTRIBUTE)
        except OSError as missing:
            if missing.errno != errno.ENODATA:
                raise


def write_sidecar(root: int, path: str, stored: Stored) -> None:
    """Writes the sidecar of the chunk at `path` (relative to the open folder `root`), atomically and durably. Raises: OSError."""
    folder, name = path.split("/")
    temporary = f"{folder}/{TEMPORARY_PREFIX}{name}.{os.urandom(4).hex()}{SIDECAR_SUFFIX}"
    data = msgspec.json.encode(_Sidecar(stored.record, stored.unit_bytes, stored.units))
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE, dir_fd=root)
    try:
        try:
            write_all_bytes(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path + SIDECAR_SUFFIX, src_dir_fd=root, dst_dir_fd=root)
    except OSError:
        os.unlink(temporary, dir_fd=root)
        raise
    sync_folder(root, folder)


def read(descriptor: int, root: int, path: str) -> Stored:
    """Raises: RecordCorrupt when there is none or it can't be understood; OSError."""
    data = system.attribute(descriptor, _RECORD_NAME)
    if data is None or data == _POINTER:
        return _read_sidecar(root, path)
    record = ChunkRecord.parse(data)
    units = _read_units(descriptor, record)
    if units is None:
        raise RecordCorrupt("the chunk has no unit checksums")
    unit_bytes, digests = decode_units(units)
    return Stored(record, unit_bytes, digests)


def _read_units(descriptor: int, record: ChunkRecord) -> bytes | None:
    read = system.short_attribute if record.size <= _SHORT_UNITS * record.unit_bytes else system.attribute
    return read(descriptor, _UNITS_NAME)


def _read_sidecar(root: int, path: str) -> Stored:
    try:
        descriptor = os.open(path + SIDECAR_SUFFIX, os.O_RDONLY, dir_fd=root)
    except FileNotFoundError:
        raise RecordCorrupt("the chunk has neither a record nor a sidecar") from None
    try:
        data = os.read(descriptor, SIDECAR_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    try:
        sidecar = _sidecar_decoder.decode(data)
    except UNREADABLE as error:
        raise RecordCorrupt(f"the sidecar is not readable: {error}") from error
    if sidecar.v != SIDECAR_VERSION or not 0 < sidecar.unit_bytes <= UNIT_BYTES_MAX:
        raise RecordCorrupt(f"the sidecar has version {sidecar.v}, this Frazil knows {SIDECAR_VERSION}")
    return Stored(sidecar.record, sidecar.unit_bytes, sidecar.units, in_sidecar=True)


def write_all_bytes(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Writes all of `data` at the file's position. Raises: OSError.

    Through a view of its own: a caller that gives up on a hung write can then still release the buffer it lent.
    """
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.write(descriptor, view[done:] if done else view)


def sync_folder(root: int, folder: str) -> None:
    """Makes the names in a folder durable. Raises: OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
