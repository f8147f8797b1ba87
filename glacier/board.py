"""A board of disks, as its freezer drives it: power, mounting, checking. What is on a mounted disk is a shelf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from glacier.power import Layout, Meter
from glacier.protocol import ChunkHead, ChunkIds, FsckReport
from rawx.chunk import ChunkRecord
from rawx.protocol import Reader, Upload


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of a mounted disk, in all and free."""

    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Faults:
    """Errors that a shelf met since it was mounted. sick: why it serves no more, "" while it does."""

    read: int = 0
    write: int = 0
    checksum: int = 0
    sick: str = ""


class Shelf(Protocol):
    """A mounted disk. Its errors are those of rawx.protocol.Rawx; VolumeSick means that the disk is of no use any more."""

    volume: str

    def faults(self) -> Faults: ...

    async def usage(self) -> Usage: ...

    async def create(self, head: ChunkHead) -> Upload:
        """Its record must be that of `head`."""

    async def open(self, chunk: str, checksum: bytes, *, from_disk: bool) -> tuple[ChunkHead, Reader]:
        """checksum b"": whichever is there. from_disk: forget what memory holds of it.

        Raises: ChunkNotFound, ChunkCorrupt, RecordCorrupt.
        """

    async def delete(self, chunks: Sequence[str]) -> ChunkIds: ...

    async def put_aside(self, chunk: str, reason: str) -> None:
        """A damaged chunk, to quarantine."""

    async def list(self, after: str, limit: int) -> ChunkIds: ...

    async def link(self, source: str, target: str, record: ChunkRecord) -> None:
        """Raises: ChunkNotFound, AlreadyExists, RecordCorrupt."""

    async def close(self) -> None:
        """Nothing of it is open any more; never raises."""


class Board(Protocol):
    """The hardware. One call per disk at a time; the caller keeps the budget and asks for nothing twice.

    Every method may raise DiskFailed and OSError. The meter is told right before a disk gets power and right after it has none.
    """

    layout: Layout
    meter: Meter

    async def power_up(self, disk: int) -> None:
        """Switches power on and returns when the disk answers. May take for ever: the caller bounds it, then calls `power_down`."""

    async def mount(self, disk: int, volume: str) -> Shelf:
        """Of a disk that answers; one that could not be unmounted may be mounted still.

        volume: id of the one that must be on it; "": never seen, so an empty disk becomes one. Raises: VolumeForeign, VolumeNotFound.
        """

    async def unmount(self, disk: int) -> None:
        """Writes out and unmounts; its shelf is closed. Nothing when it is not mounted. Raises: Busy when others use it."""

    async def fsck(self, disk: int, *, repair: bool) -> FsckReport:
        """Of a disk that answers and is not mounted."""

    async def power_down(self, disk: int) -> None:
        """Takes the power away, and returns when it is. Nothing when there is none. The disk is not mounted."""

    async def clean(self) -> None:
        """Whatever an earlier process left: all unmounted, all without power. One that fails keeps none of the others from it."""
