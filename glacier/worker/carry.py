"""Bytes between a volume's file and a cold disk. Each says on which side it failed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from glacier.protocol import ChunkHead, Freezer
from node.errors import ChunkNotFound, Damaged, FrazilError
from rawx.cold import ColdChunks
from rawx.protocol import Reader

PIECE_BYTES = 1 << 20


class HotTrouble(Exception):
    """The volume's side failed, for the cause given."""

    def __init__(self, cause: FrazilError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class ColdLost(Exception):
    """The cold disk no longer has the chunk, or not whole."""


@contextmanager
def hot() -> Iterator[None]:
    try:
        yield
    except FrazilError as error:
        raise HotTrouble(error) from error


@contextmanager
def cold() -> Iterator[None]:
    """For calls that read from the cold disk. Errors of the freezer itself pass."""
    try:
        yield
    except (Damaged, ChunkNotFound) as error:
        raise ColdLost(str(error)) from error


async def send(freezer: Freezer, disk: int, files: ColdChunks, chunk: str) -> None:
    """Copies a chunk to a powered disk; at return it is synced there and was read back. Raises: HotTrouble; what Freezer.send raises."""
    with hot():
        stored, _ = await files.stored(chunk)
        record = stored.record
        reader = await files.volume.open(chunk, bytes.fromhex(record.checksum))
    pieces = _Pieces(reader)
    try:
        head = ChunkHead(chunk, record.size, stored.unit_bytes, bytes.fromhex(record.checksum), record.encode(), stored.units)
        async with aclosing(pieces.all()) as data:
            sent = await freezer.send(disk, head, data, check=True, resume=pieces.begin_at)
        if not sent.checked:
            await freezer.head(disk, chunk, checksum=head.checksum, check=True)
    except FrazilError as error:
        if pieces.trouble is not None:
            raise HotTrouble(pieces.trouble) from error
        raise
    finally:
        await reader.aclose()


class _Pieces:
    """All bytes of an open chunk, or those that lack; remembers that it was reading them that failed."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._begin = 0
        self.trouble: FrazilError | None = None

    def begin_at(self, offset: int) -> None:
        """What is before it came with an earlier try."""
        self._begin = offset

    async def all(self) -> AsyncGenerator[memoryview, None]:
        reader, begin = self._reader, self._begin
        step = max(PIECE_BYTES // reader.unit_bytes, 1) * reader.unit_bytes
        buffer = memoryview(bytearray(min(step, reader.size)))
        for offset in range(begin // reader.unit_bytes * reader.unit_bytes, reader.size, step):
            piece = buffer[: min(step, reader.size - offset)]
            try:
                await reader.read(offset, piece)
            except FrazilError as error:
                self.trouble = error
                raise
            yield piece[max(begin - offset, 0) :]


async def fetch(freezer: Freezer, disk: int, files: ColdChunks, chunk: str) -> None:
    """Puts a chunk's bytes back into its file, from where an earlier try got to; the caller finishes.

    Raises: HotTrouble, ColdLost; what Freezer.get raises.
    """
    with hot():
        stored, _ = await files.stored(chunk)
        offset = await files.filled(chunk)
    if offset == stored.record.size:
        return
    with cold():
        async with freezer.get(disk, chunk, checksum=bytes.fromhex(stored.record.checksum), offset=offset) as incoming:
            async for piece in incoming:
                try:
                    with hot():
                        await files.fill(chunk, offset, piece)
                except HotTrouble as error:
                    raise (error.cause if isinstance(error.cause, Damaged) else error) from error
                offset += len(piece)
    if offset != stored.record.size:
        raise ColdLost(f"{offset} bytes came of chunk {chunk}, which has {stored.record.size}")


async def check(freezer: Freezer, disk: int, chunk: str, checksum: bytes) -> None:
    """Reads all of a chunk on the cold disk and compares. Raises: ColdLost; what Freezer.head raises."""
    with cold():
        await freezer.head(disk, chunk, checksum=checksum, check=True)
