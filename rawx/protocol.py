"""One way of calling a volume, whether it is in this process or behind HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from rawx.chunk import Buffer, ChunkRecord

ChunkIds = list[str]
"""Spelled out here because Rawx has a method named list."""


class ChunkStat(msgspec.Struct, frozen=True):
    """size: bytes of the file; units: concatenated unit checksums; mtime_us: of the file."""

    record: ChunkRecord
    size: int
    units: bytes
    mtime_us: int


class Examined(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a look at one chunk found.

    problem   "" well; "missing"; "record" (none that can be read); "truncated" (or too long); "corrupt" (bytes or their checksums)
    record    None when it can't be read;  size: bytes of the file;  checksum: chunk_checksum of its unit checksums;  mtime_us: of the file
    cold      the cold disk that has its bytes; its own were not read then, if they aren't here.  "": none
    asleep    they are there only
    """

    chunk: str
    problem: str = ""
    detail: str = ""
    record: ChunkRecord | None = None
    size: int = 0
    checksum: bytes = b""
    mtime_us: int = 0
    cold: str = ""
    asleep: bool = False


ExaminedChunks = list[Examined]


class QuarantinedChunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A damaged chunk that was moved aside. name: its id, a dot, and when; record: None when it can't be read."""

    name: str
    reason: str
    time_us: int
    size: int
    record: ChunkRecord | None = None


QuarantinedChunks = list[QuarantinedChunk]


class ListPage(msgspec.Struct, frozen=True):
    """Chunk ids in ascending order; `truncated` when more follow the last."""

    chunks: list[str]
    truncated: bool


FREE_SHARE_LEAST = 0.05
"""A volume with less is called nearly full."""


class VolumeStat(msgspec.Struct, frozen=True):
    """sick: the reason why the volume must not be used, "" when healthy; retired: it takes no new chunks."""

    volume: str
    bytes_total: int
    bytes_free: int
    inodes_free: int
    sick: str = ""
    read_only: bool = False
    retired: bool = False

    @property
    def trouble(self) -> str:
        """Why people should look at it, "" when they need not."""
        return self.sick or ("read-only" if self.read_only else "nearly full" if self.nearly_full else "")

    @property
    def nearly_full(self) -> bool:
        return self.bytes_free < FREE_SHARE_LEAST * self.bytes_total


class Upload(Protocol):
    """A chunk on its way in. Nothing is visible before `commit` returns."""

    async def write(self, data: Buffer) -> None:
        """Appends. Raises: VolumeSick, VolumeFull, VolumeReadOnly, PeerUnreachable, DeadlineExceeded."""

    async def commit(self, record: ChunkRecord, units: bytes) -> None:
        """Sets record and unit checksums, makes the chunk visible and durable. The size must be record.size.

        Raises: as write; AlreadyExists when the id is taken; ChecksumMismatch when a remote volume received other bytes.
        """

    async def abort(self) -> None:
        """Drops what was written; never raises, may be called at any time, also after a failed commit."""


class Reader(Protocol):
    """An open chunk."""

    size: int
    unit_bytes: int
    units: bytes

    async def read(self, offset: int, into: memoryview) -> None:
        """Fills `into` with verified bytes from `offset`, which is a unit's begin; `into` ends at a unit's end or the chunk's.

        Raises: ChunkCorrupt (a unit's checksum is wrong or the file is short), ChunkCold, VolumeSick, PeerUnreachable, DeadlineExceeded.
        """

    async def aclose(self) -> None: ...


class Rawx(Protocol):
    """One volume. Every method raises VolumeSick, PeerUnreachable or DeadlineExceeded when the volume does not serve, in bounded time."""

    volume_id: str

    async def put(self, chunk: str, data: Buffer, record: ChunkRecord, units: bytes) -> None:
        """A whole chunk at once, for small ones: many that wait share one sync. Durable at return. Raises: as Upload."""

    async def create(self, chunk: str, size_hint: int) -> Upload: ...

    async def get(self, chunk: str, size: int, checksum: bytes) -> bytes:
        """The bytes of a chunk of one unit, verified against `checksum` (chunk_checksum of its one digest), without reading its attributes.

        Raises: ChunkNotFound, ChunkCorrupt, ChunkCold.
        """

    def get_now(self, chunk: str, size: int, checksum: bytes) -> bytes | None:
        """What `get` returns, if it can be had without waiting; None when it can't, and `get` is to be asked. Raises: as get."""

    async def open(self, chunk: str, checksum: bytes) -> Reader:
        """Raises: ChunkNotFound, RecordCorrupt, ChunkCorrupt when the stored unit checksums are not those that `checksum` binds."""

    async def head(self, chunk: str, *, deep: bool) -> ChunkStat:
        """What the chunk says of itself; `deep` also reads all bytes and compares. Raises: ChunkNotFound, RecordCorrupt, ChunkCorrupt."""

    async def update(self, chunk: str, record: ChunkRecord) -> None:
        """Replaces the record if record.seq is higher than the stored one's, else does nothing; durable at return.

        Raises: ChunkNotFound.
        """

    async def copy(self, source: str, target: str, record: ChunkRecord) -> None:
        """A second chunk with the same bytes and another record; shares blocks where the file system can.

        Raises: ChunkNotFound, ChunkCorrupt.
        """

    async def delete(self, chunks: Sequence[str]) -> ChunkIds:
        """Deletes; a missing chunk counts as deleted. Returns those that could not be deleted."""

    async def list(self, after: str, limit: int) -> ListPage: ...

    async def examine(self, chunks: Sequence[str], *, deep: bool) -> ExaminedChunks:
        """A look at each, in order; `deep` also reads all bytes and compares. A damaged chunk is a finding, no error."""

    async def recent(self) -> Sequence[str]:
        """Chunks whose upload ended since the journal was last settled: after a crash, those whose metadata may be missing."""

    async def noted(self) -> ChunkIds:
        """Chunks in any journal, also of other processes that live: their metadata may be on its way, so nobody else may judge them."""

    async def settle(self, chunks: Sequence[str]) -> None:
        """Takes chunks off the journal of recent ones."""

    async def retire(self, retired: bool) -> ChunkIds:
        """Whether it takes no new chunks from now on, by whichever process: it refuses them with VolumeReadOnly. What was begun before may
        come to its end: it is told, as long as its metadata may be on its way."""

    async def quarantine(self, chunk: str, reason: str) -> None:
        """Moves a damaged chunk aside, out of the way of reads and lists, with the reason in an attribute."""

    async def quarantined(self, after: str, limit: int) -> QuarantinedChunks:
        """What was moved aside, by name, behind `after`."""

    async def purge(self, names: Sequence[str]) -> None:
        """Deletes what was moved aside; what is gone already counts as deleted."""

    async def stat(self) -> VolumeStat: ...
