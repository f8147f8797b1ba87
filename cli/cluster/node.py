"""What every process of a node begins with: the key, the others' clock, ZooKeeper, the list of services, and the agent."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import trio

from cli.cluster.config import NodeConfig, host_port
from meta.conscience.client import Agent, Directory
from meta.conscience.protocol import Registration
from meta.coordinator import Coordinator, Document, parsed, tell, unreadable
from meta.zookeeper import open_zookeeper
from node.auth import NamespaceKey
from node.clock import SharedClock, SystemClock
from node.errors import ConfigError, DocumentUnreadable, Superseded, Unavailable
from node.files import write_durably
from node.http.client import Client
from node.log import get_logger
from node.statistics import Disk, Latency, Processor
from node.threads import run_blocking
from node.tls import Tls, open_tls
from store.parallel import crew

NAMESPACE_DOCUMENT = "namespace"
CONSCIENCES = "conscience"
"""Folder of the instances' announcements; each says its address."""
NODE_ID = "node.id"
NAMESPACE_FILE = "namespace.json"
RETRY_S = 1.0
SILENT = ("gateway", "freezer")
"""What is not HTTP between services: these tell their log elsewhere."""
_log = get_logger("node")


class NamespaceRecord(msgspec.Struct, frozen=True):
    """id: 16 hex digits, as the volumes carry it."""

    id: str
    v: int = 1


class Consciences:
    """The addresses of the conscience instances. One that went stays known until another comes: it may only have lost ZooKeeper."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._by_name: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Consciences {self._by_name}>"

    def addresses(self) -> Sequence[str]:
        return list(dict.fromkeys(self._by_name.values()))

    async def look(self) -> None:
        """Raises: Unavailable."""
        for name in await self._coordinator.names(CONSCIENCES):
            self._take(name, await self._coordinator.read(f"{CONSCIENCES}/{name}"))

    async def watch(self) -> None:
        """For ever."""
        watched: set[str] = set()
        async with trio.open_nursery() as nursery, aclosing(self._coordinator.watch_names(CONSCIENCES)) as changes:
            async for names in changes:
                self._keep(names)
                for name in set(names) - watched:
                    watched.add(name)
                    nursery.start_soon(self._watch_one, name)

    async def _watch_one(self, name: str) -> None:
        """It may come back at another address before its name was seen to be gone."""
        async with aclosing(self._coordinator.watch(f"{CONSCIENCES}/{name}")) as changes:
            async for document in changes:
                self._take(name, document)

    def _take(self, name: str, document: Document) -> None:
        if document.version:
            try:
                self._by_name = self._by_name | {name: address_of(f"{CONSCIENCES}/{name}", document)}
            except DocumentUnreadable as error:
                tell(error)

    def _keep(self, names: Sequence[str]) -> None:
        """Others are forgotten once as many are there as were known."""
        there = {name: address for name, address in self._by_name.items() if name in names}
        if there and len(names) >= len(self._by_name):
            self._by_name = there


def address_of(name: str, document: Document) -> str:
    """What a service announced. Raises: DocumentUnreadable."""
    try:
        host_port(found := document.data.decode(), name)
    except (UnicodeDecodeError, ConfigError) as error:
        raise unreadable(name, document, error) from error
    return found


@dataclass(slots=True)
class Node:
    """services: asked each second what this process runs; each answers its registrations as they are now."""

    config: NodeConfig
    key: NamespaceKey
    clock: SharedClock
    client: Client
    tls: Tls
    coordinator: Coordinator
    consciences: Consciences
    directory: Directory
    namespace: str
    id: str
    address: str
    nursery: trio.Nursery
    services: list[Callable[[], Sequence[Registration]]] = field(default_factory=list)
    processor: Processor = field(default_factory=Processor)
    draining: bool = False

    def registration(
        self, kind: str, port: int, disk: Disk | None = None, latency: Latency | None = None, *, problem: str = ""
    ) -> Registration:
        """Of a service that there is one of on a node."""
        measured = {**(disk.sample() if disk else {}), **(latency.sample() if latency else {})}
        return Registration(
            f"{kind}-{self.id}",
            kind,
            f"{self.address}:{port}",
            socket.gethostname(),
            self.config.place,
            statistics={"cpu": round(self.processor.sample(), 1), **measured},
            problem=problem,
            draining=self.draining,
            log="" if kind in SILENT else f"{self.address}:{port}",
        )

    def collect(self) -> list[Registration]:
        return [registration for service in self.services for registration in service()]


@asynccontextmanager
async def open_node(config: NodeConfig, *, name: str, wait_s: float = math.inf) -> AsyncIterator[Node]:
    """name: of the process, for its own files; wait_s: how long to wait for ZooKeeper.

    Raises: ConfigError (no key, another's namespace, impossible settings); Unavailable.
    """
    key = NamespaceKey.load(config.key)
    address = config.reached_at()
    tls = open_tls(config.tls, address)
    clock = SharedClock()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(key=key, tls=tls.client))
        coordinator = await stack.enter_async_context(_waited_for(config, key, wait_s))
        consciences = Consciences(coordinator)
        await consciences.look()
        directory = Directory(client, consciences.addresses, cache=config.state / f"services-{name}.json")
        nursery = await stack.enter_async_context(crew())
        stack.callback(nursery.cancel_scope.cancel)
        node = Node(
            config,
            key,
            clock,
            client,
            tls,
            coordinator,
            consciences,
            directory,
            await _namespace(coordinator, config.state / NAMESPACE_FILE),
            _node_id(config.state),
            address,
            nursery,
        )
        nursery.start_soon(consciences.watch)
        nursery.start_soon(tls.keep)
        yield node


async def report_services(node: Node) -> None:
    """For ever."""
    agent = Agent(node.client, node.consciences.addresses, node.collect)
    agent.heard_dates = node.clock.heard
    await agent.run()


@asynccontextmanager
async def _waited_for(config: NodeConfig, key: NamespaceKey, wait_s: float) -> AsyncIterator[Coordinator]:
    until = trio.current_time() + wait_s
    while True:
        try:
            context = open_zookeeper(config.hosts, config.namespace, key=key, clock=SystemClock())
            coordinator = await context.__aenter__()
            break
        except Unavailable as error:
            if trio.current_time() >= until:
                raise
            _log.warning("waiting for ZooKeeper: %s", error)
            await trio.sleep(RETRY_S)
    async with AsyncExitStack() as stack:
        stack.push_async_exit(context)
        yield coordinator


async def _namespace(coordinator: Coordinator, path: Path) -> str:
    """The namespace's id, made by whoever asks first, and kept by every node: ZooKeeper may lose it.

    Raises: ConfigError when this node has belonged to another one; Unavailable.
    """
    kept = await run_blocking(_kept_namespace, path)
    while True:
        document = await coordinator.read(NAMESPACE_DOCUMENT)
        if document.version:
            break
        made = kept or NamespaceRecord(os.urandom(8).hex())
        with contextlib.suppress(Superseded):
            await coordinator.write(NAMESPACE_DOCUMENT, msgspec.json.encode(made), version=0)
    try:
        found = parsed(NAMESPACE_DOCUMENT, document, NamespaceRecord)
    except DocumentUnreadable as error:
        if kept is None:
            raise
        tell(error)
        return kept.id
    if kept is None:
        await run_blocking(_write_first, path, msgspec.json.encode(found))
    elif kept != found:
        raise ConfigError(f"{path} says that this node belongs to the namespace {kept.id}; ZooKeeper has {found.id}: check `zookeeper`")
    return found.id


def _kept_namespace(path: Path) -> NamespaceRecord | None:
    """Raises: ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return msgspec.json.decode(path.read_bytes(), type=NamespaceRecord)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"{path} can't be used for the node's state: {error}") from error


def _node_id(state: Path) -> str:
    """This node's, made at its first start. Raises: ConfigError."""
    path = state / NODE_ID
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            _write_first(path, os.urandom(8).hex().encode() + b"\n")
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{state} can't be used for the node's state: {error}") from error


def _write_first(path: Path, data: bytes) -> None:
    """Unless another process of the node was first: what that wrote stays. Raises: OSError."""
    own = path.with_name(f"{path.name}.{os.getpid()}")
    write_durably(own, data)
    with contextlib.suppress(FileExistsError):
        os.link(own, path)
    own.unlink()
