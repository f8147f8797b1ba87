"""Elections as ZooKeeper gives them: a session that misses its time-out loses its candidacy, and each new leader has a higher epoch."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from node.errors import Unavailable
from tests.sim.meta.world import Machine, World

SESSION_S = 1.5
HEARTBEAT_S = 0.25
LEASE_S = SESSION_S * 2 / 3
"""How long after sending a heartbeat that was answered a node trusts that its session lives."""


@dataclass
class _Session:
    number: int
    heard_s: float


class Coordinator:
    """One service, always well; only the ways to it are cut. Runs on a machine of its own."""

    def __init__(self, world: World, machine: Machine) -> None:
        self.machine = machine
        self._world = world
        self._sessions: dict[str, _Session] = {}
        self._numbers = 0
        self._leader: tuple[str, int, int] | None = None  # node, session, epoch
        self.elections = 0

    async def beat(self, node: str, session: int, refused: int) -> tuple[int, int]:
        """Opens (0) or keeps a session; its number, another one when the old is gone, and the epoch if it leads, else 0.

        refused: an epoch that the node gave up.
        """
        known = self._sessions.get(node)
        if known is None or known.number != session:
            self._numbers += 1
            known = self._sessions[node] = _Session(self._numbers, 0.0)
        known.heard_s = trio.current_time()
        return known.number, self._stand(node, known.number, refused)

    def _stand(self, node: str, session: int, refused: int) -> int:
        self._expire()
        if self._leader is not None and self._leader == (node, session, refused):
            self._leader = None
            return 0  # others first
        if self._leader is None:
            self._numbers += 1
            self.elections += 1
            self._leader = (node, session, self._numbers)
        return self._leader[2] if self._leader[:2] == (node, session) else 0

    def _expire(self) -> None:
        now = trio.current_time()
        self._sessions = {node: session for node, session in self._sessions.items() if now - session.heard_s < SESSION_S}
        if self._leader is not None:
            session = self._sessions.get(self._leader[0])
            if session is None or session.number != self._leader[1]:
                self._leader = None


class Candidacy:
    """A node's view: its session, and until when it may trust it."""

    def __init__(self, world: World, machine: Machine, coordinator: Coordinator) -> None:
        self._world = world
        self._machine = machine
        self._coordinator = coordinator
        self._session = 0
        self._epoch = self._refused = 0
        self._changed = trio.Event()
        self._elected_in = 0
        self._until_s = 0.0

    @property
    def alive(self) -> bool:
        """Whether the session in which this node was elected surely lives; a later one of the same node is no help."""
        return not self.lost and trio.current_time() < self._until_s

    @property
    def lost(self) -> bool:
        """Whether this node knows that the session in which it was elected is over."""
        return self._session != self._elected_in

    async def keep(self) -> None:
        beat, there = self._coordinator.beat, self._coordinator.machine
        while True:
            sent_s = trio.current_time()
            try:
                found = await self._world.call(self._machine, there, beat, self._machine.name, self._session, self._refused, once=True)
            except Unavailable:
                continue
            self._session, self._epoch = found
            self._until_s = sent_s + LEASE_S
            self._changed.set()
            self._changed = trio.Event()
            await self._world.sleep(self._machine, 2 * HEARTBEAT_S)

    async def elected(self, refused: int) -> int:
        """Waits until this node leads; the epoch."""
        self._refused = refused
        while not self._epoch or self._epoch == refused:
            await self._changed.wait()
            await self._machine.gate()
        self._elected_in = self._session
        return self._epoch
