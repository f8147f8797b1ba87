"""A board that exists in memory only, in the time of the event loop: with trio's autojump clock an hour of spinning disks takes no time.

What it holds survives its freezer, as disks do: hand the same board to the next one. It asserts what real hardware would break of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from glacier.board import Faults, Usage
from glacier.power import Layout, Meter
from glacier.protocol import ChunkHead, ChunkIds, FsckReport
from node.errors import AlreadyExists, ChunkCorrupt, ChunkNotFound, DiskFailed, InvalidArgument, VolumeForeign, VolumeFull, VolumeSick
from rawx.attributes import check_units
from rawx.chunk import UNIT_DIGEST_BYTES, Buffer, ChunkRecord, chunk_checksum, unit_digest
from rawx.reader import check_range

SPIN_UP_S = 15.0
MOUNT_S = 0.5
BYTES_PER_S = 100e6
"""A disk of the board's: shingled, so seldom faster."""
BYTES_TOTAL = 8 * 10**12


@dataclass(slots=True)
class SimulatedChunk:
    head: ChunkHead
    data: bytearray


@dataclass(slots=True)
class SimulatedDisk:
    """dead: does not answer when it has power;  stuck: its switch does not open any more;  dirty: the file system has errors."""

    bytes_total: int = BYTES_TOTAL
    chunks: dict[str, SimulatedChunk] = field(default_factory=dict)
    quarantine: dict[str, SimulatedChunk] = field(default_factory=dict)
    dead: bool = False
    stuck: bool = False
    dirty: bool = False
    powered: bool = False
    answers: bool = False
    mounted: bool = False
    cut_while_mounted: int = 0

    @property
    def bytes_free(self) -> int:
        return self.bytes_total - sum(len(chunk.data) for chunk in self.chunks.values())


class SimulatedBoard:
    """A board (protocol: glacier.board.Board)."""

    def __init__(self, layout: Layout, *, spin_up_s: float = SPIN_UP_S, bytes_per_s: float = BYTES_PER_S) -> None:
        self.layout = layout
        self.meter = Meter(layout)
        self.disks = {number: SimulatedDisk() for number in layout.disks}
        self._spin_up_s = spin_up_s
        self._bytes_per_s = bytes_per_s

    def __repr__(self) -> str:
        return f"<SimulatedBoard {self.meter!r}>"

    async def power_up(self, disk: int) -> None:
        state = self.disks[disk]
        assert not state.powered, f"disk {disk} has power already"
        self.meter.on(disk, _now_us())
        state.powered = True
        if state.dead:
            await trio.sleep_forever()
        await trio.sleep(self._spin_up_s)
        state.answers = True

    async def mount(self, disk: int, volume: str) -> SimulatedShelf:
        state = self.disks[disk]
        assert state.answers, f"disk {disk} does not answer"
        assert not state.mounted, f"disk {disk} is mounted already"
        await trio.sleep(MOUNT_S)
        shelf = SimulatedShelf(disk, state, self._bytes_per_s)
        if volume not in ("", shelf.volume):
            raise VolumeForeign(f"volume {shelf.volume} is on disk {disk}, not {volume}")
        state.mounted = True
        return shelf

    async def unmount(self, disk: int) -> None:
        state = self.disks[disk]
        if state.mounted:
            await trio.sleep(MOUNT_S)
            state.mounted = False

    async def fsck(self, disk: int, *, repair: bool) -> FsckReport:
        state = self.disks[disk]
        assert state.answers, f"disk {disk} does not answer"
        assert not state.mounted, f"disk {disk} is mounted"
        dirty, state.dirty = state.dirty, state.dirty and not repair
        return FsckReport(clean=not state.dirty, repaired=dirty and repair, text="simulated")

    async def power_down(self, disk: int) -> None:
        state = self.disks[disk]
        await trio.lowlevel.checkpoint()
        if not state.powered:
            return
        if state.stuck:
            raise DiskFailed(f"the switch of disk {disk} does not open")
        self._cut(disk)

    async def clean(self) -> None:
        failure: DiskFailed | None = None
        for disk, state in self.disks.items():
            state.mounted = False
            try:
                await self.power_down(disk)
            except DiskFailed as error:
                failure = error
        if failure is not None:
            raise failure

    def _cut(self, disk: int) -> None:
        state = self.disks[disk]
        state.cut_while_mounted += state.mounted
        state.powered = state.answers = state.mounted = False
        self.meter.off(disk, _now_us())


def _now_us() -> int:
    return round(trio.current_time() * 1e6)


class SimulatedShelf:
    """A mounted disk in memory (protocol: glacier.board.Shelf). Moving bytes takes its time."""

    def __init__(self, disk: int, state: SimulatedDisk, bytes_per_s: float) -> None:
        self.volume = f"{disk:016x}"
        self.state = state
        self._bytes_per_s = bytes_per_s
        self._checksum_errors = 0

    def __repr__(self) -> str:
        return f"<SimulatedShelf {self.volume} chunks={len(self.state.chunks)}>"

    def faults(self) -> Faults:
        return Faults(checksum=self._checksum_errors)

    async def move(self, count: int) -> None:
        """The time that so many bytes take. Raises: VolumeSick when the disk has lost its power."""
        await trio.sleep(count / self._bytes_per_s)
        if not self.state.mounted:
            raise VolumeSick("the disk is gone")

    async def usage(self) -> Usage:
        await trio.lowlevel.checkpoint()
        return Usage(self.state.bytes_total, self.state.bytes_free)

    async def create(self, head: ChunkHead) -> SimulatedUpload:
        await trio.lowlevel.checkpoint()
        return SimulatedUpload(self, head)

    async def open(self, chunk: str, checksum: bytes, *, from_disk: bool) -> tuple[ChunkHead, SimulatedReader]:
        await self.move(0)
        found = self._find(chunk)
        if checksum not in (b"", found.head.checksum):
            raise self.corrupt(f"chunk {chunk}: its unit checksums are not those that belong to it")
        if len(found.data) != found.head.size:
            raise self.corrupt(f"chunk {chunk} has {len(found.data)} bytes; its record says {found.head.size}")
        return found.head, SimulatedReader(self, found)

    async def delete(self, chunks: Sequence[str]) -> ChunkIds:
        await self.move(0)
        for chunk in chunks:
            self.state.chunks.pop(chunk, None)
        return []

    async def put_aside(self, chunk: str, reason: str) -> None:
        await self.move(0)
        self._find(chunk)
        self.state.quarantine[chunk] = self.state.chunks.pop(chunk)

    async def list(self, after: str, limit: int) -> ChunkIds:
        await self.move(0)
        return sorted(chunk for chunk in self.state.chunks if chunk > after)[:limit]

    async def link(self, source: str, target: str, record: ChunkRecord) -> None:
        await self.move(0)
        found = self._find(source)
        check_units(record, found.head.size, found.head.units)
        head = ChunkHead(target, found.head.size, found.head.unit_bytes, found.head.checksum, record.encode(), found.head.units)
        there = self.state.chunks.get(target)
        if there is not None and (there.data is not found.data or there.head != head):
            raise AlreadyExists(f"there is another chunk {target}")
        self.state.chunks[target] = SimulatedChunk(head, found.data)

    async def close(self) -> None:
        await trio.lowlevel.checkpoint()

    def _find(self, chunk: str) -> SimulatedChunk:
        if chunk not in self.state.chunks:
            raise ChunkNotFound(f"there is no chunk {chunk}")
        return self.state.chunks[chunk]

    def corrupt(self, message: str) -> ChunkCorrupt:
        self._checksum_errors += 1
        return ChunkCorrupt(message)


class SimulatedUpload:
    def __init__(self, shelf: SimulatedShelf, head: ChunkHead) -> None:
        self._shelf = shelf
        self._head = head
        self._data = bytearray()

    async def write(self, data: Buffer) -> None:
        await self._shelf.move(len(data))
        if self._shelf.state.bytes_free < len(self._data) + len(data):
            raise VolumeFull("the disk is full")
        self._data += data

    async def commit(self, record: ChunkRecord, units: bytes) -> None:
        await self._shelf.move(0)
        if record.size != len(self._data):
            raise InvalidArgument(f"the record says {record.size} bytes, {len(self._data)} were written")
        chunks = self._shelf.state.chunks
        if self._head.chunk in chunks:
            raise AlreadyExists(f"chunk {self._head.chunk} is there")
        chunks[self._head.chunk] = SimulatedChunk(self._head, self._data)

    async def abort(self) -> None:
        await trio.lowlevel.checkpoint()


class SimulatedReader:
    def __init__(self, shelf: SimulatedShelf, chunk: SimulatedChunk) -> None:
        self._shelf = shelf
        self._chunk = chunk
        self.size = chunk.head.size
        self.unit_bytes = chunk.head.unit_bytes
        self.units = chunk.head.units

    async def read(self, offset: int, into: memoryview) -> None:
        check_range(self, offset, len(into))
        await self._shelf.move(len(into))
        into[:] = self._chunk.data[offset : offset + len(into)]
        for at in range(0, len(into), self.unit_bytes):
            number = (offset + at) // self.unit_bytes * UNIT_DIGEST_BYTES
            if unit_digest(into[at : at + self.unit_bytes]) != self.units[number : number + UNIT_DIGEST_BYTES]:
                raise self._shelf.corrupt(f"chunk {self._chunk.head.chunk}: wrong checksum of the unit at {offset + at}")

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def checksum_of(data: Buffer, unit_bytes: int) -> tuple[bytes, bytes]:
    """Unit checksums and checksum of a chunk."""
    view = memoryview(data)
    units = b"".join(unit_digest(view[at : at + unit_bytes]) for at in range(0, len(view), unit_bytes))
    return units, chunk_checksum(units)
