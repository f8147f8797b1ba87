"""A bus of cold disks in memory (protocol: glacier.protocol.Freezer), with its faults to order, that asserts its power budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import trio

from glacier.protocol import WHOLE, BusReport, ChunkHead, ChunkIds, DiskReport, DiskState, FsckReport, Resume, Sent
from node.errors import (
    AlreadyExists,
    ChecksumMismatch,
    ChunkCorrupt,
    ChunkNotFound,
    DiskAsleep,
    DiskFailed,
    DiskNotFound,
    PeerUnreachable,
    PowerBudgetSpent,
    VolumeFull,
)
from rawx.chunk import Buffer, chunk_checksum, unit_digests

PIECE_UNITS = 2


class MemoryFreezer:
    """disks: what lies on each; it outlives the workers that connect. powered: the disk that has power.

    step    awaited before every step of every call, with its name: where tests cancel, fail, or look
    dead    disks that don't come up;  torn: those with a damaged file system;  disk_bytes: of each
    cut     what came of chunks whose way in broke;  taken: bytes that came in all
    bad     (disk, chunk) where a sector is bad: each try to read or write it there ends with DiskFailed
    """

    def __init__(self, disks: Sequence[int] = range(4), *, bus: int = 0, buses: int = 2, disk_bytes: int = 1 << 30) -> None:
        self.bus = BusReport("board", bus, buses, tuple(disks), 1, buses, 0, 1000)
        self.disks: dict[int, dict[str, tuple[ChunkHead, bytes]]] = {disk: {} for disk in disks}
        self.powered: int | None = None
        self.power_ons: Counter[int] = Counter()
        self.dead: set[int] = set()
        self.torn: set[int] = set()
        self.bad: set[tuple[int, str]] = set()
        self.errors: Counter[int] = Counter()
        self.cut: dict[tuple[int, str], bytearray] = {}
        self.taken = 0
        self.disk_bytes = disk_bytes
        self.step: Callable[[str, int], Awaitable[None]] = self._nothing

    def __repr__(self) -> str:
        return f"<MemoryFreezer powered={self.powered} chunks={sum(map(len, self.disks.values()))}>"

    @staticmethod
    async def _nothing(_name: str, _disk: int) -> None:
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def dial(self) -> AsyncIterator[MemoryFreezer]:
        yield self

    def report(self, disk: int) -> DiskReport:
        if disk not in self.disks:
            raise DiskNotFound(f"no disk {disk}")
        used = sum(len(data) for _, data in self.disks[disk].values())
        measured = self.disk_bytes if self.power_ons[disk] else 0
        state = DiskState.ON if disk == self.powered else DiskState.FAILED if disk in self.dead else DiskState.OFF
        errors, last = self.errors[disk], f"disk {disk}: no answer from the disk" if self.errors[disk] else ""
        free = max(measured - used, 0)
        return DiskReport(disk, state, measured, free, power_cycles=self.power_ons[disk], read_errors=errors, last_error=last)

    def _on(self, disk: int) -> dict[str, tuple[ChunkHead, bytes]]:
        if disk not in self.disks:
            raise DiskNotFound(f"no disk {disk}")
        if disk in self.dead:
            raise DiskFailed(f"disk {disk} failed")
        if disk != self.powered:
            raise DiskAsleep(f"disk {disk} has no power")
        return self.disks[disk]

    async def probe(self, disk: int) -> DiskReport:
        await self.step("probe", disk)
        return self.report(disk)

    async def list(self, disk: int, after: str, limit: int) -> ChunkIds:
        await self.step("list", disk)
        return sorted(chunk for chunk in self._on(disk) if chunk > after)[:limit]

    async def power_on(self, disk: int, *, force: bool = False) -> DiskReport:
        await self.step("power_on", disk)
        if disk not in self.disks:
            raise DiskNotFound(f"no disk {disk}")
        if disk in self.dead:
            raise DiskFailed(f"disk {disk} did not come up")
        if self.powered not in (None, disk):
            raise PowerBudgetSpent(f"disk {self.powered} has power")
        if self.powered is None:
            self.powered = disk
            self.power_ons[disk] += 1
        await self.step("powered", disk)
        return self.report(disk)

    async def power_off(self, disk: int) -> DiskReport:
        await self.step("power_off", disk)
        if disk == self.powered:
            self.powered = None
        return self.report(disk)

    async def send(
        self, disk: int, head: ChunkHead, data: AsyncIterable[Buffer], *, check: bool = True, resume: Resume | None = None
    ) -> Sent:
        await self.step("send", disk)
        self._meet_bad_sector(disk, head.chunk)
        there = self._on(disk).get(head.chunk)
        if there is not None:
            if there[0].checksum != head.checksum:
                raise AlreadyExists(f"another chunk {head.chunk}")
            return Sent(existed=True, checked=True, bytes_free=0)
        content = self.cut.pop((disk, head.chunk), bytearray()) if resume is not None else bytearray()
        if resume is not None:
            resume(len(content))
        async for piece in data:
            content += piece
            self.taken += len(piece)
            try:
                await self.step("sending", disk)
            except PeerUnreachable:
                self.cut[disk, head.chunk] = content
                raise
        if len(content) != head.size or unit_digests(content, head.unit_bytes) != head.units or chunk_checksum(head.units) != head.checksum:
            raise ChecksumMismatch("what came is not what was announced")
        if sum(len(data) for _, data in self.disks[disk].values()) + head.size > self.disk_bytes:
            raise VolumeFull(f"disk {disk} is full")
        self._on(disk)[head.chunk] = (head, bytes(content))
        await self.step("sent", disk)
        return Sent(existed=False, checked=check, bytes_free=0)

    @asynccontextmanager
    async def get(self, disk: int, chunk: str, *, checksum: bytes = b"", offset: int = 0, count: int = WHOLE) -> AsyncIterator[_Incoming]:
        await self.step("get", disk)
        incoming = _Incoming(self, disk, *self._find(disk, chunk, checksum), offset=offset)
        async with aclosing(incoming.pieces):
            yield incoming

    def _find(self, disk: int, chunk: str, checksum: bytes) -> tuple[ChunkHead, bytes]:
        found = self._on(disk).get(chunk)
        self._meet_bad_sector(disk, chunk)
        if found is None:
            raise ChunkNotFound(f"disk {disk} has no chunk {chunk}")
        if checksum not in (b"", found[0].checksum):
            raise ChunkCorrupt("another chunk lies there")
        return found

    def _meet_bad_sector(self, disk: int, chunk: str) -> None:
        if (disk, chunk) in self.bad:
            self.errors[disk] += 1
            raise DiskFailed(f"disk {disk}: reading chunk {chunk}: no answer from the disk")

    async def head(self, disk: int, chunk: str, *, checksum: bytes = b"", check: bool = False) -> ChunkHead:
        await self.step("head", disk)
        head, data = self._find(disk, chunk, checksum)
        if check and unit_digests(data, head.unit_bytes) != head.units:
            raise ChunkCorrupt(f"chunk {chunk} is not what it was")
        return head

    async def delete(self, disk: int, chunks: Sequence[str]) -> ChunkIds:
        await self.step("delete", disk)
        for chunk in chunks:
            self._on(disk).pop(chunk, None)
        await self.step("deleted", disk)
        return []

    async def link(self, disk: int, source: str, target: str, record: bytes) -> None:
        raise NotImplementedError

    async def fsck(self, disk: int, *, repair: bool) -> FsckReport:
        await self.step("fsck", disk)
        self._on(disk)
        damaged = disk in self.torn
        if repair:
            self.torn.discard(disk)
        return FsckReport(not damaged or repair, damaged and repair, "Inode 12 has illegal blocks." if damaged else "")

    async def clean(self, *, board: bool = False, force: bool = False) -> None:
        self.powered = None

    def copies(self, chunk: str) -> list[int]:
        """The disks that have it."""
        return [disk for disk, chunks in self.disks.items() if chunk in chunks]


class _Incoming:
    def __init__(self, freezer: MemoryFreezer, disk: int, head: ChunkHead, data: bytes, *, offset: int) -> None:
        self.head = head
        self._offset = offset
        self._freezer, self._disk, self._data = freezer, disk, data
        self.pieces = self._all()

    def __aiter__(self) -> AsyncIterator[Buffer]:
        return self.pieces

    async def _all(self) -> AsyncGenerator[Buffer, None]:
        step = PIECE_UNITS * self.head.unit_bytes
        for at in range(self._offset, len(self._data), step):
            await self._freezer.step("getting", self._disk)
            piece = self._data[at : at + step]
            first = at // self.head.unit_bytes * 8
            if unit_digests(piece, self.head.unit_bytes) != self.head.units[first : first + 8 * -(-len(piece) // self.head.unit_bytes)]:
                raise ChunkCorrupt(f"chunk {self.head.chunk} is not what it was")
            yield piece
