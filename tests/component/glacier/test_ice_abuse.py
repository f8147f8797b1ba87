"""A freezer under attack: whatever comes, it answers or closes, gives no memory away and never powers more than its budget."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from glacier import iceanswer
from glacier.ice import HEADER_BYTES, Code, Header, Kind, Opcode
from glacier.iceclient import connected
from glacier.icepipe import FRAME_S, Pipe
from glacier.icerequest import DiskRequest, Flag, GetRequest, SendRequest
from glacier.iceserver import CONNECTIONS_MAX, HANDSHAKE_S, HANDSHAKES_MAX, IceServer
from glacier.icesession import Session
from glacier.protocol import WHOLE, DiskState
from glacier.simulated import SimulatedBoard
from node.auth import NamespaceKey
from node.errors import Busy, CallNotAuthenticated, DiskNotFound, PeerUnreachable
from tests.conftest import SCALE
from tests.support.cold import KEY, LAYOUT, freezer_of, head_of

CHUNK = "a" * 32
MEMORY_MAX = 8 << 20
STEP = 1 if SCALE > 1 else 7
"""Cuts behind every seventh byte meet every field of a header; a longer run cuts behind each."""
PROBE = DiskRequest(0).encode()


class Attacked:
    """A freezer's first bus, and ways to its wire."""

    def __init__(self, board: SimulatedBoard, server: IceServer, nursery: trio.Nursery) -> None:
        self.board = board
        self.server = server
        self.nursery = nursery

    def wire(self) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        self.nursery.start_soon(self.server.converse, theirs)
        return ours

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Pipe]:
        """A conversation whose handshake is over; its holder breaks the rules."""
        async with connected(self.wire(), key=KEY, bus=0) as client:
            yield client._pipe

    async def check(self) -> None:
        """It serves on, and its board is in order."""
        async with connected(self.wire(), key=KEY, bus=0) as client:
            assert (await client.probe(0)).disk == 0
        assert max(self.board.meter.together_max.values(), default=0) <= 1
        assert self.board.meter.board_max <= 2


@asynccontextmanager
async def attacked() -> AsyncIterator[Attacked]:
    board = SimulatedBoard(LAYOUT)
    freezer = freezer_of(board)
    await freezer.begin()
    async with trio.open_nursery() as nursery:
        target = Attacked(board, IceServer(freezer.bus(0), KEY), nursery)
        yield target
        await target.check()
        nursery.cancel_scope.cancel()


async def last_word(pipe: Pipe) -> int | None:
    """The code with which the freezer ends the connection; None when it just ends. AssertionError when it doesn't end."""
    code = None
    with trio.fail_after(2 * FRAME_S):
        while (frame := await pipe.receive()) is not None:
            assert code is None, f"{frame!r} came behind an error"
            if frame.opcode is Opcode.ERROR:
                code = iceanswer.parse_error(frame.payload)[0]
    return code


def sealed(session: Session, opcode: Opcode, kind: Kind, payload: bytes, *, call: int = 0) -> bytes:
    """A frame with a good tag that no session would let its own side send."""
    header = Header(opcode, kind, call or session.call + 1, len(payload), zlib.crc32(payload)).encode()
    tag = session._tag(session._send_key, session._sent, header, payload)
    session._sent += 1
    return header + payload + tag


BROKEN: dict[str, Callable[[Session], bytes]] = {
    "no opcode": lambda session: _spoilt(session, 4, b"\x0a"),
    "no kind": lambda session: _spoilt(session, 5, b"\x63"),
    "length 2^32-1": lambda session: _spoilt(session, 12, b"\xff\xff\xff\xff"),
    "length above the limit": lambda session: _spoilt(session, 12, struct.pack("<I", 65_537)),
    "another version": lambda session: _spoilt(session, 3, b"\x02"),
    "a bad header checksum": lambda session: _flipped(sealed(session, Opcode.PROBE_DISK, Kind.REQUEST, PROBE), 8 * 20),
    "a bad payload checksum": lambda session: _flipped(sealed(session, Opcode.PROBE_DISK, Kind.REQUEST, PROBE), 8 * HEADER_BYTES),
    "a bad tag": lambda session: _flipped(sealed(session, Opcode.PROBE_DISK, Kind.REQUEST, PROBE), 8 * (HEADER_BYTES + len(PROBE))),
    "an empty payload": lambda session: sealed(session, Opcode.DISK_POWER_ON, Kind.REQUEST, b""),
    "a payload too long": lambda session: sealed(session, Opcode.DISK_POWER_ON, Kind.REQUEST, PROBE + b"\0"),
    "ERROR as a request": lambda session: sealed(session, Opcode.ERROR, Kind.REQUEST, PROBE),
    "DATA before a request": lambda session: sealed(session, Opcode.SEND_DATA, Kind.DATA, b"x"),
    "END before a request": lambda session: sealed(session, Opcode.SEND_DATA, Kind.END, bytes(8)),
    "a reply": lambda session: sealed(session, Opcode.PROBE_DISK, Kind.REPLY, b""),
    "the freezer's GO": lambda session: sealed(session, Opcode.SEND_DATA, Kind.GO, b""),
    "another handshake": lambda session: sealed(session, Opcode.PROBE_DISK, Kind.HELLO, bytes(34)),
    "a call number again": lambda session: sealed(session, Opcode.PROBE_DISK, Kind.REQUEST, PROBE, call=7),
    "nonsense": lambda session: random.Random(1).randbytes(200),
    "HTTP": lambda session: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
}


def _spoilt(session: Session, at: int, value: bytes) -> bytes:
    frame = sealed(session, Opcode.PROBE_DISK, Kind.REQUEST, PROBE)
    start = frame[:at] + value + frame[at + len(value) : HEADER_BYTES - 4]
    return start + struct.pack("<I", zlib.crc32(start)) + frame[HEADER_BYTES:]


def _flipped(frame: bytes, bit: int) -> bytes:
    changed = bytearray(frame)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", BROKEN)
async def test_a_frame_that_breaks_the_rules_is_answered_with_an_error_and_ends_the_connection(
    name: str, autojump_clock: MockClock
) -> None:
    async with attacked() as target, target.worker() as pipe:
        await pipe.stream.send_all(BROKEN[name](pipe.session))
        expected = {"another version": Code.VERSION_UNKNOWN, "a bad tag": Code.NOT_AUTHENTICATED}.get(name, Code.MALFORMED)
        pipe.session.expect = lambda header: None  # type: ignore[method-assign]  # the answer is to no call of ours
        assert await last_word(pipe) == expected


async def test_two_commands_in_flight_are_one_too_many(autojump_clock: MockClock) -> None:
    async with attacked() as target, target.worker() as pipe:
        session = pipe.session
        await pipe.stream.send_all(session.request(Opcode.DISK_POWER_ON, DiskRequest(0).encode()))
        await trio.sleep(1)
        await pipe.stream.send_all(sealed(session, Opcode.DISK_POWER_ON, Kind.REQUEST, DiskRequest(1).encode()))
        assert await last_word(pipe) == Code.MALFORMED
        await trio.sleep(60)
        assert target.board.meter.powered == {0}  # power that is being switched is switched to the end


async def test_a_replayed_request_powers_nothing(autojump_clock: MockClock) -> None:
    async with attacked() as target, target.worker() as pipe:
        session = pipe.session
        request = session.request(Opcode.DISK_POWER_OFF, DiskRequest(0).encode())
        await pipe.stream.send_all(request)
        assert (await pipe.receive()) is not None
        await pipe.stream.send_all(request)
        assert await last_word(pipe) == Code.MALFORMED
        async with target.worker() as other:
            await other.stream.send_all(request)
            assert await last_word(other) in (Code.MALFORMED, Code.NOT_AUTHENTICATED)


async def test_no_third_disk_gets_power_whoever_asks(autojump_clock: MockClock) -> None:
    async with attacked() as target:

        async def ask(disk: int) -> None:
            async with connected(target.wire(), key=KEY, bus=0) as client:
                for _ in range(3):
                    try:
                        await client.power_on(disk)
                        await client.power_off(disk)
                    except Exception as error:
                        assert type(error).__name__ == "PowerBudgetSpent"

        async with trio.open_nursery() as nursery:
            for disk in LAYOUT.buses[0]:
                nursery.start_soon(ask, disk)
        assert target.board.meter.together_max == {0: 1}


async def test_commands_for_another_bus_are_refused(autojump_clock: MockClock) -> None:
    async with attacked() as target:
        async with connected(target.wire(), key=KEY, bus=0) as client:
            for call in (client.power_on(4), client.power_off(4), client.head(4, CHUNK), client.fsck(4, repair=True)):
                with pytest.raises(DiskNotFound):
                    await call
            assert (await client.probe(0)).state is DiskState.OFF
        with pytest.raises(DiskNotFound, match="bus 0 is served here, not 1"):
            async with connected(target.wire(), key=KEY, bus=1):
                pass
        assert target.board.meter.cycles == {}


async def test_another_namespace_s_key_opens_nothing(autojump_clock: MockClock) -> None:
    async with attacked() as target:
        with pytest.raises(CallNotAuthenticated):
            async with connected(target.wire(), key=NamespaceKey(b"other key" * 4), bus=0):
                pass


async def test_silence_before_the_proof_is_bounded(autojump_clock: MockClock) -> None:
    async with attacked() as target:
        stream = target.wire()
        with trio.fail_after(HANDSHAKE_S + 1):
            while await stream.receive_some():
                pass
        assert target.server.connections == 0


async def test_a_frame_that_trickles_is_cut_off(autojump_clock: MockClock) -> None:
    async with attacked() as target, target.worker() as pipe:
        frame = pipe.session.request(Opcode.PROBE_DISK, PROBE)

        async def trickle() -> None:
            for at in range(len(frame)):
                with suppress(trio.BrokenResourceError):
                    await pipe.stream.send_all(frame[at : at + 1])
                await trio.sleep(FRAME_S / 10)

        pipe.session.expect = lambda header: None  # type: ignore[method-assign]  # the answer is to no call of ours
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            assert await last_word(pipe) == Code.TOO_SLOW
            nursery.cancel_scope.cancel()


async def test_connections_are_bounded_and_their_ends_make_room(autojump_clock: MockClock) -> None:
    async with attacked() as target:
        async with AsyncExitStack() as stack:
            for _ in range(CONNECTIONS_MAX):
                await stack.enter_async_context(connected(target.wire(), key=KEY, bus=0))
            with pytest.raises(Busy, match="16 connections"):
                async with connected(target.wire(), key=KEY, bus=0):
                    pass
        await trio.testing.wait_all_tasks_blocked()
        async with connected(target.wire(), key=KEY, bus=0) as client:
            assert (await client.probe(0)).disk == 0


async def test_strangers_who_hold_on_keep_nobody_with_the_key_out(autojump_clock: MockClock) -> None:
    async with attacked() as target:
        streams = [target.wire() for _ in range(5 * HANDSHAKES_MAX)]
        await trio.testing.wait_all_tasks_blocked()
        assert len(target.server._strangers) <= HANDSHAKES_MAX
        with trio.fail_after(1.0):
            async with connected(target.wire(), key=KEY, bus=0) as client:
                more = [target.wire() for _ in range(2 * HANDSHAKES_MAX)]
                await trio.testing.wait_all_tasks_blocked()
                assert (await client.probe(0)).disk == 0
        assert (target.server.connections, len(target.server._strangers)) == (0, HANDSHAKES_MAX)
        await trio.sleep(HANDSHAKE_S + 1)
        assert not target.server._strangers
        for stream in [*streams, *more]:
            await stream.aclose()


async def test_no_announced_length_makes_room_before_bytes_come(autojump_clock: MockClock) -> None:
    async with attacked() as target:
        tracemalloc.start()
        try:
            for length in (65_537, 1 << 20, (1 << 32) - 1):
                for kind in (Kind.HELLO, Kind.REQUEST, Kind.DATA):
                    stream = target.wire()
                    await stream.send_all(Header(Opcode.SEND_DATA, kind, 0, length, 0).encode())
                    with trio.fail_after(2 * FRAME_S):
                        while await stream.receive_some():
                            pass
            assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
        finally:
            tracemalloc.stop()


async def test_a_disconnect_at_any_byte_leaves_the_freezer_well(autojump_clock: MockClock) -> None:
    """A whole conversation (power, send, get) cut off behind each of its bytes, or a sample of them."""
    data = b"ice" * 5000
    head = head_of(CHUNK, data)
    whole = 0
    cuts: list[int] = [1 << 30]
    async with attacked() as target:
        while cuts:
            cut = cuts.pop()
            stream = CutOff(target.wire(), cut)
            try:
                async with connected(stream, key=KEY, bus=0) as client:
                    await client.power_on(0)
                    await client.send(0, head, Pieces(data, 4000))
                    async with client.get(0, CHUNK) as incoming:
                        assert b"".join([bytes(piece) async for piece in incoming]) == data
                    await client.delete(0, [CHUNK])
                    await client.power_off(0)
            except PeerUnreachable:
                assert cut < whole
            if not whole:
                whole = stream.sent
                cuts = [*range(0, 400, STEP), *range(400, whole, 997), *range(whole - 200, whole, STEP)]
            await trio.testing.wait_all_tasks_blocked()
            await target.check()
        async with connected(target.wire(), key=KEY, bus=0) as client:
            await client.power_on(0)
            assert await client.list(0, "", 10) in ([], [CHUNK])
            await client.send(0, head, Pieces(data, 4000))


class Pieces:
    """Bytes to be sent, which may be left before their end."""

    def __init__(self, data: bytes, piece_bytes: int) -> None:
        self._pieces = iter([data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)])

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        try:
            return next(self._pieces)
        except StopIteration:
            raise StopAsyncIteration from None


class CutOff(trio.abc.Stream):
    """Sends so many bytes, then the connection is gone."""

    def __init__(self, stream: trio.abc.Stream, cut: int) -> None:
        self._stream = stream
        self._left = cut
        self.sent = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        part = memoryview(data)[: self._left]
        self._left -= len(part)
        self.sent += len(part)
        if part:
            await self._stream.send_all(part)
        if len(part) < len(data):
            await self._stream.aclose()
            raise trio.BrokenResourceError

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


async def test_random_bytes_in_the_place_of_any_frame_are_survived(autojump_clock: MockClock, seed: str) -> None:
    chance = random.Random(seed)
    head = head_of(CHUNK, b"ice")
    requests = [
        (Opcode.DISK_POWER_ON, DiskRequest(0).encode()),
        (Opcode.SEND_DATA, SendRequest(0, Flag.CHECK, head).encode()),
        (Opcode.GET_DATA, GetRequest(0, Flag.NONE, CHUNK, b"", 0, WHOLE).encode()),
        (Opcode.SATA_CLEAN, DiskRequest(0, Flag.FORCE).encode()),
    ]
    async with attacked() as target:
        for _ in range(200):
            async with target.worker() as pipe:
                opcode, payload = chance.choice(requests)
                frame = bytearray(sealed(pipe.session, opcode, Kind.REQUEST, payload))
                for _ in range(chance.randint(1, 8)):
                    frame[chance.randrange(len(frame))] = chance.randrange(256)
                await pipe.stream.send_all(bytes(frame[: chance.randint(1, len(frame))]))
                await trio.sleep(chance.choice((0.0, 1.0, 20.0)))
        await target.check()
