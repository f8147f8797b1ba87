"""Giving the bytes of a chunk away and taking them back: the file stays with its name, size, record and unit checksums.

Order, and why a crash at any step loses nothing: a file is emptied only after its mark says "cold" durably, and its mark says "filled" only
after its bytes are durable. So whoever reads bytes that their checksums don't bind asks for the mark, and nobody else ever looks at it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from node.errors import ChunkCorrupt, InvalidArgument
from rawx import attributes, system
from rawx.attributes import Stored
from rawx.chunk import UNIT_DIGEST_BYTES, Buffer, check_chunk_id, unit_digests
from rawx.folders import path_of
from rawx.mark import COLD, MARK_ATTRIBUTE, Mark, read_mark
from rawx.volume import Volume

T = TypeVar("T")


class ColdChunks:
    """What the owner of the cold disks does with a volume's files. Each call is durable at return, and may be repeated."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume

    def __repr__(self) -> str:
        return f"<ColdChunks of {self.volume!r}>"

    async def stored(self, chunk: str) -> tuple[Stored, Mark | None]:
        """What the chunk says of itself. Raises: ChunkNotFound, RecordCorrupt, VolumeSick."""
        return await self._run("reading a mark", chunk, self._stored)

    async def empty(self, chunk: str, place: str) -> None:
        """Gives the blocks back: the bytes are at `place`, synced and compared. Raises: ChunkNotFound, VolumeSick, VolumeReadOnly."""
        await self._run("emptying a chunk", chunk, self._empty, place)

    async def set_mark(self, chunk: str, mark: Mark | None) -> None:
        """None: the bytes are here for good. Raises: ChunkNotFound, VolumeSick, VolumeReadOnly."""
        await self._run("marking a chunk", chunk, self._mark, mark)

    async def fill(self, chunk: str, offset: int, data: Buffer) -> None:
        """Puts whole units back in their place. Raises: ChunkCorrupt (not the chunk's), ChunkNotFound, VolumeFull, VolumeSick."""
        await self._run("filling a chunk", chunk, self._fill, offset, bytes(data))

    async def filled(self, chunk: str) -> int:
        """Bytes from the begin that are there already, in whole units: an earlier filling may have been cut off. Raises: as stored."""
        return await self._run("looking at what is filled", chunk, self._filled)

    async def finish(self, chunk: str, mark: Mark | None) -> None:
        """All units are back. Raises: as set_mark; ChunkCorrupt when they are not."""
        await self._run("syncing a chunk", chunk, self._finish, mark)

    async def _run(self, doing: str, chunk: str, function: Callable[..., T], *args: Any) -> T:
        return await self.volume.bounded(doing, self._held, doing, check_chunk_id(chunk), function, args)

    def _held(self, doing: str, chunk: str, function: Callable[..., T], args: Sequence[Any]) -> T:
        with self._open(chunk, doing) as descriptor:
            return function(descriptor, chunk, *args)

    @contextmanager
    def _open(self, chunk: str, doing: str) -> Iterator[int]:
        """The file, held against others who change its attributes."""
        health = self.volume.health
        try:
            descriptor = os.open(path_of(chunk), os.O_RDWR | os.O_NOFOLLOW, dir_fd=self.volume.root)
        except OSError as error:
            raise health.read_failed(error, f"{doing} {chunk}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        except OSError as error:
            raise health.write_failed(error, f"{doing} {chunk}") from error
        finally:
            os.close(descriptor)

    def _stored(self, descriptor: int, chunk: str) -> tuple[Stored, Mark | None]:
        return attributes.read(descriptor, self.volume.root, path_of(chunk)), read_mark(descriptor)

    def _empty(self, descriptor: int, chunk: str, place: str) -> None:
        size = os.fstat(descriptor).st_size
        self._mark(descriptor, chunk, Mark(COLD, place))
        system.punch(descriptor, size)
        os.fsync(descriptor)

    def _mark(self, descriptor: int, chunk: str, mark: Mark | None) -> None:
        if mark is None:
            try:
                os.removexattr(descriptor, MARK_ATTRIBUTE)
            except OSError as error:
                if error.errno != errno.ENODATA:
                    raise
        else:
            self._write_mark(descriptor, chunk, mark.encode())
        os.fsync(descriptor)

    def _write_mark(self, descriptor: int, chunk: str, encoded: bytes) -> None:
        """Where the attributes leave no room, the record makes it: it moves to a sidecar."""
        try:
            os.setxattr(descriptor, MARK_ATTRIBUTE, encoded)
        except OSError as error:
            if error.errno not in attributes.DOES_NOT_FIT:
                raise
            attributes.make_room(descriptor, self.volume.root, path_of(chunk))
            os.setxattr(descriptor, MARK_ATTRIBUTE, encoded)

    def _fill(self, descriptor: int, chunk: str, offset: int, data: bytes) -> None:
        stored = attributes.read(descriptor, self.volume.root, path_of(chunk))
        first = offset // stored.unit_bytes * UNIT_DIGEST_BYTES
        digests = unit_digests(data, stored.unit_bytes)
        if offset % stored.unit_bytes or offset + len(data) > stored.record.size:
            raise InvalidArgument(f"bytes {offset} to {offset + len(data)} are no whole units of chunk {chunk}")
        if digests != stored.units[first : first + len(digests)]:
            raise ChunkCorrupt(f"what came back for chunk {chunk} at {offset} is not what left")
        done = 0
        while done < len(data):
            done += os.pwrite(descriptor, memoryview(data)[done:], offset + done)

    def _filled(self, descriptor: int, chunk: str) -> int:
        return _whole_bytes(descriptor, attributes.read(descriptor, self.volume.root, path_of(chunk)))

    def _finish(self, descriptor: int, chunk: str, mark: Mark | None) -> None:
        stored = attributes.read(descriptor, self.volume.root, path_of(chunk))
        os.fsync(descriptor)
        if not _is_whole(descriptor, stored):
            raise ChunkCorrupt(f"chunk {chunk} was not filled whole")
        self._mark(descriptor, chunk, mark)


def _is_whole(descriptor: int, stored: Stored) -> bool:
    """Whether the bytes in the file are those that its checksums bind; from the page cache, for they were just written."""
    return os.fstat(descriptor).st_size == stored.record.size == _whole_bytes(descriptor, stored)


def _whole_bytes(descriptor: int, stored: Stored) -> int:
    """From the begin to the first unit that is not what its checksum says."""
    for offset in range(0, stored.record.size, stored.unit_bytes):
        at = offset // stored.unit_bytes * UNIT_DIGEST_BYTES
        data = os.pread(descriptor, min(stored.unit_bytes, stored.record.size - offset), offset)
        if unit_digests(data, stored.unit_bytes) != stored.units[at : at + UNIT_DIGEST_BYTES]:
            return offset
    return stored.record.size
