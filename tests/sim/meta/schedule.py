"""One seed: three nodes, clients that put and get, faults at random; then all faults end, and everything must be as promised."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf

import trio

from meta.commit import Entry, Header
from node.errors import FrazilError, NotLeader
from tests.sim.meta.coordinator import Coordinator
from tests.sim.meta.history import Operation, linearizable
from tests.sim.meta.node import Node
from tests.sim.meta.world import Calendar, Machine, World, run

NODES = ("a", "b", "c")
KEYS = ("x", "y")
CLIENTS = (0.9, 0.5, 0.1)
"""How many of each client's requests are puts."""
FAULTS_S = 10.0
SETTLE_S = 120.0


@dataclass
class Outcome:
    """puts, gets: answered ones; problems: [] when every promise held."""

    puts: int = 0
    gets: int = 0
    elections: int = 0
    crashes: int = 0
    problems: list[str] = field(default_factory=list)


def play(seed: int, *, node: type[Node] = Node) -> Outcome:
    """node: the class of nodes, so that a test may plant a bug."""
    return run(seed, _Schedule(seed, node).main)


def _both(one: str, other: str) -> set[tuple[str, str]]:
    return {(one, other), (other, one)}


class _Schedule:
    def __init__(self, seed: int, kind: type[Node]) -> None:
        self.random = random.Random(seed)
        self.kind = kind
        self.outcome = Outcome()
        self.history: dict[str, list[Operation]] = {key: [] for key in KEYS}
        self.chosen: dict[Header, Entry] = {}
        self.values = 0
        self.busy = True

    async def main(self, calendar: Calendar) -> Outcome:
        async with trio.open_nursery() as nursery:
            self.world = World(
                self.random,
                calendar,
                delay_s=self.random.choice((0.01, 0.05)),
                loss=self.random.choice((0, 0, 0.1, 0.3)),
                doubling=self.random.choice((0, 0.2)),
            )
            machine = Machine("coordinator", life=nursery)
            coordinator = Coordinator(self.world, machine)
            nodes = {name: self.kind(self.world, name, coordinator, self.observe) for name in NODES}
            self.lives: dict[str, trio.CancelScope] = {}
            for name, node in nodes.items():
                node.meet(nodes)
                self.lives[name] = await nursery.start(node.live)
            self.nodes = nodes
            async with trio.open_nursery() as clients:
                for number, puts in enumerate(CLIENTS):
                    clients.start_soon(self.client, Machine(f"client{number}"), puts)
                await self.torment(nursery, machine)
                self.busy = False
            await self.settle()
            self.outcome.elections = coordinator.elections
            calendar.end()
            nursery.cancel_scope.cancel()
        self.judge()
        return self.outcome

    def observe(self, node: Node, entry: Entry) -> None:
        """Two entries with one header are the end of all promises."""
        if self.chosen.setdefault(entry.header, entry) != entry:
            self.outcome.problems.append(f"two entries for {entry.header}")

    async def client(self, machine: Machine, puts: float) -> None:
        """Stays with a node for as long as that does not send it away, as clients do that remember who leads."""
        node = self.nodes[self.random.choice(NODES)]
        while self.busy:
            await trio.sleep(self.random.random() * 0.2)
            key = self.random.choice(KEYS)
            if not await (self.put if self.random.random() < puts else self.get)(machine, node, key):
                node = self.nodes[self.random.choice(NODES)]

    async def put(self, machine: Machine, node: Node, key: str) -> bool:
        self.values += 1
        value = str(self.values)
        begin = trio.current_time()
        try:
            await self.world.call(machine, node.machine, node.put, key, value, once=True)
        except NotLeader as error:
            if "does not lead" in str(error):
                return False
            self.history[key].append(Operation("put", value, begin, inf))
        except FrazilError:
            self.history[key].append(Operation("put", value, begin, inf))
        else:
            self.history[key].append(Operation("put", value, begin, trio.current_time()))
            self.outcome.puts += 1
        return True

    async def get(self, machine: Machine, node: Node, key: str) -> bool:
        begin = trio.current_time()
        try:
            value = await self.world.call(machine, node.machine, node.get, key, once=True)
        except FrazilError:
            return False
        self.history[key].append(Operation("get", value, begin, trio.current_time()))
        self.outcome.gets += 1
        return True

    # Faults

    async def torment(self, nursery: trio.Nursery, coordinator: Machine) -> None:
        """Each seed knows a few kinds of faults at a pace of its own: all of them at once would hide what some of them show.

        Source: Groce and others: Swarm Testing (2012).
        """
        kinds = self.random.sample(range(7), self.random.randint(1, 4))
        pause_s = self.random.choice((0.5, 1.5, 3.0))
        end = trio.current_time() + FAULTS_S
        while trio.current_time() < end:
            await trio.sleep(self.random.random() * pause_s)
            leading = [node for node in self.nodes.values() if node.serving]
            node = self.random.choice(leading if leading and self.random.random() < 0.6 else list(self.nodes.values()))
            other = self.nodes[self.random.choice([name for name in NODES if name != node.machine.name])]
            match self.random.choice(kinds):
                case 0 | 1:
                    nursery.start_soon(self.crash, nursery, [node])
                case 2:
                    nursery.start_soon(self.crash, nursery, list(self.nodes.values()))
                case 3:
                    if node.machine.running is None:
                        node.machine.running = trio.Event()
                    nursery.start_soon(self.resume, node)
                case 4:
                    nursery.start_soon(self.part, {(node.machine.name, other.machine.name)})
                case 5:
                    others = [name for name in NODES if name != node.machine.name]
                    nursery.start_soon(self.part, {way for name in others for way in _both(node.machine.name, name)})
                case 6:
                    nursery.start_soon(self.part, _both(node.machine.name, coordinator.name))

    async def part(self, ways: set[tuple[str, str]]) -> None:
        self.world.cut |= ways
        await trio.sleep(self.random.random() * 5)
        self.world.cut -= ways

    async def crash(self, nursery: trio.Nursery, nodes: list[Node]) -> None:
        down = [node for node in nodes if node.machine.life is not None]
        for node in down:
            self.outcome.crashes += 1
            node.machine.life = None
            self.lives[node.machine.name].cancel()
        await trio.sleep(self.random.random() * 4)
        for node in down:
            self.lives[node.machine.name] = await nursery.start(node.live)

    async def resume(self, node: Node) -> None:
        await trio.sleep(self.random.random() * 8)
        if node.machine.running is not None:
            node.machine.running.set()
            node.machine.running = None

    # The end

    async def settle(self) -> None:
        """All faults are over: a write must succeed, and all logs become one, without a command."""
        self.world.cut.clear()
        self.world.loss = self.world.doubling = 0.0
        machine = Machine("last client")
        with trio.move_on_after(SETTLE_S):
            await self._until(0.5, lambda: self._last_write(machine))
            await self._until(0.5, self._all_equal)
            for key in KEYS:
                await self._until(0.1, partial(self._read_anywhere, machine, key))
            return
        self.outcome.problems.append(f"not settled: {list(self.nodes.values())}")

    @staticmethod
    async def _until(pause_s: float, reached: Callable[[], Awaitable[bool]]) -> None:
        """Virtual time costs nothing, so it is simply looked at again."""
        while not await reached():  # noqa: ASYNC110
            await trio.sleep(pause_s)

    async def _all_equal(self) -> bool:
        return len({(node.log.state.header, node.log.state.values) for node in self.nodes.values()}) == 1

    async def _read_anywhere(self, machine: Machine, key: str) -> bool:
        return await self.get(machine, self.nodes[self.random.choice(NODES)], key)

    async def _last_write(self, machine: Machine) -> bool:
        before = self.outcome.puts
        await self.put(machine, self.nodes[self.random.choice(NODES)], KEYS[0])
        return self.outcome.puts > before

    def judge(self) -> None:
        for key, history in self.history.items():
            if not linearizable(history):
                self.outcome.problems.append(f"the history of {key} is not linearizable")
