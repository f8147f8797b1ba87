"""The freezer's end of ICE: one listener per bus, some connections on each, one call at a time on each of them."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from glacier import iceanswer, icefield
from glacier.ice import FATAL_BELOW, Code, Kind, Opcode, code_of
from glacier.icefield import NONCE_BYTES
from glacier.icepipe import FRAME_S, Frame, Pipe
from glacier.icerequest import DeleteRequest, DiskRequest, Flag, GetRequest, LinkRequest, ListRequest, SendRequest
from glacier.icesession import Phase, Session
from glacier.protocol import Freezer
from node.auth import NamespaceKey
from node.errors import Busy, DiskNotFound, FrameMalformed, FrazilError, InvalidArgument, PeerUnreachable, ShuttingDown
from node.log import get_logger

CONNECTIONS_MAX = 16
"""Of one bus, of peers that hold the key. It has one worker; the rest is for people who look."""
HANDSHAKES_MAX = 16
"""Peers that have not proved anything yet. One more ends the oldest: whoever fills them all locks out nobody who is quick."""
HANDSHAKE_S = 10.0
KEEPALIVE_S = 60
"""A worker's machine that lost its power is noticed after about three times as long."""
_EXHAUSTED_S = 0.25
_log = get_logger("ice")


@dataclass(slots=True)
class IceServer:
    """What serves one bus. connections: of peers that proved to hold the key."""

    freezer: Freezer
    key: NamespaceKey
    tls: ssl.SSLContext | None = None
    connections: int = 0
    _strangers: dict[trio.CancelScope, None] = field(default_factory=dict)

    async def serve(
        self, listeners: Sequence[trio.SocketListener], drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until `drain` is set: then calls under way are ended with ShuttingDown. Closes the listeners."""
        async with trio.open_nursery() as nursery:
            for listener in listeners:
                nursery.start_soon(self._accept, listener, nursery)
            task_status.started()
            await drain.wait()
            nursery.cancel_scope.cancel()

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        async with listener:
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                        raise
                    await trio.sleep(_EXHAUSTED_S)
                else:
                    _keep_alive(stream)
                    nursery.start_soon(self.converse, stream)

    async def converse(self, stream: trio.abc.Stream) -> None:
        """One connection to its end; closes it. Whatever it brings harms nothing else."""
        if self.tls is not None and isinstance(stream, trio.SocketStream) and stream.socket.family != socket.AF_UNIX:
            stream = trio.SSLStream(stream, self.tls, server_side=True)
        pipe = Pipe(stream, Session(self.key, os.urandom(NONCE_BYTES), freezer=True))
        try:
            await self._converse(pipe)
        except trio.Cancelled:
            with trio.move_on_after(1.0, shield=True):
                await _refuse(pipe, ShuttingDown("the freezer ends"))
            raise
        except PeerUnreachable:
            return
        except FrazilError as error:
            _log.warning("a conversation was ended", extra={"bus": self.freezer.bus.bus, "reason": str(error)})
            await _refuse(pipe, error)
        except Exception as error:  # noqa: BLE001 - the edge: a bug in one conversation must not end the others
            _log.error("%r failed", pipe, exc_info=error)
            await _refuse(pipe, FrazilError("an error of the freezer; its log says which"))
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _converse(self, pipe: Pipe) -> None:
        if not await self._admit(pipe):
            return
        # No await since the proof was verified: as many are counted as are admitted.
        if self.connections >= CONNECTIONS_MAX:
            await _send_error(pipe, Code.TOO_MANY, f"{CONNECTIONS_MAX} connections are open on this bus")
            return
        self.connections += 1
        try:
            await pipe.send(Opcode.PROBE_DISK, Kind.WELCOME, iceanswer.encode_welcome(self.freezer.bus))
            while (frame := await pipe.receive()) is not None:
                await self._answer(pipe, frame)
        finally:
            self.connections -= 1

    async def _admit(self, pipe: Pipe) -> bool:
        """Whether the peer proved in time that it holds the key; False when it left.

        Raises: FrameMalformed when it did not; Busy when others pushed it out.
        """
        if len(self._strangers) >= HANDSHAKES_MAX:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.cancel()
        with trio.move_on_after(HANDSHAKE_S) as scope:
            self._strangers[scope] = None
            try:
                return await self._shake_hands(pipe)
            finally:
                was_pushed_out = self._strangers.pop(scope, scope) is scope
        if was_pushed_out:
            raise Busy(f"{HANDSHAKES_MAX} others began a conversation before this one had proved anything")
        raise FrameMalformed(f"no proof came within {HANDSHAKE_S:g} s")

    async def _shake_hands(self, pipe: Pipe) -> bool:
        if await pipe.receive() is None:
            return False
        await pipe.send_bytes(pipe.session.challenge())
        if await pipe.receive() is None:
            return False
        if pipe.session.bus != self.freezer.bus.bus:
            raise DiskNotFound(f"bus {self.freezer.bus.bus} is served here, not {pipe.session.bus}")
        return True

    async def _answer(self, pipe: Pipe, frame: Frame) -> None:
        """One call. Raises: what ends the conversation."""
        call = _CALLS[frame.opcode]
        try:
            if frame.opcode is Opcode.SEND_DATA:
                reply = await call(self.freezer, pipe, frame.payload)
            else:
                reply = await _undisturbed(pipe, call, self.freezer, frame.payload)
        except FrazilError as error:
            if code_of(error) < FATAL_BELOW or isinstance(error, PeerUnreachable):
                raise
            await _send_error(pipe, code_of(error), str(error))
        else:
            await pipe.send(frame.opcode, Kind.REPLY, reply)


_Call = Callable[[Freezer, Pipe, memoryview], Awaitable[bytes]]


async def _undisturbed(pipe: Pipe, call: _Call, freezer: Freezer, payload: memoryview) -> bytes:
    """Carries out a call during which the worker has nothing to say; when it goes away, so does what it asked for.

    Raises: FrameMalformed when it says something, PeerUnreachable when it ended; what the call raises.
    """
    outcome: list[bytes] = []
    failure: list[FrazilError] = []
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            try:
                early = await pipe.stream.receive_some(1)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                early = b""
            failure.append(
                FrameMalformed("a frame came before the last call was answered") if early else PeerUnreachable("the worker left")
            )
            nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        try:
            outcome.append(await call(freezer, pipe, payload))
        except FrazilError as error:
            failure.append(error)
        nursery.cancel_scope.cancel()
    if failure:
        raise failure[0]
    return outcome[0]


async def _refuse(pipe: Pipe, error: FrazilError) -> None:
    """Says why the connection ends, if the peer still listens."""
    code = code_of(error)
    try:
        await _send_error(pipe, code, str(error))
    except FrazilError:
        return


async def _send_error(pipe: Pipe, code: Code, message: str) -> None:
    if pipe.session.phase is not Phase.OVER and not pipe.sending:
        await pipe.send(Opcode.ERROR, Kind.REPLY, iceanswer.encode_error(code, message))


def _flags(given: Flag, known: Flag) -> Flag:
    if given & ~known:
        raise InvalidArgument(f"flags {given:d} mean nothing here")
    return given


async def _probe(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
    if any(payload[2:4]):
        asked = ListRequest.parse(payload)
        return icefield.encode_ids(await freezer.list(asked.disk, asked.after, asked.limit))
    return iceanswer.encode_report(await freezer.probe(DiskRequest.parse(payload).disk))


async def _power_on(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
    request = DiskRequest.parse(payload)
    force = _flags(request.flags, Flag.FORCE) == Flag.FORCE
    return iceanswer.encode_report(await freezer.power_on(request.disk, force=force))


async def _power_off(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
    request = DiskRequest.parse(payload)
    _flags(request.flags, Flag.NONE)
    return iceanswer.encode_report(await freezer.power_off(request.disk))


async def _send_data(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
    request = SendRequest.parse(payload)
    flags = _flags(request.flags, Flag.CHECK | Flag.RESUME)
    coming = _Coming(pipe, resumes=bool(flags & Flag.RESUME))
    try:
        resume = coming.begin_at if flags & Flag.RESUME else None
        sent = await freezer.send(request.disk, request.head, coming, check=bool(flags & Flag.CHECK), resume=resume)
    except FrazilError:
        await coming.drain()
        raise
    return iceanswer.encode_sent(sent)


class _Coming:
    """The bytes of SEND_DATA: asks for them when the first is wanted, and ends with END. resumes: the worker asked how many are there."""

    def __init__(self, pipe: Pipe, *, resumes: bool) -> None:
        self._pipe = pipe
        self._resumes = resumes
        self._offset = 0
        self._asked = False
        self._total = 0

    def __aiter__(self) -> _Coming:
        return self

    def begin_at(self, offset: int) -> None:
        self._offset = offset

    async def __anext__(self) -> memoryview:
        if not self._asked:
            self._asked = True
            await self._pipe.send(Opcode.SEND_DATA, Kind.GO, iceanswer.encode_total(self._offset) if self._resumes else b"")
        piece = await self._next()
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def _next(self) -> memoryview | None:
        frame = await self._pipe.receive(FRAME_S)
        if frame is None:
            raise PeerUnreachable("the worker left in the middle of a chunk")
        if frame.kind is Kind.DATA:
            self._total += len(frame.payload)
            return frame.payload
        if iceanswer.parse_total(frame.payload) != self._total:
            raise FrameMalformed(f"{self._total} bytes came, the worker says otherwise")
        return None

    async def drain(self) -> None:
        """Takes what still comes of a chunk that failed, so that the answer finds the worker listening."""
        while self._pipe.session.phase is Phase.SENDING:
            await self._next()


async def _get_data(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
    request = GetRequest.parse(payload)
    flags = _flags(request.flags, Flag.CHECK | Flag.HEAD)
    if flags & Flag.HEAD:
        head = await freezer.head(request.disk, request.chunk, checksum=request.checksum, check=bool(flags & Flag.CHECK))
        await pipe.send(Opcode.GET_DATA, Kind.GO, iceanswer.encode_head(head))
        return iceanswer.encode_total(0)
    _flags(flags, Flag.NONE)
    total = 0
    async with freezer.get(request.disk, request.chunk, checksum=request.checksum, offset=request.offset, count=request.count) as incoming:
        await pipe.send(Opcode.GET_DATA, Kind.GO, iceanswer.encode_head(incoming.head))
        async for piece in incoming:
            await pipe.send(Opcode.GET_DATA, Kind.DATA, piece)
            total += len(piece)
    return iceanswer.encode_total(total)


async def _delete(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
    request = DeleteRequest.parse(payload)
    return icefield.encode_ids(await freezer.delete(request.disk, request.chunks))


async def _clean(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
    request = DiskRequest.parse(payload)
    flags = _flags(request.flags, Flag.FORCE | Flag.BOARD)
    await freezer.clean(board=bool(flags & Flag.BOARD), force=bool(flags & Flag.FORCE))
    return b""


async def _fsck(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
    request = DiskRequest.parse(payload)
    repair = _flags(request.flags, Flag.REPAIR) == Flag.REPAIR
    return iceanswer.encode_fsck(await freezer.fsck(request.disk, repair=repair))


async def _link(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
    request = LinkRequest.parse(payload)
    await freezer.link(request.disk, request.source, request.target, request.record)
    return b""


_CALLS: dict[Opcode, _Call] = {
    Opcode.PROBE_DISK: _probe,
    Opcode.DISK_POWER_ON: _power_on,
    Opcode.DISK_POWER_OFF: _power_off,
    Opcode.SEND_DATA: _send_data,
    Opcode.GET_DATA: _get_data,
    Opcode.DEL_DATA: _delete,
    Opcode.SATA_CLEAN: _clean,
    Opcode.FSCK_DISK: _fsck,
    Opcode.LINK_DATA: _link,
}


def _keep_alive(stream: trio.SocketStream) -> None:
    if stream.socket.family != trio.socket.AF_UNIX:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_KEEPALIVE, 1)
        for name in (trio.socket.TCP_KEEPIDLE, trio.socket.TCP_KEEPINTVL):
            stream.setsockopt(trio.socket.IPPROTO_TCP, name, KEEPALIVE_S)
        stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_KEEPCNT, 2)
