"""A cluster of meta services in this process: real HTTP, real files; the Coordinator is local, so a test says when a session ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trio

from meta.cluster.process import MetaOptions, MetaProcess, serve_meta
from meta.cluster.routing import RoutedMeta
from meta.coordinator import LocalCoordinator
from node.clock import SystemClock
from node.http.client import Client
from node.http.server import listen
from tests.component.meta.conftest import KEY


@dataclass
class Cluster:
    folder: Path
    nursery: trio.Nursery
    meta: RoutedMeta
    coordinator: LocalCoordinator
    processes: dict[str, MetaProcess] = field(default_factory=dict)
    scopes: dict[str, trio.CancelScope] = field(default_factory=dict)
    drains: dict[str, trio.Event] = field(default_factory=dict)
    ended: dict[str, trio.Event] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    async def start(self, name: str) -> MetaProcess:
        listeners = listen("127.0.0.1", self.ports.get(name, 0))
        self.ports[name] = listeners[0].getsockname()[1]
        self.drains[name] = trio.Event()
        options = MetaOptions(self.folder / name, f"127.0.0.1:{self.ports[name]}")
        serve = partial(serve_meta, options, listeners, coordinator=self.coordinator, key=KEY, clock=SystemClock(), drain=self.drains[name])
        self.scopes[name] = trio.CancelScope()
        self.ended[name] = trio.Event()

        async def run(*, task_status: trio.TaskStatus[MetaProcess]) -> None:
            with self.scopes[name]:
                await serve(task_status=task_status)
            self.ended[name].set()

        process: MetaProcess = await self.nursery.start(run)
        self.processes[name] = process
        return process

    async def kill(self, name: str) -> None:
        """As kill -9, but for what the other services see of its session."""
        self.scopes[name].cancel()
        process = self.processes.pop(name)
        await self.coordinator.withdraw(f"peer/{process.peer.name}")
        self.coordinator.expire(process.peer.name)
        await self.ended[name].wait()

    def leader(self, of: str) -> str | None:
        """Name of the process that leads the set."""
        found = [name for name, process in self.processes.items() if of in process.members and process.members[of].reign is not None]
        return found[0] if len(found) == 1 else None


@asynccontextmanager
async def open_cluster(folder: Path, names: str = "abc") -> AsyncIterator[Cluster]:
    coordinator = LocalCoordinator()
    async with Client(key=KEY) as client, trio.open_nursery() as nursery:
        cluster = Cluster(folder, nursery, RoutedMeta(coordinator, client), coordinator)
        for name in names:
            await cluster.start(name)
        yield cluster
        for drain in cluster.drains.values():
            drain.set()
        nursery.cancel_scope.cancel()


@pytest.fixture
async def cluster(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    for name in ("process.SETTLE_S", "process.RETRY_S", "care.PING_S", "care.STEP_S"):
        monkeypatch.setattr(f"meta.cluster.{name}", 0.1)
    monkeypatch.setattr("meta.cluster.link.DOWN_S", 0.05)
    for name in ("member.AGREE_S", "reign.AGREE_S"):
        monkeypatch.setattr(f"meta.cluster.{name}", 1.0)
    monkeypatch.setattr("meta.leader.RETRY_S", (0.05, 0.2))
    async with open_cluster(scratch) as cluster:
        yield cluster
