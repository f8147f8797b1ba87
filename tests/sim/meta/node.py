"""A simulated node: one base's follower and, when elected, its leader, over a disk and a network that misbehave.

What is under test is meta/peer.py and meta/leader.py; this is the thin shell that the product has around SQLite and HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio

from meta.commit import Entry, Header
from meta.leader import Leader
from meta.peer import Follower, Standing, check_source
from node.errors import FrazilError, NotLeader, Undecided
from tests.sim.meta.coordinator import Candidacy, Coordinator
from tests.sim.meta.disk import SimLog, State
from tests.sim.meta.world import Machine, World

BASE = "base"
SYNC_S = 0.02


class Node:
    """follower_kind, leader_kind: what is under test, or a broken form of it."""

    follower_kind: type[Follower[State]] = Follower
    leader_kind: type[Leader] = Leader
    log_kind: Callable[[], Any] = SimLog

    def __init__(self, world: World, name: str, coordinator: Coordinator, observe: Callable[[Node, Entry], None]) -> None:
        self.machine = Machine(name)
        self.log = self.log_kind()
        self.follower = self.follower_kind(self.log)
        self.leader: Leader | None = None
        self.serving = False
        self.visible = self.log.state
        self._world = world
        self._coordinator = coordinator
        self._observe = observe
        self._nodes: Mapping[str, Node] = {}
        self._writing = trio.Lock()

    def __repr__(self) -> str:
        return f"<Node {self.machine.name} {self.log.standing()} {self.leader!r}>"

    @property
    def trusted(self) -> bool:
        """Whether nobody else can lead by now, so that this node may answer reads by itself. Writes need no trust: peers fence them."""
        return self.candidacy.alive

    def meet(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes

    async def live(self, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        """One incarnation, until its scope is cancelled: which is a crash."""
        self._writing = trio.Lock()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as life:
                self.machine.life = life
                self.machine.running = None
                self.candidacy = Candidacy(self._world, self.machine, self._coordinator)
                life.start_soon(self.candidacy.keep)
                task_status.started(scope)
                await self._lead_when_elected()
        self.machine.life = None
        self.leader, self.serving = None, False
        self.log.crash(self._world.random)

    async def _lead_when_elected(self) -> None:
        epoch = 0
        while True:
            epoch = await self.candidacy.elected(epoch)
            async with trio.open_nursery() as nursery:
                others = [Remote(self._world, self.machine, other) for name, other in self._nodes.items() if other is not self]
                self.leader = self.leader_kind(epoch, Own(self), others, nursery=nursery, agree_s=1.0)
                try:
                    await self.leader.take_over(BASE)
                    self.visible = self.log.state
                    self.serving = True
                    while not self.leader.over and not self.candidacy.lost:
                        await self._world.sleep(self.machine, 0.3)
                except FrazilError:
                    pass  # another election
                self.serving = False
                self.leader.end()
                nursery.cancel_scope.cancel()

    # What leaders and laggards ask

    async def survey(self, epoch: int) -> Standing:
        return await self._durable(self.follower.survey, epoch)

    async def append(self, epoch: int, entry: Entry) -> Standing:
        before = self.log.standing().header
        standing = await self._durable(self.follower.append, epoch, entry)
        if standing.header == entry.header and before != entry.header:
            self._observe(self, entry)
        return standing

    async def pull(self, epoch: int, source: str) -> Standing:
        other = self._nodes[source]
        standing = self.follower.survey(epoch)
        while True:
            entries = await self._world.call(self.machine, other.machine, other.after, epoch, standing.header)
            if entries is None:
                snapshot, header = await self._world.call(self.machine, other.machine, other.snapshot, epoch)
                return await self._durable(self.follower.install, epoch, snapshot, header)
            if not entries:
                return await self._durable(self.follower.survey, epoch)
            for entry in entries:
                standing = await self._durable(self.follower.append, epoch, entry)

    async def after(self, epoch: int, header: Header) -> list[Entry] | None:
        check_source(self.log.standing().promised, epoch)
        return await self._durable(self.log.after, header)

    async def snapshot(self, epoch: int) -> tuple[State, Header]:
        check_source(self.log.standing().promised, epoch)
        copy = self.log.copy()
        await self._flush()
        return copy

    async def _durable(self, function, *args):  # type: ignore[no-untyped-def]
        """The decision is atomic; nobody hears of it before it is on disk."""
        result = function(*args)
        await self._flush()
        return result

    async def _flush(self) -> None:
        mark = self.log.mark()
        await self._world.sleep(self.machine, SYNC_S)
        self.log.sync(mark)

    # What clients ask

    async def put(self, key: str, value: str) -> None:
        async with self._writing:
            leader = self._serving()
            header = self.log.state.header
            entry = Entry(BASE, header, Header(leader.epoch, header.index + 1), self.log.change(key, value))
            refused: list[FrazilError] = []

            async def whole(part: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
                try:
                    await part(*arguments)
                except FrazilError as error:
                    leader.end()
                    refused.append(error)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(whole, leader.replicate, entry)
                nursery.start_soon(whole, self._commit, leader.epoch, entry)
            if refused:
                raise Undecided("the next leader finds out") from refused[0]
            leader.committed(entry)

    async def _commit(self, epoch: int, entry: Entry) -> None:
        standing = await self.append(epoch, entry)
        if standing.header != entry.header:
            raise NotLeader("fenced between agreement and commit")
        self.visible = self.log.state

    async def get(self, key: str) -> str | None:
        leader = self._serving()
        seen = self.visible
        await leader.settled(seen.header)
        self._serving()
        if not self.trusted:
            raise NotLeader(f"{self.machine.name} does not lead surely")
        return seen.table.get(key)

    def _serving(self) -> Leader:
        if self.leader is None or not self.serving or self.leader.over:
            raise NotLeader(f"{self.machine.name} does not lead")
        return self.leader


class Own:
    """A node as its own leader's peer."""

    def __init__(self, node: Node) -> None:
        self.name = node.machine.name
        self.survey, self.append, self.pull = node.survey, node.append, node.pull


class Remote:
    """A node as another's leader sees it: over the network."""

    def __init__(self, world: World, here: Machine, node: Node) -> None:
        self.name = node.machine.name
        self._world, self._here, self._node = world, here, node

    async def survey(self, epoch: int) -> Standing:
        return await self._world.call(self._here, self._node.machine, self._node.survey, epoch)

    async def append(self, epoch: int, entry: Entry) -> Standing:
        return await self._world.call(self._here, self._node.machine, self._node.append, epoch, entry)

    async def pull(self, epoch: int, source: str) -> Standing:
        return await self._world.call(self._here, self._node.machine, self._node.pull, epoch, source)
