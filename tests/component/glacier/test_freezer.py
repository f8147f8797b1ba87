"""What a freezer promises, in process and over ICE alike, on a simulated board in virtual time."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from glacier.drive import REST_S, STARTS_MAX
from glacier.freezer import RELEASE_PERIOD_S, BoardFreezer
from glacier.power import Budget
from glacier.protocol import DiskState, Freezer
from glacier.simulated import SPIN_UP_S, SimulatedBoard
from node.errors import (
    AlreadyExists,
    Busy,
    ChecksumMismatch,
    ChunkCorrupt,
    ChunkNotFound,
    DiskAsleep,
    DiskFailed,
    DiskNotFound,
    InvalidArgument,
    PowerBudgetSpent,
    RecordCorrupt,
    VolumeFull,
)
from rawx.chunk import ChunkRecord
from tests.support.cold import LAYOUT, UNIT_BYTES, freezer_of, head_of, over_ice, pieces

CHUNK = "a" * 32
OTHER = "b" * 32
BIG = os.urandom(3 * (1 << 20) + 17)


@pytest.fixture
def board() -> SimulatedBoard:
    return SimulatedBoard(LAYOUT)


@pytest.fixture
def whole(board: SimulatedBoard) -> BoardFreezer:
    return freezer_of(board)


@pytest.fixture(params=["in process", "over ICE"])
async def freezer(request: pytest.FixtureRequest, whole: BoardFreezer) -> AsyncIterator[Freezer]:
    await whole.begin()
    if request.param == "in process":
        yield whole.bus(0)
    else:
        async with over_ice(whole.bus(0)) as client:
            yield client


async def received(freezer: Freezer, disk: int, chunk: str, **options: object) -> bytes:
    async with freezer.get(disk, chunk, **options) as incoming:  # type: ignore[arg-type]
        return b"".join([bytes(piece) async for piece in incoming])


async def test_a_freezer_says_what_its_bus_is(autojump_clock: MockClock, freezer: Freezer) -> None:
    bus = freezer.bus
    assert (bus.board, bus.bus, bus.buses, bus.disks) == ("north", 0, 2, (0, 1, 2, 3))
    assert (bus.bus_powered_max, bus.board_powered_max, bus.spin_up_ms) == (1, 2, 15_000)


async def test_a_disk_is_off_until_it_is_powered_and_then_has_spun_up(autojump_clock: MockClock, freezer: Freezer) -> None:
    assert (await freezer.probe(1)).state is DiskState.OFF
    began = trio.current_time()
    report = await freezer.power_on(1)
    assert trio.current_time() - began >= SPIN_UP_S
    assert (report.state, report.power_cycles, report.problem) == (DiskState.ON, 1, "")
    assert report.bytes_total > report.bytes_free - 1 > 0
    await trio.sleep(100)
    assert (await freezer.probe(1)).powered_s >= 100
    assert (await freezer.power_off(1)).state is DiskState.OFF
    assert (await freezer.probe(1)).bytes_total == report.bytes_total  # as it was measured


async def test_switching_what_is_switched_changes_nothing(autojump_clock: MockClock, freezer: Freezer, board: SimulatedBoard) -> None:
    await freezer.power_off(2)
    await freezer.power_on(2)
    assert (await freezer.power_on(2)).power_cycles == 1
    assert board.meter.cycles == {2: 1}


async def test_a_disk_rises_with_a_countdown(autojump_clock: MockClock, freezer: Freezer, whole: BoardFreezer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(freezer.power_on, 1)
        await trio.sleep(5)
        report = await whole.bus(0).probe(1)
        assert report.state is DiskState.RISING
        assert 9_000 < report.ready_ms < 11_000


async def test_the_budget_of_the_bus_holds(autojump_clock: MockClock, freezer: Freezer, board: SimulatedBoard) -> None:
    await freezer.power_on(0)
    with pytest.raises(PowerBudgetSpent, match="disk 1 must wait: bus 0 powers disk 0"):
        await freezer.power_on(1)
    await freezer.power_off(0)
    await freezer.power_on(1)
    assert board.meter.together_max == {0: 1}


async def test_the_budget_of_the_board_holds_across_its_buses(autojump_clock: MockClock, board: SimulatedBoard) -> None:
    whole = freezer_of(board, Budget(bus=1, board=1))
    await whole.begin()
    await whole.bus(0).power_on(0)
    with pytest.raises(PowerBudgetSpent, match="the board powers disk 0"):
        await whole.bus(1).power_on(4)


@pytest.mark.parametrize("disk", [4, 99])
async def test_a_disk_of_another_bus_is_not_here(autojump_clock: MockClock, freezer: Freezer, disk: int) -> None:
    with pytest.raises(DiskNotFound):
        await freezer.power_on(disk)
    with pytest.raises(DiskNotFound):
        await freezer.probe(disk)


@pytest.mark.parametrize("size", [0, 1, UNIT_BYTES, UNIT_BYTES + 1, len(BIG)])
async def test_a_chunk_comes_back_as_it_was_sent(autojump_clock: MockClock, freezer: Freezer, size: int) -> None:
    head = head_of(CHUNK, BIG[:size])
    await freezer.power_on(0)
    sent = await freezer.send(0, head, pieces(BIG[:size]))
    assert (sent.existed, sent.checked) == (False, True)
    assert await received(freezer, 0, CHUNK, checksum=head.checksum) == BIG[:size]
    assert await freezer.head(0, CHUNK, check=True) == head
    assert await freezer.list(0, "", 10) == [CHUNK]


async def test_a_range_of_whole_units_comes_alone(autojump_clock: MockClock, freezer: Freezer) -> None:
    await freezer.power_on(0)
    await freezer.send(0, head_of(CHUNK, BIG), pieces(BIG, 1 << 20))
    assert await received(freezer, 0, CHUNK, offset=UNIT_BYTES, count=2 * UNIT_BYTES) == BIG[UNIT_BYTES : 3 * UNIT_BYTES]
    assert await received(freezer, 0, CHUNK, offset=1 << 20) == BIG[1 << 20 :]
    with pytest.raises(InvalidArgument):
        await received(freezer, 0, CHUNK, offset=1)
    with pytest.raises(InvalidArgument):
        await received(freezer, 0, CHUNK, offset=1 << 40)
    assert await freezer.list(0, "", 1) == [CHUNK]  # and the connection goes on


async def test_the_same_chunk_twice_is_sent_once(autojump_clock: MockClock, freezer: Freezer) -> None:
    head = head_of(CHUNK, BIG)
    await freezer.power_on(0)
    await freezer.send(0, head, pieces(BIG))
    asked = False

    async def never() -> AsyncIterator[bytes]:
        nonlocal asked
        asked = True
        yield b""

    source = never()
    assert (await freezer.send(0, head, source)).existed
    await source.aclose()
    assert not asked


async def test_an_id_is_one_chunk_s(autojump_clock: MockClock, freezer: Freezer) -> None:
    await freezer.power_on(0)
    await freezer.send(0, head_of(CHUNK, b"one"), pieces(b"one"))
    with pytest.raises(AlreadyExists):
        await freezer.send(0, head_of(CHUNK, b"two"), pieces(b"two"))
    assert await received(freezer, 0, CHUNK) == b"one"


WRONG = {"short": BIG[:-1], "long": BIG + b"x", "other begin": b"x" + BIG[1:], "other end": BIG[:-1] + bytes([BIG[-1] ^ 1]), "nothing": b""}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_other_bytes_than_announced_are_not_kept(autojump_clock: MockClock, freezer: Freezer, wrong: bytes) -> None:
    await freezer.power_on(0)
    source = pieces(wrong)
    with pytest.raises(ChecksumMismatch):
        await freezer.send(0, head_of(CHUNK, BIG), source)
    await source.aclose()
    assert await freezer.list(0, "", 10) == []
    await freezer.send(0, head_of(CHUNK, BIG), pieces(BIG))


async def test_a_head_that_contradicts_itself_is_refused(autojump_clock: MockClock, freezer: Freezer) -> None:
    import dataclasses

    good = head_of(CHUNK, b"abc")
    await freezer.power_on(0)
    for change, error in (
        ({"size": 4}, InvalidArgument),
        ({"checksum": bytes(16)}, ChecksumMismatch),
        ({"units": good.units * 2}, InvalidArgument),
        ({"unit_bytes": 8192}, InvalidArgument),
        ({"record": b"{}"}, RecordCorrupt),
    ):
        source = pieces(b"abc")
        with pytest.raises(error):
            await freezer.send(0, dataclasses.replace(good, **change), source)  # type: ignore[arg-type]
        await source.aclose()


async def test_nothing_is_read_or_written_without_power(autojump_clock: MockClock, freezer: Freezer) -> None:
    source = pieces(b"abc")
    for call in (
        freezer.send(0, head_of(CHUNK, b"abc"), source),
        freezer.head(0, CHUNK),
        freezer.list(0, "", 1),
        freezer.delete(0, [CHUNK]),
        freezer.link(0, CHUNK, OTHER, head_of(OTHER, b"abc").record),
        freezer.fsck(0, repair=False),
        received(freezer, 0, CHUNK),
    ):
        with pytest.raises(DiskAsleep, match="power it on first"):
            await call
    await source.aclose()


async def test_what_is_not_there_is_not_found(autojump_clock: MockClock, freezer: Freezer) -> None:
    await freezer.power_on(0)
    with pytest.raises(ChunkNotFound):
        await received(freezer, 0, CHUNK)
    with pytest.raises(ChunkNotFound):
        await freezer.head(0, CHUNK)
    assert await freezer.delete(0, [CHUNK, OTHER]) == []


async def test_a_full_disk_takes_nothing_and_says_so_at_once(autojump_clock: MockClock, freezer: Freezer, board: SimulatedBoard) -> None:
    board.disks[0].bytes_total = 2
    await freezer.power_on(0)
    source = pieces(b"abc")
    with pytest.raises(VolumeFull):
        await freezer.send(0, head_of(CHUNK, b"abc"), source)
    await source.aclose()


async def test_damage_is_found_by_reading_and_by_checking(autojump_clock: MockClock, freezer: Freezer, board: SimulatedBoard) -> None:
    await freezer.power_on(0)
    await freezer.send(0, head_of(CHUNK, BIG), pieces(BIG))
    board.disks[0].chunks[CHUNK].data[2 << 20] ^= 1
    with pytest.raises(ChunkCorrupt):
        await received(freezer, 0, CHUNK)
    with pytest.raises(ChunkCorrupt):
        await freezer.head(0, CHUNK, check=True)
    assert (await freezer.head(0, CHUNK)).size == len(BIG)
    assert (await freezer.probe(0)).checksum_errors == 2
    await freezer.power_off(0)
    assert (await freezer.probe(0)).checksum_errors == 2


async def test_a_damaged_chunk_makes_room_for_the_same_sent_again(
    autojump_clock: MockClock, freezer: Freezer, board: SimulatedBoard
) -> None:
    head = head_of(CHUNK, BIG)
    await freezer.power_on(0)
    await freezer.send(0, head, pieces(BIG))
    board.disks[0].chunks[CHUNK].data[0] ^= 1
    assert not (await freezer.send(0, head, pieces(BIG))).existed
    assert await received(freezer, 0, CHUNK) == BIG
    assert CHUNK in board.disks[0].quarantine


async def test_lists_are_of_any_length(autojump_clock: MockClock, freezer: Freezer) -> None:
    await freezer.power_on(0)
    ids = [f"{number:032x}" for number in range(1, 1000)]
    for chunk in ids:
        await freezer.send(0, head_of(chunk, b"x"), pieces(b"x"), check=False)
    assert await freezer.list(0, "", 5000) == ids
    assert await freezer.list(0, ids[4], 950) == ids[5:955]
    assert await freezer.delete(0, ids[:990]) == []
    assert await freezer.list(0, "", 5000) == ids[990:]


async def test_a_link_is_a_chunk_of_its_own(autojump_clock: MockClock, freezer: Freezer) -> None:
    await freezer.power_on(0)
    await freezer.send(0, head_of(CHUNK, BIG), pieces(BIG))
    record = head_of(OTHER, BIG, key="another key").record
    for _ in range(2):
        await freezer.link(0, CHUNK, OTHER, record)
    with pytest.raises(AlreadyExists):
        await freezer.link(0, CHUNK, OTHER, head_of(OTHER, BIG, key="a third").record)
    assert ChunkRecord.parse((await freezer.head(0, OTHER)).record).key == "another key"
    await freezer.delete(0, [CHUNK])
    assert await received(freezer, 0, OTHER) == BIG


async def test_a_disk_that_does_not_come_up_is_reported_and_left_alone(
    autojump_clock: MockClock, freezer: Freezer, board: SimulatedBoard
) -> None:
    board.disks[3].dead = True
    for number in range(1, STARTS_MAX + 1):
        with pytest.raises(DiskFailed, match="no answer within 60 s"):
            await freezer.power_on(3)
        report = await freezer.probe(3)
        assert report.state is (DiskState.OFF if number < STARTS_MAX else DiskState.FAILED)
        assert (report.failed_starts, report.problem) == (number, "no answer within 60 s")
        with pytest.raises(DiskFailed):
            await freezer.power_on(3)
        assert board.meter.cycles[3] == number
        await trio.sleep(REST_S * 2 ** (number - 1) - 61)
        with pytest.raises(DiskFailed):
            await freezer.power_on(3)
        await trio.sleep(122)
    with pytest.raises(DiskFailed, match="left alone"):
        await freezer.power_on(3)
    await freezer.power_on(0)  # and stands in nobody's way


async def test_a_disk_that_was_left_alone_comes_back_when_forced(
    autojump_clock: MockClock, freezer: Freezer, board: SimulatedBoard
) -> None:
    board.disks[3].dead = True
    for _ in range(STARTS_MAX):
        with pytest.raises(DiskFailed):
            await freezer.power_on(3, force=True)
    board.disks[3].dead = False
    report = await freezer.power_on(3, force=True)
    assert (report.state, report.problem, report.failed_starts) == (DiskState.ON, "", STARTS_MAX)
    await freezer.power_off(3)
    await freezer.power_on(3)


async def test_a_disk_that_can_t_be_switched_off_keeps_its_place_in_the_budget(
    autojump_clock: MockClock, freezer: Freezer, board: SimulatedBoard
) -> None:
    await freezer.power_on(0)
    board.disks[0].stuck = True
    with pytest.raises(DiskFailed, match="does not open"):
        await freezer.power_off(0)
    with pytest.raises(PowerBudgetSpent):
        await freezer.power_on(1)
    with pytest.raises(DiskFailed):
        await freezer.clean()
    with pytest.raises(DiskFailed):
        await freezer.power_on(0)
    board.disks[0].stuck = False
    await freezer.clean()
    assert (await freezer.probe(0)).problem == ""
    await freezer.power_on(1)
    assert board.meter.together_max == {0: 1}


async def test_a_disk_that_could_not_be_switched_off_is_once_it_is_let_go(
    autojump_clock: MockClock, freezer: Freezer, whole: BoardFreezer, board: SimulatedBoard
) -> None:
    await freezer.power_on(0)
    board.disks[0].stuck = True
    with pytest.raises(DiskFailed, match="does not open"):
        await freezer.power_off(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(whole.keep_releasing)
        await trio.sleep(100.0)
        assert (await freezer.probe(0)).state is DiskState.FAILED
        board.disks[0].stuck = False
        await trio.sleep(RELEASE_PERIOD_S + 5.0)
        nursery.cancel_scope.cancel()
    assert ((await freezer.probe(0)).state, (await freezer.probe(0)).problem) == (DiskState.OFF, "")
    await freezer.power_on(1)


async def test_power_is_not_taken_from_under_a_transfer(
    autojump_clock: MockClock, freezer: Freezer, whole: BoardFreezer, board: SimulatedBoard
) -> None:
    other = whole.bus(0)
    await freezer.power_on(0)
    await freezer.send(0, head_of(CHUNK, BIG), pieces(BIG))
    async with other.get(0, CHUNK) as incoming:
        with pytest.raises(Busy):
            await freezer.power_off(0)
        with pytest.raises(Busy):
            await freezer.fsck(0, repair=False)
        with pytest.raises(Busy):
            await freezer.clean()
        assert b"".join([bytes(piece) async for piece in incoming]) == BIG
    await freezer.power_off(0)
    assert not board.disks[0].cut_while_mounted


async def test_cleaning_by_force_ends_transfers_with_an_error(
    autojump_clock: MockClock, freezer: Freezer, whole: BoardFreezer, board: SimulatedBoard
) -> None:
    other = whole.bus(0)
    await freezer.power_on(0)
    await freezer.send(0, head_of(CHUNK, BIG), pieces(BIG))
    failed = trio.Event()

    async def read() -> None:
        with pytest.raises(Busy, match="by force"):
            async with other.get(0, CHUNK):
                await trio.sleep_forever()
        failed.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        await freezer.clean(force=True)
    assert failed.is_set()
    assert (await freezer.probe(0)).state is DiskState.OFF
    assert not board.disks[0].cut_while_mounted


async def test_cleaning_is_for_one_bus_unless_the_board_is_asked_for(
    autojump_clock: MockClock, freezer: Freezer, whole: BoardFreezer, board: SimulatedBoard
) -> None:
    await freezer.power_on(0)
    await whole.bus(1).power_on(4)
    await freezer.clean()
    assert board.meter.powered == {4}
    await freezer.clean(board=True)
    assert board.meter.powered == set()


async def test_a_file_system_is_checked_and_mended_and_there_again(
    autojump_clock: MockClock, freezer: Freezer, board: SimulatedBoard
) -> None:
    await freezer.power_on(0)
    board.disks[0].dirty = True
    assert not (await freezer.fsck(0, repair=False)).clean
    report = await freezer.fsck(0, repair=True)
    assert (report.clean, report.repaired) == (True, True)
    assert await freezer.list(0, "", 1) == []


async def test_the_next_freezer_begins_by_switching_everything_off(
    autojump_clock: MockClock, whole: BoardFreezer, board: SimulatedBoard
) -> None:
    await whole.begin()
    await whole.bus(0).power_on(0)
    await whole.bus(1).power_on(5)
    board.disks[5].stuck = True
    following = freezer_of(board)
    await following.begin()
    assert board.meter.powered == {5}
    assert (await following.bus(1).probe(5)).state is DiskState.FAILED
    with pytest.raises(PowerBudgetSpent):
        await following.bus(1).power_on(4)
    await following.bus(0).power_on(1)
    assert board.meter.together_max == {0: 1, 1: 1}
