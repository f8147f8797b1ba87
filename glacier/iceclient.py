"""The worker's end of ICE: a bus of a freezer elsewhere (protocol: glacier.protocol.Freezer)."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import trio

from glacier import iceanswer
from glacier.ice import DATA_BYTES_MAX, FATAL_BELOW, Kind, Opcode
from glacier.icefield import IDS_MAX, NONCE_BYTES
from glacier.icepipe import Frame, Pipe
from glacier.icerequest import DeleteRequest, DiskRequest, Flag, GetRequest, LinkRequest, ListRequest, SendRequest
from glacier.icesession import Session
from glacier.pace import PacedStream, Rate
from glacier.protocol import WHOLE, BusReport, ChunkHead, ChunkIds, DiskReport, FsckReport, Resume, Sent
from node.auth import NamespaceKey
from node.errors import FrameMalformed, InvalidArgument, PeerUnreachable
from rawx.chunk import Buffer
from store.settings import short_path

CONNECT_S = 10.0
ANSWER_S = 120.0
"""Most answers take a disk's seek; reading back a chunk of a gigabyte from a slow disk takes ten seconds."""
START_MARGIN_S = 30.0
"""On top of the time in which a disk must come up."""
FSCK_S = 6 * 3600.0
"""A check of 8 TB with millions of files."""


@asynccontextmanager
async def dial(
    address: str, *, key: NamespaceKey, bus: int, tls: ssl.SSLContext | None = None, rate: Rate | None = None
) -> AsyncIterator[IceClient]:
    """A bus of the freezer at `address`: HOST:PORT, or unix:PATH. rate: what its bytes are limited by.

    Raises: PeerUnreachable, CallNotAuthenticated (another key), DiskNotFound (no such bus there), Busy.
    """
    try:
        with trio.fail_after(CONNECT_S):
            stream = await _connect(address, tls)
    except (OSError, trio.TooSlowError) as error:
        raise PeerUnreachable(f"the freezer at {address} does not answer: {error or 'it took too long'}") from error
    async with connected(stream if rate is None else PacedStream(stream, rate), key=key, bus=bus) as client:
        yield client


async def _connect(address: str, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    if address.startswith("unix:"):
        with short_path(address.removeprefix("unix:")) as path:
            return await trio.open_unix_socket(path)
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidArgument(f"{address!r} is no HOST:PORT")
    stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
    return trio.SSLStream(stream, tls, server_hostname=host.strip("[]")) if tls is not None else stream


@asynccontextmanager
async def connected(stream: trio.abc.Stream, *, key: NamespaceKey, bus: int) -> AsyncIterator[IceClient]:
    """The same over a stream that is there already; closes it. Raises: as dial."""
    pipe = Pipe(stream, Session(key, os.urandom(NONCE_BYTES), freezer=False))
    try:
        await pipe.send_bytes(pipe.session.hello(bus))
        await _answer(pipe, Kind.CHALLENGE)
        await pipe.send(Opcode.PROBE_DISK, Kind.PROOF)
        welcome = await _answer(pipe, Kind.WELCOME)
        yield IceClient(pipe, iceanswer.parse_welcome(welcome.payload))
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


async def _answer(pipe: Pipe, kind: Kind) -> Frame:
    """The next frame of the handshake, which is of this kind. Raises: what the freezer answered; PeerUnreachable."""
    frame = await pipe.receive(CONNECT_S)
    if frame is None:
        raise PeerUnreachable("the freezer ended the connection")
    if frame.opcode is Opcode.ERROR:
        raise iceanswer.parse_error(frame.payload)[1]
    assert frame.kind is kind, "the session lets nothing else through"
    return frame


class IceClient:
    """One connection to one bus; calls of several tasks go one after the other. A call that was cancelled or broken ends the connection."""

    def __init__(self, pipe: Pipe, bus: BusReport) -> None:
        self.bus = bus
        self._pipe = pipe
        self._lock = trio.Lock()
        self._broken = False
        self._resumes = True

    def __repr__(self) -> str:
        return f"<IceClient {self.bus.board} bus={self.bus.bus} {self._pipe.session!r}{' broken' if self._broken else ''}>"

    @property
    def broken(self) -> bool:
        """Whether no further call can be made: dial again."""
        return self._broken

    async def probe(self, disk: int) -> DiskReport:
        return iceanswer.parse_report(await self._call(Opcode.PROBE_DISK, DiskRequest(disk).encode()))

    async def list(self, disk: int, after: str, limit: int) -> ChunkIds:
        found: ChunkIds = []
        while len(found) < limit:
            wanted = min(limit - len(found), IDS_MAX)
            request = ListRequest(disk, wanted, found[-1] if found else after)
            page = iceanswer.parse_ids(await self._call(Opcode.PROBE_DISK, request.encode()))
            found += page
            if len(page) < wanted:
                break
        return found

    async def power_on(self, disk: int, *, force: bool = False) -> DiskReport:
        request = DiskRequest(disk, Flag.FORCE if force else Flag.NONE)
        wait_s = self.bus.start_ms_max / 1000 + START_MARGIN_S
        return iceanswer.parse_report(await self._call(Opcode.DISK_POWER_ON, request.encode(), wait_s))

    async def power_off(self, disk: int) -> DiskReport:
        return iceanswer.parse_report(await self._call(Opcode.DISK_POWER_OFF, DiskRequest(disk).encode()))

    async def send(
        self, disk: int, head: ChunkHead, data: AsyncIterable[Buffer], *, check: bool = True, resume: Resume | None = None
    ) -> Sent:
        if resume is None or not self._resumes:
            return await self._send(disk, head, data, check, None)
        begun = False

        def begin_at(offset: int) -> None:
            nonlocal begun
            begun = True
            resume(offset)

        try:
            return await self._send(disk, head, data, check, begin_at)
        except InvalidArgument:
            if begun:
                raise
        sent = await self._send(disk, head, data, check, None)  # an older freezer knows no such flag
        self._resumes = False
        return sent

    async def _send(self, disk: int, head: ChunkHead, data: AsyncIterable[Buffer], check: bool, resume: Resume | None) -> Sent:
        flags = (Flag.CHECK if check else Flag.NONE) | (Flag.RESUME if resume is not None else Flag.NONE)
        request = SendRequest(disk, flags, head)
        async with self._calling(Opcode.SEND_DATA, request.encode()):
            frame = await self._frame(ANSWER_S)
            if frame.kind is Kind.GO:
                if resume is not None:
                    resume(_begin(frame, head))
                total = await self._send_all(data)
                await self._pipe.send(Opcode.SEND_DATA, Kind.END, iceanswer.encode_total(total))
                frame = await self._frame(ANSWER_S)
            return iceanswer.parse_sent(_reply(frame))

    async def _send_all(self, data: AsyncIterable[Buffer]) -> int:
        total = 0
        async for piece in data:
            view = memoryview(piece)
            for at in range(0, len(view), DATA_BYTES_MAX):
                part = view[at : at + DATA_BYTES_MAX]
                await self._pipe.send(Opcode.SEND_DATA, Kind.DATA, part)
                total += len(part)
        return total

    @asynccontextmanager
    async def get(self, disk: int, chunk: str, *, checksum: bytes = b"", offset: int = 0, count: int = WHOLE) -> AsyncIterator[IceIncoming]:
        request = GetRequest(disk, Flag.NONE, chunk, checksum, offset, count)
        async with self._calling(Opcode.GET_DATA, request.encode()):
            head = iceanswer.parse_head(_go(await self._frame(ANSWER_S)))
            incoming = IceIncoming(head, self._frame)
            yield incoming
            if not incoming.over:
                self._broken = True

    async def head(self, disk: int, chunk: str, *, checksum: bytes = b"", check: bool = False) -> ChunkHead:
        flags = Flag.HEAD | (Flag.CHECK if check else Flag.NONE)
        request = GetRequest(disk, flags, chunk, checksum, 0, WHOLE)
        async with self._calling(Opcode.GET_DATA, request.encode()):
            head = iceanswer.parse_head(_go(await self._frame(ANSWER_S)))
            iceanswer.parse_total(_reply(await self._frame(ANSWER_S)))
            return head

    async def delete(self, disk: int, chunks: Sequence[str]) -> ChunkIds:
        failed: ChunkIds = []
        for at in range(0, len(chunks), IDS_MAX):
            request = DeleteRequest(disk, tuple(chunks[at : at + IDS_MAX]))
            failed += iceanswer.parse_ids(await self._call(Opcode.DEL_DATA, request.encode()))
        return failed

    async def link(self, disk: int, source: str, target: str, record: bytes) -> None:
        await self._call(Opcode.LINK_DATA, LinkRequest(disk, source, target, record).encode())

    async def fsck(self, disk: int, *, repair: bool) -> FsckReport:
        request = DiskRequest(disk, Flag.REPAIR if repair else Flag.NONE)
        return iceanswer.parse_fsck(await self._call(Opcode.FSCK_DISK, request.encode(), FSCK_S))

    async def clean(self, *, board: bool = False, force: bool = False) -> None:
        flags = (Flag.BOARD if board else Flag.NONE) | (Flag.FORCE if force else Flag.NONE)
        await self._call(Opcode.SATA_CLEAN, DiskRequest(0, flags).encode())

    async def _call(self, opcode: Opcode, payload: bytes, wait_s: float = ANSWER_S) -> memoryview:
        async with self._calling(opcode, payload):
            return _reply(await self._frame(wait_s))

    @asynccontextmanager
    async def _calling(self, opcode: Opcode, payload: bytes) -> AsyncIterator[None]:
        """One call: its request is sent; whatever ends it before its reply ends the connection."""
        async with self._lock:
            if self._broken:
                raise PeerUnreachable("an earlier call on this connection was broken off")
            answered = False
            try:
                await self._pipe.send_bytes(self._pipe.session.request(opcode, payload))
                yield
                answered = True
            finally:
                # Errors that the freezer answered leave the session idle, as replies do.
                if not answered and not self._pipe.session.idle:
                    self._broken = True

    async def _frame(self, wait_s: float) -> Frame:
        frame = await self._pipe.receive(wait_s)
        if frame is None:
            raise PeerUnreachable("the freezer ended the connection")
        if frame.opcode is Opcode.ERROR:
            code, error = iceanswer.parse_error(frame.payload)
            self._broken = self._broken or code < FATAL_BELOW
            raise error
        return frame


class IceIncoming:
    """A chunk that comes (protocol: glacier.protocol.Incoming)."""

    def __init__(self, head: ChunkHead, frame: Callable[[float], Awaitable[Frame]]) -> None:
        self.head = head
        self.over = False
        self._frame = frame
        self._total = 0

    def __repr__(self) -> str:
        return f"<IceIncoming {self.head.chunk} {self._total} bytes{', over' if self.over else ''}>"

    def __aiter__(self) -> IceIncoming:
        return self

    async def __anext__(self) -> Buffer:
        if self.over:
            raise StopAsyncIteration
        frame = await self._frame(ANSWER_S)
        if frame.kind is Kind.DATA:
            self._total += len(frame.payload)
            return frame.payload
        said = iceanswer.parse_total(_reply(frame))
        self.over = True
        if said != self._total:
            raise FrameMalformed(f"{self._total} bytes came, the freezer says {said}")
        raise StopAsyncIteration


def _begin(frame: Frame, head: ChunkHead) -> int:
    """From which byte on the freezer wants the chunk. Raises: FrameMalformed."""
    offset = iceanswer.parse_total(frame.payload)
    if offset > head.size:
        raise FrameMalformed(f"the freezer has {offset} bytes of a chunk of {head.size}")
    return offset


def _go(frame: Frame) -> memoryview:
    if frame.kind is not Kind.GO:
        raise FrameMalformed(f"{frame!r} came, GO was to come")
    return frame.payload


def _reply(frame: Frame) -> memoryview:
    if frame.kind is not Kind.REPLY:
        raise FrameMalformed(f"{frame!r} came, REPLY was to come")
    return frame.payload
