"""Files of the cold tier's parts on a node: boards that hang on it, workers beside the volumes that it serves.

Each has a file of its own, as where a store runs in one process; namespace, key and where a worker listens are the node's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cli.cluster.config import NodeConfig
from cli.cluster.node import Node
from glacier.config import FreezerConfig
from glacier.worker.config import WorkerConfig
from glacier.worker.protocol import ITEMS_MAX, Item
from glacier.worker.wire import remote_worker
from node.config import load
from node.errors import ConfigError
from node.http.client import Client
from rawx.volume import Forget
from store.location import Location


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


def forget_at(client: Client, address: str) -> Forget:
    """What a volume asks of its worker before it deletes chunks that were cold."""
    door = remote_worker(client, address)

    async def forget(volume: str, chunks: Sequence[str]) -> None:
        for at in range(0, len(chunks), ITEMS_MAX):
            await door.delete([Item(volume, chunk) for chunk in chunks[at : at + ITEMS_MAX]])

    return forget
