"""Looking at many chunks in one thread hop: what scrubs and rebuilds ask. A look never changes a chunk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from node.errors import ChunkCold, ChunkCorrupt, ChunkNotFound, RecordCorrupt
from rawx import attributes, system
from rawx.chunk import ChunkRecord, chunk_checksum, unit_digest
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
    found: list[Examined] = []
    read = 0
    room = _Room() if deep else None
    for chunk in chunks:
        each = _examine(volume, chunk, room)
        found.append(each)
        read += each.size if deep else 0
        if read >= HOP_BYTES:
            break
    return found


def _examine(volume: Volume, chunk: str, room: _Room | None) -> Examined:
    """room: to read all bytes through; None to leave them alone."""
    try:
        descriptor, path = _open(volume, chunk)
    except ChunkNotFound:
        return Examined(chunk, "missing")
    try:
        return _look(volume, chunk, descriptor, path, room)
    except (RecordCorrupt, ChunkCorrupt) as error:
        problem = "record" if isinstance(error, RecordCorrupt) else "corrupt"
        status = os.fstat(descriptor)
        return Examined(chunk, problem, str(error), None, status.st_size, b"", status.st_mtime_ns // 1000)
    finally:
        os.close(descriptor)


def _open(volume: Volume, chunk: str) -> tuple[int, str]:
    path = path_of(chunk)
    try:
        return system.open_plain(volume.root, path), path
    except OSError as error:
        raise volume.health.read_failed(error, f"opening chunk {chunk}") from error


def _look(volume: Volume, chunk: str, descriptor: int, path: str, room: _Room | None) -> Examined:
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
    elif room is not None and record.size and not cold:  # whoever owns the cold disks looks after what lies there
        detail = _read_all(volume, chunk, descriptor, record, stored.unit_bytes, stored.units, room)
        problem = "corrupt" if detail else ""
    size, place = record.size if cold else status.st_size, mark.place if mark is not None else ""
    return Examined(chunk, problem, detail, record, size, checksum, status.st_mtime_ns // 1000, place, cold)


def _read_all(volume: Volume, chunk: str, descriptor: int, record: ChunkRecord, unit_bytes: int, units: bytes, room: _Room) -> str:
    """What is wrong with its bytes; "" when nothing is. Whole chunks are told by their checksums alone; a reader says of others why."""
    if _digests(descriptor, record.size, unit_bytes, room) == units:
        return ""
    reader = LocalReader(chunk, os.dup(descriptor), record.size, unit_bytes, units, health=volume.health, run=volume.bounded)
    try:
        for offset in range(0, record.size, unit_bytes):
            reader.read_blocking(offset, room.of(min(unit_bytes, record.size - offset)))
    except ChunkCorrupt as error:
        return str(error)
    except ChunkCold:  # it was emptied meanwhile
        return ""
    finally:
        reader.close()
    return ""


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
