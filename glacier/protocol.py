"""How a bus of cold disks is called, whether its freezer is in this process or behind ICE."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from rawx.chunk import Buffer

ChunkIds = list[str]
"""Spelled out here because Freezer has a method named list."""
Resume = Callable[[int], None]
"""Told from which byte on a chunk is wanted, before any of it is."""
WHOLE = (1 << 64) - 1
"""As a count of bytes: up to the chunk's end."""


class DiskState(enum.IntEnum):
    """What the board does with a disk. FAILED: it is off, did not come up too often, and is not tried again unless forced."""

    OFF = 0
    RISING = 1
    ON = 2
    FALLING = 3
    FAILED = 4


@dataclass(frozen=True, slots=True)
class DiskReport:
    """A disk as its freezer sees it.

    bytes_total, bytes_free   as measured at measured_us, the last time it was on; all three 0 when it never was
    since_us                  when it came into this state, microseconds since 1970
    ready_ms                  of a RISING disk: about how long it still takes
    rest_ms                   after a failed start: how long until it may be tried again
    power_cycles, powered_s   how often and how long it was powered, since the freezer knows it
    failed_starts             how often in all it did not come up;  *_errors: counted since the freezer knows it
    last_error, last_error_us   what went wrong on it last, and when: that may be over;  "" and 0 when nothing ever did
    volume                    id of the volume on it, "" while unknown;  problem: what is wrong now, "" when nothing is
    """

    disk: int
    state: DiskState
    bytes_total: int = 0
    bytes_free: int = 0
    measured_us: int = 0
    since_us: int = 0
    ready_ms: int = 0
    rest_ms: int = 0
    power_cycles: int = 0
    powered_s: int = 0
    failed_starts: int = 0
    read_errors: int = 0
    write_errors: int = 0
    checksum_errors: int = 0
    last_error_us: int = 0
    volume: str = ""
    problem: str = ""
    last_error: str = ""

    @property
    def errors(self) -> int:
        """Of all kinds."""
        return self.failed_starts + self.read_errors + self.write_errors + self.checksum_errors


@dataclass(frozen=True, slots=True)
class BusReport:
    """The bus that a connection is for.

    disks                   their numbers, which are unique on the board
    bus_powered_max, board_powered_max   the power budget: disks powered at a time
    spin_up_ms              from power-on to mounted, about;  start_ms_max: then a disk that isn't there has failed
    """

    board: str
    bus: int
    buses: int
    disks: tuple[int, ...]
    bus_powered_max: int
    board_powered_max: int
    spin_up_ms: int
    start_ms_max: int


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """All of a chunk but its bytes. checksum: rawx.chunk.chunk_checksum of units;  record: ChunkRecord as JSON."""

    chunk: str
    size: int
    unit_bytes: int
    checksum: bytes
    record: bytes
    units: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """existed: the same chunk lay there already, nothing was transferred;  checked: it was read back from the disk and compared."""

    existed: bool
    checked: bool
    bytes_free: int


@dataclass(frozen=True, slots=True)
class FsckReport:
    """clean: the file system has no errors (any more);  repaired: it had some;  text: what the checker said."""

    clean: bool
    repaired: bool
    text: str


class Incoming(Protocol):
    """A chunk on its way out of a cold disk: its head, then its bytes in order; each piece is whole units (the last may be short)."""

    head: ChunkHead

    def __aiter__(self) -> AsyncIterator[Buffer]:
        """Verified pieces of at most a mebibyte. Raises: ChunkCorrupt, DiskFailed, PeerUnreachable, DeadlineExceeded."""


class Freezer(Protocol):
    """One bus of a board. One call at a time; decides nothing.

    Every method raises DiskNotFound (no such disk on this bus), PeerUnreachable, DeadlineExceeded, Busy, ShuttingDown; those that need the
    disk powered also DiskAsleep and DiskFailed.
    """

    bus: BusReport

    async def probe(self, disk: int) -> DiskReport:
        """Of a disk in any state, without changing it."""

    async def list(self, disk: int, after: str, limit: int) -> ChunkIds:
        """Ids of the chunks on a powered disk behind `after`, ascending, at most `limit`; fewer: there are no more."""

    async def power_on(self, disk: int, *, force: bool = False) -> DiskReport:
        """Returns when the disk is mounted; at once when it is on already. `force`: also one that failed or rests after a failure.

        Raises: PowerBudgetSpent (switch another off first), DiskFailed.
        """

    async def power_off(self, disk: int) -> DiskReport:
        """Returns when it has no power; at once when it is off already. Raises: Busy while a transfer uses it."""

    async def send(
        self, disk: int, head: ChunkHead, data: AsyncIterable[Buffer], *, check: bool = True, resume: Resume | None = None
    ) -> Sent:
        """Writes a chunk: synced, and with `check` read back from the disk, before this returns. The same chunk twice is no error.

        data: head.size bytes in pieces of any size, or those that lack: with `resume` what came of it before the way to the freezer broke
        is kept while the disk has power, and `resume` is told how much that is.
        Raises: AlreadyExists (another chunk has this id), ChecksumMismatch, VolumeFull, VolumeReadOnly, ChunkCorrupt (read back wrong).
        """

    def get(
        self, disk: int, chunk: str, *, checksum: bytes = b"", offset: int = 0, count: int = WHOLE
    ) -> AbstractAsyncContextManager[Incoming]:
        """A chunk or whole units of it. checksum: which chunk it must be; b"": whatever lies there.

        Leaving the block before the last byte ends an ICE connection: what was asked for is on its way.
        Raises: ChunkNotFound, ChunkCorrupt, RecordCorrupt, InvalidArgument (range).
        """

    async def head(self, disk: int, chunk: str, *, checksum: bytes = b"", check: bool = False) -> ChunkHead:
        """What the chunk says of itself; with `check` all its bytes are read from the disk and compared. Raises: as get."""

    async def delete(self, disk: int, chunks: Sequence[str]) -> ChunkIds:
        """A missing chunk counts as deleted; returns those that could not be."""

    async def link(self, disk: int, source: str, target: str, record: bytes) -> None:
        """A second chunk with the same bytes, not copied, and a record of its own. The same link twice is no error.

        Raises: ChunkNotFound, AlreadyExists, RecordCorrupt.
        """

    async def fsck(self, disk: int, *, repair: bool) -> FsckReport:
        """Checks the file system of a powered disk, which is unmounted meanwhile. Raises: Busy while a transfer uses it."""

    async def clean(self, *, board: bool = False, force: bool = False) -> None:
        """Switches everything off: on this bus, or on the whole board.

        Raises: Busy while a transfer runs there; with `force` the transfer fails instead.
        """
