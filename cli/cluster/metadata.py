"""The role meta: a peer of the namespace's bases."""

from __future__ import annotations

import functools

import msgspec
import trio

from cli.cluster.node import Node
from cli.cluster.telling import expose_metrics
from cli.listener import bind
from meta.cluster.process import MetaOptions, MetaProcess
from meta.cluster.process import serve_meta as run_meta
from node.clock import SystemClock
from node.metrics import histogram
from node.statistics import Disk, Latency


async def serve_meta(node: Node, drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    config, folder = node.config.meta, node.config.meta_directory
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    await expose_metrics(node, config.metrics, drain)
    sockets = bind((node.config.listen, config.port), shared=False)
    disk = Disk(folder)
    own = node.registration("meta", config.port, disk).id

    def resting() -> bool:
        """Whether an operator has locked this service's place at 0, as `node drain` does."""
        known = node.directory.services.get(own)
        return known is not None and known.locked and not known.place

    latency = Latency()
    syncs = histogram("meta_commit_seconds", "Time of a commit to a base of this host, own or as a peer, until it was durable.")

    def took(seconds: float) -> None:
        latency.add(seconds)
        syncs.observe(seconds)

    place = f"{node.config.place}.{folder.name}"
    measured = bool(config.metrics)
    options = MetaOptions(folder, f"{node.address}:{config.port}", place, config.replicas, resting, took=took, measured=measured)
    async with trio.open_nursery() as nursery:
        run = functools.partial(run_meta, options, sockets, coordinator=node.coordinator, key=node.key, clock=SystemClock())
        process: MetaProcess = await nursery.start(functools.partial(run, drain=drain, tls=node.tls))
        peer = process.peer.name
        node.services.append(lambda: [msgspec.structs.replace(node.registration("meta", config.port, disk, latency), peer=peer)])
        task_status.started()
