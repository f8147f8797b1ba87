"""A worker that ends at any step of any job: no byte is ever absent from both sides, and the next start finishes without doubling anything.

Every await of the worker on its ledger, its files and its freezer is a step, before and after. At a step that the seed chooses all its
tasks end at once, as by kill -9: what a thread was doing is done or not.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
import trio

from glacier.backlog import Kind
from glacier.worker.ledger import Ledger
from glacier.worker.worker import Worker, open_worker
from node.errors import ChunkCold, DeadlineExceeded, DiskAsleep, PeerUnreachable, ShuttingDown, VolumeSick
from rawx.chunk import new_chunk_id
from rawx.cold import ColdChunks
from rawx.volume import Volume
from tests.component.glacier.conftest import OPTIONS, bytes_of, item, until, until_state, working
from tests.component.rawx.conftest import UNIT, Sample, put, sample
from tests.support.freezer import MemoryFreezer

CRASHES_PER_ROUND = 6
STEPS_MAX = 120
"""A crash comes within so many steps of a start."""
SETTLE_S = 30.0
FAILURES = [PeerUnreachable("cut off"), DeadlineExceeded("too late"), DiskAsleep("asleep"), ShuttingDown("ending")]


class Guillotine:
    """Ends the scope at the step that was chosen."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.left = -1
        self.steps: Counter[str] = Counter()

    async def step(self, name: str, _disk: int = 0) -> None:
        self.steps[name] += 1
        if self.left == 0:
            self.scope.cancel()
        self.left -= 1
        await trio.lowlevel.checkpoint()


@dataclass
class World:
    """What the test knows: the chunks that were put, and what was last asked for each."""

    volumes: list[Volume]
    freezer: MemoryFreezer
    made: dict[str, tuple[Volume, Sample]] = field(default_factory=dict)
    wishes: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    async def assert_nothing_is_absent(self) -> None:
        for chunk, (volume, made) in self.made.items():
            if chunk in self.gone:
                continue
            try:
                assert await bytes_of(volume, made) == made.data
            except ChunkCold:
                copies = [self.freezer.disks[disk][chunk][1] for disk in self.freezer.copies(chunk)]
                assert made.data in copies, f"chunk {chunk} is nowhere"


@pytest.fixture
def guillotine(monkeypatch: pytest.MonkeyPatch) -> Guillotine:
    blade = Guillotine()

    def around(kind: type, name: str) -> None:
        whole: Callable[..., Any] = getattr(kind, name)

        async def stepped(self: Any, *arguments: Any) -> Any:
            await blade.step(f"before {kind.__name__}")
            result = await whole(self, *arguments)
            await blade.step(f"after {kind.__name__}")
            return result

        monkeypatch.setattr(kind, name, stepped)

    around(Ledger, "write")
    around(ColdChunks, "_run")
    return blade


async def ask(world: World, worker: Worker, random: Random) -> None:
    """Something of somebody, noted as wished before it is asked: an answer may get lost."""
    door = worker.door
    alive = [chunk for chunk in world.made if chunk not in world.gone]
    what = random.choice(["put", "create", "create", "get", "get", "melt", "delete"])
    if what == "put" or not alive:
        volume = random.choice(world.volumes)
        made = sample(random.randrange(1, 6 * UNIT))
        made = Sample(new_chunk_id(), made.data, msgspec.structs.replace(made.record, content=os.urandom(16).hex()), made.units)
        await put(volume, made)
        world.made[made.chunk] = (volume, made)
        return
    chunk = random.choice(alive)
    volume, made = world.made[chunk]
    world.wishes[chunk] = what
    if what == "create":
        await door.create([item(volume, made)])
    elif what == "get":
        await door.get([item(volume, made)], random.choice([Kind.EXPEDITED, Kind.STANDARD, Kind.BULK]), 0)
    elif what == "melt":
        await door.melt([item(volume, made)])
    else:
        world.gone.add(chunk)
        await door.delete([item(volume, made)])
        await volume.delete([chunk])


async def repeat_wishes(world: World, worker: Worker) -> None:
    """What was asked last is asked again, as who had no answer does."""
    for chunk, wish in world.wishes.items():
        volume, made = world.made[chunk]
        what = [item(volume, made)]
        if wish == "create":
            await worker.door.create(what)
        elif wish == "get":
            await worker.door.get(what, Kind.STANDARD, 0)
        elif wish == "melt":
            await worker.door.melt(what)
        else:
            await worker.door.delete(what)
            await volume.delete([chunk])


async def assert_all_is_as_wished(world: World, worker: Worker) -> None:
    for chunk, (volume, made) in world.made.items():
        (found,) = await worker.door.states([item(volume, made)])
        copies, wish = len(world.freezer.copies(chunk)), world.wishes.get(chunk)
        if wish == "create":
            assert (found.state, copies) == ("cold", 1)
        elif wish == "get":
            assert (found.state, copies) in [("", 0), ("filled", 1)]
            assert await bytes_of(volume, made) == made.data
        elif wish == "delete":
            assert (found.state, copies) == ("", 0)
        else:
            assert (found.state, copies) == ("", 0)
            assert await bytes_of(volume, made) == made.data


async def test_whenever_the_worker_is_killed_nothing_is_lost_and_nothing_doubled(
    tmp_path: Path, volumes: dict[str, Volume], guillotine: Guillotine, seed: str, rounds: int
) -> None:
    random = Random(seed)
    for number in range(max(rounds // 5, 2)):
        path = tmp_path / str(number)
        world = World(list(volumes.values()), MemoryFreezer(range(5)))
        world.freezer.step = guillotine.step
        for _ in range(CRASHES_PER_ROUND):
            guillotine.scope, guillotine.left = trio.CancelScope(), random.randrange(STEPS_MAX)
            with guillotine.scope:
                async with working(path, volumes, world.freezer) as worker:
                    await repeat_wishes(world, worker)
                    while True:
                        await ask(world, worker, random)
                        await trio.sleep(random.random() * 0.01)
            await world.assert_nothing_is_absent()
        guillotine.scope, guillotine.left = trio.CancelScope(), -1
        async with working(path, volumes, world.freezer) as worker:
            await repeat_wishes(world, worker)
            await until(lambda: not worker.core.tasks, "all jobs are done")
            with trio.fail_after(SETTLE_S):
                while await worker.core.ledger.to_tidy(worker.core.now_us, 1, worker.core.usable()):  # noqa: ASYNC110
                    await trio.sleep(0.02)
            await assert_all_is_as_wished(world, worker)
        await world.assert_nothing_is_absent()


@pytest.mark.parametrize("wish", ["get", "melt", "lose"])
@pytest.mark.parametrize("was", ["sent", "filled"])
async def test_an_emptying_that_was_not_noted_is_found_by_who_wants_the_bytes_next(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch, was: str, wish: str
) -> None:
    """Also where nothing ended but the volume's disk answered too late; so what is asked comes before files are tidied."""
    freezer, volume = MemoryFreezer(), next(iter(volumes.values()))
    made, whole, cuts = await put(volume, sample(3 * UNIT)), ColdChunks._run, 0

    async def cut_off(self: Any, doing: str, *arguments: Any) -> Any:
        nonlocal cuts
        found = await whole(self, doing, *arguments)
        if doing == "emptying a chunk" and cuts >= 0:
            cuts += 1
            raise VolumeSick("it answered too late")
        return found

    now = [item(volume, made)]
    async with working(tmp_path, volumes, freezer) as worker:
        if was == "sent":
            monkeypatch.setattr(ColdChunks, "_run", cut_off)
        await worker.door.create(now)
        await until_state(worker, now[0], was if was == "sent" else "cold", asked=None)
        if was == "filled":
            await worker.door.get(now, Kind.EXPEDITED, 0)
            await until_state(worker, now[0], "filled")
            monkeypatch.setattr(ColdChunks, "_run", cut_off)
            await worker.door.create(now)
        await until(lambda: cuts > 0, "it is emptied")
    cuts = -1
    with pytest.raises(ChunkCold):
        await bytes_of(volume, made)
    async with open_worker(tmp_path / "ledger.db", volumes, freezer.dial, OPTIONS) as worker, trio.open_nursery() as nursery:
        if wish == "lose":
            assert await worker.door.lose(freezer.copies(made.chunk)[0]) == 1
            assert (await worker.door.states(now))[0].state == "lost"
            assert not worker.core.tasks
            return
        await (worker.door.get(now, Kind.EXPEDITED, 0) if wish == "get" else worker.door.melt(now))
        await nursery.start(worker.run)
        await until_state(worker, now[0], "filled" if wish == "get" else "")
        assert await bytes_of(volume, made) == made.data
        await until(lambda: not worker.core.tasks, "all jobs are done")
        assert len(freezer.copies(made.chunk)) == (wish == "get")
        nursery.cancel_scope.cancel()


async def test_a_freezer_that_fails_at_any_step_loses_nothing(tmp_path: Path, volumes: dict[str, Volume], seed: str) -> None:
    random = Random(seed)
    world = World(list(volumes.values()), MemoryFreezer(range(5)))

    async def step(_name: str, _disk: int) -> None:
        if random.random() < 0.05:
            world.freezer.powered = None  # a freezer that starts switches everything off
            raise random.choice(FAILURES)

    world.freezer.step = step
    async with working(tmp_path, volumes, world.freezer) as worker:
        for _ in range(60):
            await ask(world, worker, random)
            await trio.sleep(0.01)
        await world.assert_nothing_is_absent()
        world.freezer.step = MemoryFreezer._nothing
        await until(lambda: not worker.core.tasks, "all jobs are done")
        await repeat_wishes(world, worker)
        await until(lambda: not worker.core.tasks, "all jobs are done")
        with trio.fail_after(SETTLE_S):
            while await worker.core.ledger.to_tidy(worker.core.now_us, 1, worker.core.usable()):  # noqa: ASYNC110
                await trio.sleep(0.02)
        await assert_all_is_as_wished(world, worker)
