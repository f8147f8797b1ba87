"""The role worker: keeps cold chunks of this host's volumes, one for each bus of a board."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from functools import partial

import msgspec
import trio

from cli.cluster.cold import site_of, worker_configs
from cli.cluster.node import Node
from glacier.pace import RATE_BYTES_MIN, Rate
from glacier.worker.config import WorkerConfig
from glacier.worker.daemon import open_daemon
from glacier.worker.daemon import serve_worker as run_worker
from glacier.worker.worker import Worker
from meta.conscience.protocol import Registration
from meta.coordinator import tell
from node.errors import DocumentUnreadable
from node.log import get_logger
from store.namespace import DOCUMENT, NamespaceSettings, SiteSettings

COUNT_S = 5.0
"""How often the workers of a site are counted."""
WAITS = "waits for the freezer at {}"
_log = get_logger("node")


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
                    settings = NamespaceSettings.of(document)
                except DocumentUnreadable as error:  # what was known stands
                    tell(error)
                apply()


def share_of(rate_bytes: float, workers: int) -> float:
    """Of each worker of a site; 0: no limit. Never less than a worker's least."""
    return max(rate_bytes / max(workers, 1), RATE_BYTES_MIN) if rate_bytes else 0.0
