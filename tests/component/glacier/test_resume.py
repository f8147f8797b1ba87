"""A chunk whose way to a cold disk broke in the middle: the next try goes on where it was."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from glacier import iceserver
from glacier.freezer import BoardFreezer
from glacier.ice import Opcode
from glacier.iceclient import connected
from glacier.icepipe import FRAME_S, Pipe
from glacier.icerequest import Flag, SendRequest
from glacier.iceserver import IceServer
from glacier.protocol import Freezer
from glacier.simulated import SimulatedBoard
from node.errors import ChecksumMismatch, InvalidArgument, PeerUnreachable
from rawx.chunk import Buffer
from rawx.volume import Volume
from tests.component.glacier.conftest import item, until_state, working
from tests.component.rawx.conftest import UNIT, put, sample
from tests.support.cold import KEY, LAYOUT, freezer_of, head_of
from tests.support.freezer import MemoryFreezer

CHUNK, OTHER = "a" * 32, "b" * 32
DATA = os.urandom(3 * (1 << 20) + 17)
PIECE_BYTES = 100_000
CUT_AT = 1_700_000
"""In the middle of a unit."""


class Sending:
    """Bytes of a chunk from where the freezer wants them; the way breaks behind `cut`."""

    def __init__(self, data: bytes, cut: int | None = None) -> None:
        self.begin, self.sent = 0, 0
        self._data, self._cut = data, cut

    def begin_at(self, offset: int) -> None:
        self.begin = offset

    def __aiter__(self) -> Sending:
        return self

    async def __anext__(self) -> Buffer:
        at = self.begin + self.sent
        if self._cut is not None and at >= self._cut:
            raise PeerUnreachable("the way is cut")
        if at == len(self._data):
            raise StopAsyncIteration
        piece = self._data[at : at + PIECE_BYTES]
        self.sent += len(piece)
        return piece


@pytest.fixture
async def whole() -> BoardFreezer:
    freezer = freezer_of(SimulatedBoard(LAYOUT))
    await freezer.begin()
    await freezer.bus(0).power_on(1)
    return freezer


@asynccontextmanager
async def reaching(whole: BoardFreezer, way: str) -> AsyncIterator[Freezer]:
    if way == "in process":
        yield whole.bus(0)
        return
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(IceServer(whole.bus(0), KEY).converse, theirs)
        async with connected(ours, key=KEY, bus=0) as client:
            yield client


async def cut_off(whole: BoardFreezer, way: str, chunk: str = CHUNK, data: bytes = DATA) -> int:
    """Bytes that came before the way broke."""
    sending = Sending(data, CUT_AT)
    async with reaching(whole, way) as freezer:
        with pytest.raises(PeerUnreachable):
            await freezer.send(1, head_of(chunk, data), sending, resume=sending.begin_at)
    cut = whole.drives[1].cut
    assert cut is not None
    assert cut.head.chunk == chunk
    assert cut.done == sending.sent >= CUT_AT
    return cut.done


async def read(freezer: Freezer, chunk: str) -> bytes:
    async with freezer.get(1, chunk) as incoming:
        return b"".join([bytes(piece) async for piece in incoming])


WAYS = pytest.mark.parametrize("way", ["in process", "over ICE"])


@WAYS
async def test_the_next_try_sends_only_what_lacks(autojump_clock: MockClock, whole: BoardFreezer, way: str) -> None:
    came = await cut_off(whole, way)
    again = Sending(DATA)
    async with reaching(whole, way) as freezer:
        sent = await freezer.send(1, head_of(CHUNK, DATA), again, resume=again.begin_at)
        assert (sent.existed, sent.checked) == (False, True)
        assert (again.begin, again.sent) == (came, len(DATA) - came)
        assert await read(freezer, CHUNK) == DATA
        assert whole.drives[1].cut is None
        await freezer.power_off(1)


class Stalling(Sending):
    """The line goes dead behind `cut` instead: nobody says that it did."""

    async def __anext__(self) -> Buffer:
        try:
            return await super().__anext__()
        except PeerUnreachable:
            await trio.sleep_forever()
            raise


async def test_what_came_before_a_line_went_dead_without_a_word_is_kept_too(autojump_clock: MockClock, whole: BoardFreezer) -> None:
    stalls = Stalling(DATA, CUT_AT)
    async with reaching(whole, "over ICE") as freezer:
        with trio.move_on_after(3 * FRAME_S):
            await freezer.send(1, head_of(CHUNK, DATA), stalls, resume=stalls.begin_at)
    again = Sending(DATA)
    async with reaching(whole, "over ICE") as freezer:
        await freezer.send(1, head_of(CHUNK, DATA), again, resume=again.begin_at)
        assert again.begin == stalls.sent >= CUT_AT
        assert await read(freezer, CHUNK) == DATA


@WAYS
async def test_it_may_break_again_and_again(autojump_clock: MockClock, whole: BoardFreezer, way: str) -> None:
    total = 0
    for cut in (1_000_000, 2_000_000, 3_000_000, None):
        sending = Sending(DATA, cut)
        async with reaching(whole, way) as freezer:
            try:
                await freezer.send(1, head_of(CHUNK, DATA), sending, resume=sending.begin_at)
            except PeerUnreachable:
                assert cut is not None
        total += sending.sent
    assert total == len(DATA)
    assert await read(whole.bus(0), CHUNK) == DATA


@WAYS
async def test_other_bytes_than_announced_are_not_kept_whenever_they_come(autojump_clock: MockClock, whole: BoardFreezer, way: str) -> None:
    await cut_off(whole, way)
    wrong = Sending(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    async with reaching(whole, way) as freezer:
        with pytest.raises(ChecksumMismatch):
            await freezer.send(1, head_of(CHUNK, DATA), wrong, resume=wrong.begin_at)
    assert whole.drives[1].cut is None
    again = Sending(DATA)
    async with reaching(whole, way) as freezer:
        await freezer.send(1, head_of(CHUNK, DATA), again, resume=again.begin_at)
        assert again.begin == 0
        assert await read(freezer, CHUNK) == DATA


async def test_who_does_not_ask_begins_anew_and_so_does_another_chunk(autojump_clock: MockClock, whole: BoardFreezer) -> None:
    await cut_off(whole, "in process")
    freezer, plain, other = whole.bus(0), Sending(DATA), Sending(DATA[::-1])
    await freezer.send(1, head_of(OTHER, DATA[::-1]), other, resume=other.begin_at)
    assert other.begin == 0
    await freezer.send(1, head_of(CHUNK, DATA), plain)
    assert plain.begin == 0
    assert (await read(freezer, CHUNK), await read(freezer, OTHER)) == (DATA, DATA[::-1])


async def test_a_freezer_of_before_is_asked_without(
    autojump_clock: MockClock, whole: BoardFreezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = iceserver._CALLS[Opcode.SEND_DATA], 0

    async def older(freezer: Freezer, pipe: Pipe, payload: memoryview) -> bytes:
        nonlocal refused
        if SendRequest.parse(payload).flags & Flag.RESUME:
            refused += 1
            raise InvalidArgument("flags 3 mean nothing here")
        return await real(freezer, pipe, payload)

    monkeypatch.setitem(iceserver._CALLS, Opcode.SEND_DATA, older)
    async with reaching(whole, "over ICE") as freezer:
        for chunk, data in ((CHUNK, DATA), (OTHER, DATA[::-1])):
            sending = Sending(data)
            await freezer.send(1, head_of(chunk, data), sending, resume=sending.begin_at)
            assert await read(freezer, chunk) == data
    assert refused == 1


async def test_one_chunk_is_kept_for_each_disk_and_only_while_it_has_power(autojump_clock: MockClock, whole: BoardFreezer) -> None:
    await cut_off(whole, "in process")
    await cut_off(whole, "in process", OTHER, DATA[::-1])
    await whole.bus(0).power_off(1)
    assert whole.drives[1].cut is None
    await whole.bus(0).power_on(1)
    again = Sending(DATA)
    await whole.bus(0).send(1, head_of(CHUNK, DATA), again, resume=again.begin_at)
    assert again.begin == 0


async def test_a_worker_s_freeze_goes_on_behind_what_came(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume, cuts = MemoryFreezer(), next(iter(volumes.values())), iter([True, False, False, True])
    made = await put(volume, sample(40 * UNIT + 7))

    async def step(name: str, _disk: int) -> None:
        await trio.lowlevel.checkpoint()
        if name == "sending" and next(cuts, False):
            raise PeerUnreachable("the way is cut")

    freezer.step = step
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
    (disk,) = freezer.copies(made.chunk)
    assert freezer.disks[disk][made.chunk][1] == made.data
    assert freezer.taken == made.record.size
