"""Three meta services and ZooKeeper as processes, under load, while what can die dies: what clients saw must be explained by one register
per key, and in the end all replicas are the same."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import apsw
import pytest
import trio

from meta.cluster.routing import RoutedMeta
from meta.coordinator import Coordinator
from meta.directory import container_id
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import ObjectRow
from meta.transaction import CONTAINER
from meta.writer import newest
from node.errors import FrazilError, ObjectNotFound
from tests.conftest import SCALE
from tests.sim.meta.history import Operation, linearizable
from tests.support.metas import MetaPeer, finished, meta_peers, routed
from tests.support.zookeeper import ZooKeeperServer, hosts, zookeeper

SESSION_S = 2.0
BUCKET = "pictures"
KEYS = ("x", "y", "z")
CLIENTS = 6
PAUSE_S = 0.02
"""Between two requests of a client."""


@dataclass
class Load:
    """Clients that put and get a few keys, and what they saw."""

    meta: RoutedMeta
    history: dict[str, list[Operation]] = field(default_factory=lambda: {key: [] for key in KEYS})
    acknowledged: list[float] = field(default_factory=list)
    values: Iterator[int] = field(default_factory=itertools.count)
    busy: bool = True

    async def client(self, number: int) -> None:
        container = self.meta.container(BUCKET)
        for turn in itertools.count(number):
            if not self.busy:
                return
            key = KEYS[turn % len(KEYS)]
            begin = time.monotonic()
            if turn % 2:
                value = f"content {next(self.values)}"
                try:
                    await container.put(ObjectRow(key, version=time.time_ns() // 1000, size=1, content=value, layout=b"x"))
                except FrazilError:
                    self.history[key].append(Operation("put", value, begin, inf))
                else:
                    self.history[key].append(Operation("put", value, begin, time.monotonic()))
                    self.acknowledged.append(time.monotonic())
            else:
                try:
                    found = (await container.get(key)).content
                except ObjectNotFound:
                    found = None
                except FrazilError:
                    continue
                self.history[key].append(Operation("get", found, begin, time.monotonic()))
            await trio.sleep(PAUSE_S)

    def gap_s(self, since: float) -> float:
        """The longest time without an acknowledged write after `since`."""
        times = [since, *(at for at in self.acknowledged if at > since)]
        return max(after - before for before, after in itertools.pairwise(times))

    def judge(self) -> None:
        assert len(self.acknowledged) > 50, "nothing was tried"
        for key, history in self.history.items():
            assert linearizable(history), f"the history of {key} has no order"


@dataclass
class Scene:
    zookeepers: list[ZooKeeperServer]
    peers: list[MetaPeer]
    meta: RoutedMeta
    coordinator: Coordinator
    load: Load

    async def leader(self) -> MetaPeer:
        address = await self.leader_address()
        return next(peer for peer in self.peers if peer.address == address)

    async def leader_address(self) -> str:
        of = (await self.meta.place(BUCKET)).set
        with trio.fail_after(20):
            while not (queue := await self.coordinator.candidates(of)):  # noqa: ASYNC110 - no event here
                await trio.sleep(0.05)
        return queue[0].address


@asynccontextmanager
async def scene(folder: Path, *, zookeepers: int = 1) -> AsyncIterator[Scene]:
    with zookeeper(folder, zookeepers) as servers:
        async with meta_peers(folder, hosts(servers), session_s=SESSION_S) as peers, routed(hosts(servers)) as (meta, coordinator):
            with trio.fail_after(30):
                await meta.create_bucket(BucketSettings(BUCKET, "ann", "owner", 1))
            load = Load(meta)
            async with trio.open_nursery() as nursery:
                for number in range(CLIENTS):
                    nursery.start_soon(load.client, number)
                await trio.sleep(1)
                yield Scene(servers, peers, meta, coordinator, load)
                await trio.sleep(1)
                load.busy = False
            load.judge()
            with trio.fail_after(60):
                await equal(peers)
            await finished(peers)


def dumps(peer: MetaPeer) -> list[object]:
    """Every replica of the bucket's base that the peer has."""
    number = container_id(BUCKET)
    found = []
    for path in sorted(peer.folder.glob(f"*/container/{number[:3]}/{number}.db")):
        db = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
        try:
            found.append((path.parts[-4], newest(db), [db.execute(f"SELECT * FROM {table}").fetchall() for table in CONTAINER.tables]))
        finally:
            db.close()
    return found


async def equal(peers: list[MetaPeer]) -> None:
    while not dumps(peers[0]) or any(dumps(peer) != dumps(peers[0]) for peer in peers[1:]):  # noqa: ASYNC110 - other processes' files
        await trio.sleep(0.1)


Fault = Callable[[Scene], Awaitable[None]]


async def kill_the_leader(scene: Scene) -> None:
    leader = await scene.leader()
    leader.kill()
    killed = time.monotonic()
    await trio.sleep(SESSION_S + 3)
    assert scene.load.gap_s(killed) < SESSION_S + 1
    leader.start()
    await trio.sleep(2)


async def stop_the_leader_beyond_its_session(scene: Scene) -> None:
    leader = await scene.leader()
    leader.send(signal.SIGSTOP)
    await trio.sleep(SESSION_S + 3)
    leader.send(signal.SIGCONT)
    await trio.sleep(3)


async def stop_the_leader_for_a_moment(scene: Scene) -> None:
    leader = await scene.leader()
    leader.send(signal.SIGSTOP)
    await trio.sleep(SESSION_S * 0.8)
    leader.send(signal.SIGCONT)
    await trio.sleep(2)


async def kill_a_follower(scene: Scene) -> None:
    leader = await scene.leader()
    follower = next(peer for peer in scene.peers if peer is not leader)
    before = sum(operation.end == inf for history in scene.load.history.values() for operation in history)
    follower.kill()
    await trio.sleep(3)
    follower.start()
    await trio.sleep(3)
    assert before == sum(operation.end == inf for history in scene.load.history.values() for operation in history)


async def zookeeper_is_away(scene: Scene) -> None:
    for server in scene.zookeepers:
        server.send(signal.SIGSTOP)
    await trio.sleep(SESSION_S * 3)
    for server in scene.zookeepers:
        server.send(signal.SIGCONT)
    await trio.sleep(8)


async def restart_one_after_the_other(scene: Scene) -> None:
    for peer in scene.peers:
        await finished([peer])
        peer.start()
        await trio.sleep(3)


async def one_after_the_other(scene: Scene) -> None:
    for fault in (kill_the_leader, kill_a_follower, stop_the_leader_beyond_its_session):
        await fault(scene)


ALONE = (kill_the_leader, stop_the_leader_beyond_its_session, stop_the_leader_for_a_moment, kill_a_follower, zookeeper_is_away)


@pytest.mark.parametrize("fault", [*(ALONE if SCALE > 1 else ()), one_after_the_other])
async def test_nothing_acknowledged_is_lost_and_nothing_stale_is_read(scratch: Path, fault: Fault) -> None:
    async with scene(scratch) as played:
        await fault(played)


@pytest.mark.skipif(SCALE <= 1, reason="takes half a minute: FRAZIL_TEST_SCALE above 1")
async def test_a_restart_of_one_after_the_other_fails_no_write(scratch: Path) -> None:
    async with scene(scratch) as played:
        await restart_one_after_the_other(played)
        assert not any(operation.end == inf for history in played.load.history.values() for operation in history)


@pytest.mark.skipif(SCALE <= 1, reason="takes a minute: FRAZIL_TEST_SCALE above 1")
async def test_the_death_of_the_leader_of_zookeeper_is_survived(scratch: Path) -> None:
    async with scene(scratch, zookeepers=3) as played:
        server = next(server for server in played.zookeepers if server.mode() == "leader")
        server.stop()
        await trio.sleep(10)
        server.start()
        await trio.sleep(5)
