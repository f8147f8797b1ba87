"""What of the cold tier a node runs: freezers of the boards that hang on it, workers of their buses beside the volumes they serve.

Each has a file of its own, as where a store runs in one process; namespace, key and where a worker listens are the node's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from cli.cluster.config import NodeConfig
from cli.cluster.node import Node
from cli.serve import bind
from glacier.cluster import ClusterBoards
from glacier.config import FreezerConfig
from glacier.daemon import open_freezer
from glacier.daemon import serve_freezer as run_freezer
from glacier.pace import RATE_BYTES_MIN, Rate
from glacier.worker.config import WorkerConfig
from glacier.worker.daemon import open_daemon
from glacier.worker.daemon import serve_worker as run_worker
from glacier.worker.protocol import ITEMS_MAX, Item
from glacier.worker.wire import remote_worker
from glacier.worker.worker import Worker
from meta.conscience.protocol import Registration
from node.config import load
from node.errors import ConfigError, FrazilError
from node.http.client import Client
from node.http.server import serve
from node.log import get_logger
from node.logbook import LogCall, nothing_else
from rawx.volume import Forget
from store.location import Location
from store.namespace import DOCUMENT, NamespaceSettings, SiteSettings

COUNT_S = 5.0
"""How often the workers of a site are counted."""
log = get_logger("node")
WAITS = "waits for the freezer at {}"


def board_config(node: NodeConfig, namespace: str, path: Path) -> FreezerConfig:
    """Raises: ConfigError."""
    return replace(load(FreezerConfig, path), namespace=namespace, key=node.key)


def worker_configs(node: NodeConfig, address: str, namespace: str) -> list[WorkerConfig]:
    """address: of this host. Raises: ConfigError, also when two workers would have the same volume."""
    files, configs = node.worker.buses, []
    for number, path in enumerate(files):
        config = load(WorkerConfig, path)
        volumes = tuple(path.parent / volume for volume in config.volumes)
        if not volumes and len(files) == 1:
            volumes = node.rawx.volumes
        listen = f"{address}:{node.worker.port + number}"
        configs.append(replace(config, listen=listen, namespace=namespace, key=node.key, volumes=volumes))
    _check(node, configs)
    return configs


def _check(node: NodeConfig, configs: Sequence[WorkerConfig]) -> None:
    taken: dict[Path, Path] = {}
    ours = {volume.absolute() for volume in node.rawx.volumes}
    for path, config in zip(node.worker.buses, configs, strict=True):
        if not config.volumes:
            raise ConfigError(f"{path}: volumes is empty; where a host has several workers each names its own volumes")
        for volume in config.volumes:
            if volume.absolute() not in ours:
                raise ConfigError(f"{path}: {volume} is no volume of this node; rawx.volumes of its file names them")
            if volume.absolute() in taken:
                raise ConfigError(f"{path}: {volume} is in {taken[volume.absolute()]} as well; a volume has one worker")
            taken[volume.absolute()] = path


class Home(NamedTuple):
    """Where cold chunks of a volume go: the worker's address, and the data centre of its boards."""

    worker: str = ""
    site: str = ""


def homes(node: Node) -> dict[Path, Home]:
    """Of the volumes of this host that have a worker. Raises: ConfigError."""
    configs = worker_configs(node.config, node.address, node.namespace)
    return {volume.absolute(): Home(config.listen, site_of(node, config)) for config in configs for volume in config.volumes}


def site_of(node: Node, config: WorkerConfig) -> str:
    """As the worker's file names it, or else this host's own data centre, if its location tells one."""
    return config.site or Location.parse(f"{node.config.place}.disk").parts[0]


async def follow_rate(node: Node, site: str, config: WorkerConfig, rate: Rate) -> None:
    """For ever: keeps a worker's share of what the namespace's settings allow to its site, and within its file's own limit.

    What `glacier pace` set stays until the share is another.
    """
    shared: float | None = None
    async with aclosing(node.coordinator.watch(DOCUMENT)) as changes, trio.open_nursery() as nursery:
        settings = NamespaceSettings()

        def apply() -> None:
            nonlocal shared
            workers = sum(each.registration.site == site for each in node.directory.of_kind("worker"))
            share = share_of(settings.sites.get(site, SiteSettings()).rate_bytes, workers)
            if share != shared and not (share == 0.0 and shared is None):
                shared = share
                rate.bytes_s = min(filter(None, (share, config.rate_bytes)), default=0.0)

        async def count() -> None:
            while True:
                await trio.sleep(COUNT_S)
                apply()

        nursery.start_soon(count)
        async for document in changes:
            if document.version:
                try:
                    settings = NamespaceSettings.decode(document.data)
                except FrazilError as error:  # what was known stands
                    log.error("the namespace's settings can't be used: %s", error)
                apply()


def share_of(rate_bytes: float, workers: int) -> float:
    """Of each worker of a site; 0: no limit. Never less than a worker's least."""
    return max(rate_bytes / max(workers, 1), RATE_BYTES_MIN) if rate_bytes else 0.0


def forget_at(client: Client, address: str) -> Forget:
    """What a volume asks of its worker before it deletes chunks that were cold."""
    door = remote_worker(client, address)

    async def forget(volume: str, chunks: Sequence[str]) -> None:
        for at in range(0, len(chunks), ITEMS_MAX):
            await door.delete([Item(volume, chunk) for chunk in chunks[at : at + ITEMS_MAX]])

    return forget


def boards_of(node: Node) -> ClusterBoards:
    """The namespace's cold tier, for as long as the node's process lives."""
    boards = ClusterBoards(node.client, node.directory)
    node.directory.listeners.append(boards.arrange)
    return boards


async def serve_freezer(node: Node, drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    sockets = bind((node.config.listen, 0), shared=False)
    log = f"{node.address}:{sockets[0].getsockname()[1]}"
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, LogCall(nothing_else, node.key), sockets, tls=node.tls.server, name="log", drain=drain))
        for number, path in enumerate(node.config.freezer.boards):
            await nursery.start(_serve_board, node, number, board_config(node.config, node.namespace, path), log, drain)
        task_status.started()


async def _serve_board(
    node: Node, number: int, config: FreezerConfig, log: str, drain: trio.Event, *, task_status: trio.TaskStatus[None]
) -> None:
    async with open_freezer(config) as freezer, trio.open_nursery() as nursery:
        addresses: list[str] = await nursery.start(partial(run_freezer, freezer, config, drain, tls=node.tls))
        own = msgspec.structs.replace(
            node.registration("freezer", 0),
            id=f"freezer-{node.id}-{number}",
            address=addresses[0],
            location=f"{node.config.place}.{config.name}",
            log=log,
        )
        node.services.append(lambda: [msgspec.structs.replace(own, draining=node.draining)])
        task_status.started()


async def serve_worker(node: Node, drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Started at once: a worker that never met its freezer waits for it, and says so."""
    configs = worker_configs(node.config, node.address, node.namespace)
    async with trio.open_nursery() as nursery:
        for number, config in enumerate(configs):
            nursery.start_soon(partial(_serve_bus, node, number, config, drain))
        task_status.started()


async def _serve_bus(node: Node, number: int, config: WorkerConfig, drain: trio.Event) -> None:
    met: list[Worker] = []

    def registration() -> Registration:
        host = node.registration("worker", node.config.worker.port + number)
        problem = "" if met and met[0].connected else WAITS.format(config.freezer)
        return msgspec.structs.replace(host, id=f"worker-{node.id}-{number}", problem=problem, site=site)

    site = site_of(node, config)
    node.services.append(lambda: [registration()])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_at, drain, met, nursery.cancel_scope)
        async with open_daemon(config, tls=node.tls) as worker:
            met.append(worker)
            nursery.start_soon(follow_rate, node, site, config, worker.core.options.rate)
            await run_worker(worker, config, drain, tls=node.tls)
        nursery.cancel_scope.cancel()


async def _cancel_at(drain: trio.Event, met: Sequence[Worker], scope: trio.CancelScope) -> None:
    """Ends the wait for a freezer that isn't there; a worker that works ends by itself."""
    await drain.wait()
    if not met:
        scope.cancel()
