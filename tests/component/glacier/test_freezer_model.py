"""A freezer against a model of it: random calls, failures of disks, kills and restarts; its state equals the model, its budget holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from glacier.drive import REST_S, STARTS_MAX
from glacier.freezer import BoardFreezer, Pace
from glacier.power import Budget, buses_of
from glacier.protocol import DiskState
from glacier.simulated import SimulatedBoard
from node.errors import AlreadyExists, ChunkNotFound, DiskAsleep, DiskFailed, FrazilError, PowerBudgetSpent
from tests.conftest import SCALE
from tests.support.cold import LAYOUT, LoopClock, freezer_of, head_of, pieces

DISKS = st.sampled_from([0, 1, 4])
"""Two that share a bus and one of the other: few, so that steps meet the same disk again."""
CHUNKS = st.sampled_from(["a" * 32, "b" * 32, "c" * 32])
BODIES = st.sampled_from([b"", b"one", b"two" * 5000])
CALLS = st.one_of(
    st.tuples(st.just("on"), DISKS, st.booleans()),
    st.tuples(st.just("on"), DISKS, st.just(False)),
    st.tuples(st.just("off"), DISKS),
    st.tuples(st.just("send"), DISKS, CHUNKS, BODIES),
    st.tuples(st.just("get"), DISKS, CHUNKS),
    st.tuples(st.just("delete"), DISKS, CHUNKS),
    st.tuples(st.just("link"), DISKS, CHUNKS, CHUNKS),
    st.tuples(st.just("clean"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("fsck"), DISKS),
)
WORLD = st.one_of(
    st.tuples(st.just("dead"), DISKS),
    st.tuples(st.just("stuck"), DISKS),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 700.0, 5000.0])),
    st.tuples(st.just("restart")),
)
Step = tuple[object, ...]


@dataclass
class DiskModel:
    on: bool = False
    keeps_power: bool = False
    dead: bool = False
    stuck: bool = False
    failures: int = 0
    rests_until: float = 0.0
    chunks: dict[str, bytes] = field(default_factory=dict)

    @property
    def granted(self) -> bool:
        return self.on or self.keeps_power

    @property
    def state(self) -> DiskState:
        if self.on:
            return DiskState.ON
        return DiskState.FAILED if self.keeps_power or self.failures >= STARTS_MAX else DiskState.OFF


class Model:
    """What should come of a call: nothing, or a kind of error."""

    def __init__(self) -> None:
        self.disks = {number: DiskModel() for number in LAYOUT.disks}

    def on(self, number: int, force: bool) -> type[FrazilError] | None:
        disk = self.disks[number]
        now = trio.current_time()
        if disk.on:
            return None
        if not force and (disk.keeps_power or disk.failures >= STARTS_MAX or disk.rests_until > now):
            return DiskFailed
        granted = [each for each, other in self.disks.items() if other.granted and each != number]
        if not disk.keeps_power and (len(granted) >= 2 or buses_of(LAYOUT, granted).get(LAYOUT.bus_of(number), 0) >= 1):
            return PowerBudgetSpent
        if (disk.keeps_power and disk.stuck) or disk.dead:
            began = now + (0.0 if disk.keeps_power and disk.stuck else Pace().start_s_max)
            disk.failures += 1
            disk.rests_until = began + REST_S * 2 ** (min(disk.failures - 1, STARTS_MAX))
            disk.keeps_power = disk.stuck
            return DiskFailed
        disk.on, disk.keeps_power, disk.failures, disk.rests_until = True, False, 0, 0.0
        return None

    def off(self, number: int) -> type[FrazilError] | None:
        disk = self.disks[number]
        if not disk.granted:
            return None
        disk.on, disk.keeps_power = False, disk.stuck
        return DiskFailed if disk.stuck else None

    def ready(self, number: int) -> type[FrazilError] | None:
        disk = self.disks[number]
        return None if disk.on else DiskFailed if disk.state is DiskState.FAILED else DiskAsleep

    def restart(self) -> None:
        """Counters are in memory only here; what keeps its power keeps its grant."""
        for disk in self.disks.values():
            disk.keeps_power = disk.granted and disk.stuck
            disk.on, disk.failures, disk.rests_until = False, 0, 0.0


class Run:
    def __init__(self) -> None:
        self.board = SimulatedBoard(LAYOUT)
        self.freezer = freezer_of(self.board)
        self.model = Model()

    async def step(self, step: Step) -> None:
        name, *arguments = step
        try:
            await getattr(self, f"do_{name}")(*arguments)
        finally:
            self.check()

    def check(self) -> None:
        for number, disk in self.model.disks.items():
            drive = self.freezer.drives[number]
            assert (drive.state, drive.notes.failures) == (disk.state, disk.failures), f"disk {number}"
        assert self.board.meter.powered == {number for number, disk in self.model.disks.items() if disk.granted}
        check_budget(self.board)
        for number, disk in self.model.disks.items():
            assert {chunk: bytes(held.data) for chunk, held in self.board.disks[number].chunks.items()} == disk.chunks

    async def expect(self, kind: type[FrazilError] | None, call: object) -> None:
        if kind is None:
            await call  # type: ignore[misc]
        else:
            with pytest.raises(kind):
                await call  # type: ignore[misc]

    def bus(self, number: int) -> object:
        return self.freezer.bus(LAYOUT.bus_of(number))

    async def do_on(self, number: int, force: bool) -> None:
        await self.expect(self.model.on(number, force), self.bus(number).power_on(number, force=force))  # type: ignore[attr-defined]

    async def do_off(self, number: int) -> None:
        await self.expect(self.model.off(number), self.bus(number).power_off(number))  # type: ignore[attr-defined]

    async def do_clean(self, bus: int, whole: bool) -> None:
        outcomes = [self.model.off(number) for number in (LAYOUT.disks if whole else LAYOUT.buses[bus])]
        await self.expect(next((each for each in outcomes if each), None), self.freezer.bus(bus).clean(board=whole))

    async def do_send(self, number: int, chunk: str, body: bytes) -> None:
        expected = self.model.ready(number)
        chunks = self.model.disks[number].chunks
        if expected is None and chunks.setdefault(chunk, body) != body:
            expected = AlreadyExists
        source = pieces(body)
        await self.expect(expected, self.bus(number).send(number, head_of(chunk, body), source))  # type: ignore[attr-defined]
        await source.aclose()  # type: ignore[attr-defined]

    async def do_get(self, number: int, chunk: str) -> None:
        body = self.model.disks[number].chunks.get(chunk)
        expected = self.model.ready(number) or (ChunkNotFound if body is None else None)

        async def read() -> None:
            async with self.bus(number).get(number, chunk) as incoming:  # type: ignore[attr-defined]
                assert b"".join([bytes(piece) async for piece in incoming]) == body

        await self.expect(expected, read())

    async def do_delete(self, number: int, chunk: str) -> None:
        expected = self.model.ready(number)
        if expected is None:
            self.model.disks[number].chunks.pop(chunk, None)
        await self.expect(expected, self.bus(number).delete(number, [chunk]))  # type: ignore[attr-defined]

    async def do_link(self, number: int, source: str, target: str) -> None:
        chunks = self.model.disks[number].chunks
        expected = self.model.ready(number) or (ChunkNotFound if source not in chunks else AlreadyExists if target in chunks else None)
        record = head_of(target, chunks.get(source, b""), key="linked").record
        if expected is None:
            chunks[target] = chunks[source]
        await self.expect(expected, self.bus(number).link(number, source, target, record))  # type: ignore[attr-defined]

    async def do_fsck(self, number: int) -> None:
        await self.expect(self.model.ready(number), self.bus(number).fsck(number, repair=False))  # type: ignore[attr-defined]

    async def do_dead(self, number: int) -> None:
        disk = self.model.disks[number]
        self.board.disks[number].dead = disk.dead = not disk.dead

    async def do_stuck(self, number: int) -> None:
        disk = self.model.disks[number]
        self.board.disks[number].stuck = disk.stuck = not disk.stuck

    async def do_wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def do_restart(self) -> None:
        """The freezer is killed; the board stays as it is."""
        self.model.restart()
        self.freezer = freezer_of(self.board)
        await self.freezer.begin()


def check_budget(board: SimulatedBoard) -> None:
    assert max(board.meter.together_max.values(), default=0) <= 1
    assert board.meter.board_max <= 2
    assert not any(disk.cut_while_mounted for disk in board.disks.values())


def played(main: object) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))  # type: ignore[arg-type]


@settings(max_examples=max(1, int(150 * SCALE)))
@given(st.lists(st.one_of(CALLS, CALLS, WORLD), min_size=5, max_size=40))
def test_the_freezer_s_state_equals_the_model_s_after_every_call(steps: list[Step]) -> None:
    async def main() -> None:
        run = Run()
        await run.freezer.begin()
        for step in steps:
            await run.step(step)

    played(main)


@settings(max_examples=max(1, int(8 * SCALE)))
@given(st.integers(0, 1 << 32))
def test_calls_of_many_at_once_that_are_cancelled_at_any_time_keep_the_budget(seed: int) -> None:
    """No model here: only what must hold whatever happens, at every moment (the board asserts what hardware would break of)."""

    async def main() -> None:
        chance = Random(seed)
        board = SimulatedBoard(LAYOUT)
        freezer = BoardFreezer(board, budget=Budget(1, 2), pace=Pace(), clock=LoopClock())
        await freezer.begin()
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(caller, freezer, board, chance)
            await trio.sleep(200)
            nursery.cancel_scope.cancel()
        assert all(drive.state in (DiskState.OFF, DiskState.ON, DiskState.FAILED) for drive in freezer.drives.values())
        for disk in board.disks.values():
            disk.dead = disk.stuck = False
        await freezer.end()
        assert (board.meter.powered, board.meter.cycles.total() > 0) == (set(), True)
        check_budget(board)

    played(main)


async def caller(freezer: BoardFreezer, board: SimulatedBoard, chance: Random) -> None:
    while True:
        disk = chance.choice(LAYOUT.disks)
        bus = freezer.bus(LAYOUT.bus_of(disk))
        body = chance.randbytes(chance.choice((0, 10, 30_000)))
        chunk = f"{chance.randrange(8):032x}"
        with trio.move_on_after(chance.choice((0.1, 1.0, 10.0, 100.0))):
            try:
                match chance.randrange(8):
                    case 0 | 1 | 2:
                        await bus.power_on(disk, force=chance.random() < 0.5)
                    case 3:
                        await bus.power_off(disk)
                    case 4:
                        await bus.clean(board=chance.random() < 0.2, force=chance.random() < 0.5)
                    case 5:
                        await bus.fsck(disk, repair=True)
                    case 6:
                        await bus.send(disk, head_of(chunk, body), Slowly(body))
                    case 7:
                        board.disks[disk].dead = chance.random() < 0.2
                        board.disks[disk].stuck = chance.random() < 0.1
            except FrazilError:
                pass
        check_budget(board)
        await trio.sleep(chance.random())


class Slowly:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def __aiter__(self) -> Slowly:
        return self

    async def __anext__(self) -> bytes:
        await trio.sleep(2)
        body, self._body = self._body, b""
        if not body:
            raise StopAsyncIteration
        return body
