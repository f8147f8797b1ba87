"""Chunks on their way into a shelf and out of it: nothing is kept and nothing leaves whose checksums were not compared."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing

import trio
import xxhash

from glacier.board import Shelf
from glacier.ice import DATA_BYTES_MAX
from glacier.protocol import WHOLE, ChunkHead
from node.errors import (
    AlreadyExists,
    BodyTooSlow,
    ChecksumMismatch,
    ChunkCorrupt,
    ChunkNotFound,
    DeadlineExceeded,
    InvalidArgument,
    PeerUnreachable,
    RecordCorrupt,
)
from rawx.attributes import check_units
from rawx.chunk import UNIT_DIGEST_BYTES, Buffer, ChunkRecord, check_chunk_id, chunk_checksum
from rawx.housekeeping import verify
from rawx.protocol import Reader, Upload
from rawx.reader import check_range


def checked_record(head: ChunkHead) -> ChunkRecord:
    """The record of a head that is true in itself. Raises: InvalidArgument, RecordCorrupt, ChecksumMismatch."""
    check_chunk_id(head.chunk)
    record = ChunkRecord.parse(head.record)
    check_units(record, head.size, head.units)
    if record.unit_bytes != head.unit_bytes:
        raise InvalidArgument(f"the record says units of {record.unit_bytes} bytes, the head {head.unit_bytes}")
    if chunk_checksum(head.units) != head.checksum or record.checksum not in ("", head.checksum.hex()):
        raise ChecksumMismatch("the checksum is not that of the unit checksums")
    return record


async def is_there(shelf: Shelf, head: ChunkHead, *, check: bool) -> bool:
    """Whether the chunk lies on the shelf already, and with `check` reads back well; a damaged one is put aside.

    Raises: AlreadyExists when another chunk has its id.
    """
    try:
        there, reader = await shelf.open(head.chunk, b"", from_disk=check)
        try:
            if there.checksum != head.checksum:
                raise AlreadyExists(f"there is another chunk {head.chunk}")
            if check:
                await verify(reader)
        finally:
            await reader.aclose()
    except ChunkNotFound:
        return False
    except (ChunkCorrupt, RecordCorrupt) as error:
        await shelf.put_aside(head.chunk, str(error))
        return False
    return True


class Arrival:
    """A chunk on its way in. When the way breaks, what came of it is kept for the next try, whatever lies behind a whole unit too."""

    def __init__(self, head: ChunkHead, upload: Upload) -> None:
        self.head = head
        self._upload = upload
        self._checker = _UnitChecker(head)
        self.is_cut = False

    def __repr__(self) -> str:
        return f"<Arrival {self.head.chunk} {self.done} of {self.head.size}{' cut' if self.is_cut else ''}>"

    @classmethod
    async def begin(cls, shelf: Shelf, head: ChunkHead) -> Arrival:
        return cls(head, await shelf.create(head))

    @property
    def done(self) -> int:
        """Bytes that came, each of them written."""
        return self._checker.done

    async def receive(self, record: ChunkRecord, data: AsyncIterable[Buffer]) -> None:
        """The bytes behind `done`; durable at return. Raises: ChecksumMismatch, and nothing is kept; as Upload; what `data` raises, and
        then `is_cut` says that it was that, and what came is kept."""
        self.is_cut = False
        try:
            async with aclosing(self._coming(data)) as pieces:
                async for piece in pieces:
                    self._checker.add(piece)
                    await self._upload.write(piece)
            self._checker.finish()
            await self._upload.commit(record, self.head.units)
        except BaseException:
            if not self.is_cut:
                await self.abort()
            raise

    async def _coming(self, data: AsyncIterable[Buffer]) -> AsyncGenerator[Buffer, None]:
        pieces = aiter(data)
        while True:
            try:
                piece = await anext(pieces)
            except StopAsyncIteration:
                return
            except (PeerUnreachable, BodyTooSlow, DeadlineExceeded):  # a line that went dead says nothing any more
                self.is_cut = True
                raise
            yield piece

    async def abort(self) -> None:
        with trio.CancelScope(shield=True):
            await self._upload.abort()


class _UnitChecker:
    """Compares bytes that come in pieces of any size with the unit checksums that were announced."""

    def __init__(self, head: ChunkHead) -> None:
        self._head = head
        self._hasher = xxhash.xxh3_64()
        self._done = 0

    @property
    def done(self) -> int:
        return self._done

    def add(self, piece: Buffer) -> None:
        """Raises: ChecksumMismatch."""
        view = memoryview(piece)
        while view:
            if self._done >= self._head.size:
                raise ChecksumMismatch(f"more than the announced {self._head.size} bytes came")
            end = min((self._done // self._head.unit_bytes + 1) * self._head.unit_bytes, self._head.size)
            part = view[: end - self._done]
            self._hasher.update(part)
            self._done += len(part)
            view = view[len(part) :]
            if self._done == end:
                self._compare()

    def _compare(self) -> None:
        at = (self._done - 1) // self._head.unit_bytes * UNIT_DIGEST_BYTES
        if self._hasher.digest() != self._head.units[at : at + UNIT_DIGEST_BYTES]:
            raise ChecksumMismatch(f"the unit that ends at {self._done} is not the one that was announced")
        self._hasher.reset()

    def finish(self) -> None:
        if self._done != self._head.size:
            raise ChecksumMismatch(f"{self._done} bytes came, {self._head.size} were announced")


class LocalIncoming:
    """A chunk that is read from a shelf (protocol: glacier.protocol.Incoming)."""

    def __init__(self, head: ChunkHead, reader: Reader, offset: int, count: int) -> None:
        """Raises: InvalidArgument unless the range is whole units."""
        end = head.size if count == WHOLE else offset + count
        if offset > end:
            raise InvalidArgument(f"the chunk ends at {head.size}, before {offset}")
        check_range(reader, offset, end - offset)
        self.head = head
        self._reader = reader
        self._at = offset
        self._end = end
        self._step = max(DATA_BYTES_MAX // head.unit_bytes, 1) * head.unit_bytes

    def __repr__(self) -> str:
        return f"<LocalIncoming {self.head.chunk} at {self._at} of {self._end}>"

    def __aiter__(self) -> LocalIncoming:
        return self

    async def __anext__(self) -> Buffer:
        if self._at >= self._end:
            raise StopAsyncIteration
        piece = bytearray(min(self._step, self._end - self._at))
        await self._reader.read(self._at, memoryview(piece))
        self._at += len(piece)
        return piece
