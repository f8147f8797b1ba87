"""Looking at many chunks in one thread hop: what scrubs and rebuilds ask. A look never changes a chunk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from node.errors import ChunkCold, ChunkCorrupt, ChunkNotFound, RecordCorrupt
from rawx import attributes, system
from rawx.attributes import Stored
from rawx.chunk import chunk_checksum, unit_digest
from rawx.folders import path_of
from rawx.mark import COLD, LOST, read_mark
from rawx.protocol import Examined
from rawx.reader import LocalReader

if TYPE_CHECKING:
    from rawx.volume import Volume

EXAMINED_MAX = 1_000
"""Chunks of one call."""
LOOKS_S, LOOK_S = 0.01, 0.0002
"""A hop of looks at what is cached takes less, and so much less for each chunk (35 us): one that takes longer waits for its disk."""
HOP_BYTES = 64 << 20
"""Bytes read in one thread hop before the caller gets a turn; the slowest healthy disk needs seconds for it."""

OPEN_AT_ONCE = 16
"""Chunks whose records are read, one after another, before their bytes are."""
READ_BYTES = 512 << 10
"""Read by one call, in whole units: few calls, and the bytes are still in the processor's second-level cache when they are hashed."""


class _Room:
    """Memory that bytes are read through; as much as the largest unit so far, for a new piece costs page faults."""

    __slots__ = ("_view",)

    def __init__(self) -> None:
        self._view = memoryview(b"")

    def of(self, count: int) -> memoryview:
        if len(self._view) < count:
            self._view = memoryview(bytearray(count))
        return self._view[:count]


def examine_blocking(volume: Volume, chunks: Sequence[str], deep: bool) -> list[Examined]:
    """The first chunks' findings: all of them, or as many as HOP_BYTES of reading allow. Raises: VolumeSick, Busy."""
    if not deep:
        return [_examine(volume, chunk) for chunk in chunks]
    found: list[Examined] = []
    room, left = _Room(), HOP_BYTES
    while len(found) < len(chunks) and left > 0:
        some = _examine_deep(volume, chunks[len(found) : len(found) + OPEN_AT_ONCE], room, left)
        found += some
        left -= sum(each.size for each in some)
    return found


def _examine(volume: Volume, chunk: str) -> Examined:
    found, descriptor, _ = _look(volume, chunk)
    if descriptor >= 0:
        os.close(descriptor)
    return found


def _examine_deep(volume: Volume, chunks: Sequence[str], room: _Room, most: int) -> list[Examined]:
    """All of these, or the first ones until `most` bytes were read. First all records, then all bytes: what runs stays in the caches."""
    looks: list[_Look] = []
    found: list[Examined] = []
    try:
        for chunk in chunks:
            looks.append(_look(volume, chunk))
        for look in looks:
            found.append(look.found if look.unread is None else _read_all(volume, look.found, look.descriptor, look.unread, room))
            most -= look.found.size
            if most <= 0:
                break
    finally:
        for look in looks:
            look.close()
    return found


class _Look(NamedTuple):
    """What a look found, and the open chunk (-1: there is none). unread: what its bytes are to be compared with; None: no use."""

    found: Examined
    descriptor: int = -1
    unread: Stored | None = None

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


def _look(volume: Volume, chunk: str) -> _Look:
    """Raises: VolumeSick."""
    try:
        descriptor, path = _open(volume, chunk)
    except ChunkNotFound:
        return _Look(Examined(chunk, "missing"))
    except ChunkCorrupt as error:  # its inode can't be read, or it is no file: the volume's other chunks are looked at all the same
        return _Look(Examined(chunk, "corrupt", str(error)))
    try:
        return _judge(volume, chunk, descriptor, path)
    except (RecordCorrupt, ChunkCorrupt) as error:
        problem = "record" if isinstance(error, RecordCorrupt) else "corrupt"
        status = os.fstat(descriptor)
        return _Look(Examined(chunk, problem, str(error), None, status.st_size, b"", status.st_mtime_ns // 1000), descriptor)
    except BaseException:
        os.close(descriptor)
        raise


def _open(volume: Volume, chunk: str) -> tuple[int, str]:
    path = path_of(chunk)
    try:
        return system.open_plain(volume.root, path), path
    except OSError as error:
        raise volume.health.read_failed(error, f"opening chunk {chunk}") from error


def _judge(volume: Volume, chunk: str, descriptor: int, path: str) -> _Look:
    """Raises: RecordCorrupt, ChunkCorrupt, VolumeSick."""
    try:
        stored = attributes.read(descriptor, volume.root, path)
        mark = read_mark(descriptor)
    except OSError as error:
        meaning = volume.health.read_failed(error, f"reading the record of chunk {chunk}")
        raise meaning from error
    record, status = stored.record, os.fstat(descriptor)
    checksum = chunk_checksum(stored.units)
    cold = mark is not None and mark.state == COLD
    problem = detail = ""
    if mark is not None and mark.state == LOST:
        problem, detail = "corrupt", f"its bytes were on the cold disk {mark.place}, which lost them"
    elif status.st_size != record.size and not cold:
        problem, detail = "truncated", f"it has {status.st_size} bytes, its record says {record.size}"
    elif checksum.hex() != record.checksum:
        problem, detail = "corrupt", "its unit checksums are not those that its record names"
    size, place = record.size if cold else status.st_size, mark.place if mark is not None else ""
    found = Examined(chunk, problem, detail, record, size, checksum, status.st_mtime_ns // 1000, place, cold)
    # whoever owns the cold disks looks after what lies there
    return _Look(found, descriptor, None if problem or cold or not record.size else stored)


def _read_all(volume: Volume, found: Examined, descriptor: int, stored: Stored, room: _Room) -> Examined:
    """Whole chunks are told by their checksums alone; a reader says of others what is wrong. Raises: VolumeSick."""
    size, unit_bytes = stored.record.size, stored.unit_bytes
    if _digests(descriptor, size, unit_bytes, room) == stored.units:
        return found
    reader = LocalReader(found.chunk, os.dup(descriptor), size, unit_bytes, stored.units, health=volume.health, run=volume.bounded)
    try:
        for offset in range(0, size, unit_bytes):
            reader.read_blocking(offset, room.of(min(unit_bytes, size - offset)))
    except ChunkCorrupt as error:
        return msgspec.structs.replace(found, problem="corrupt", detail=str(error))
    except ChunkCold:  # it was emptied meanwhile
        return found
    finally:
        reader.close()
    return found


def _digests(descriptor: int, size: int, unit_bytes: int, room: _Room) -> bytes | None:
    """Checksums of the units, read through the same memory again and again, which the caches hold; None when not all can be read."""
    found = []
    step = max(READ_BYTES // unit_bytes, 1) * unit_bytes
    for offset in range(0, size, step):
        piece = room.of(min(step, size - offset))
        try:
            if os.preadv(descriptor, [piece], offset) != len(piece):
                return None
        except OSError:
            return None
        found += [unit_digest(piece[at : at + unit_bytes]) for at in range(0, len(piece), unit_bytes)]
    return b"".join(found)
