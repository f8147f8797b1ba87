"""The role conscience: the list of services and what they are worth, with the operators' locks."""

from __future__ import annotations

from contextlib import aclosing

import trio

from cli.cluster.node import CONSCIENCES, Node
from cli.cluster.telling import count_calls, expose_metrics
from cli.listener import bind
from meta.conscience.protocol import Lock
from meta.conscience.service import ConscienceService
from meta.coordinator import Coordinator, parsed, tell
from node.clock import SystemClock
from node.errors import DocumentUnreadable
from node.http.server import serve
from node.log import get_logger
from node.logbook import LogCall
from store.namespace import DOCUMENT, NamespaceSettings

LOCKS = "lock"
"""Folder of the operators' locks, by service."""
_log = get_logger("node")


async def serve_conscience(node: Node, drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    config = node.config.conscience
    service = ConscienceService(node.config.state / "conscience.json", node.key, SystemClock())
    await expose_metrics(node, config.metrics, drain)
    sockets = bind((node.config.listen, config.port), shared=False)
    address = f"{node.address}:{config.port}"
    node.services.append(lambda: [node.registration("conscience", config.port)])
    node.nursery.start_soon(service.keep)
    node.nursery.start_soon(service.learn, node.client, lambda: [each for each in node.consciences.addresses() if each != address])
    node.nursery.start_soon(_follow_settings, node.coordinator, service)
    await node.nursery.start(_follow_locks, node.coordinator, service)
    await node.coordinator.announce(f"{CONSCIENCES}/{node.id}", address.encode())
    await node.consciences.look()
    observe = count_calls("conscience", config.metrics)
    handler = LogCall(service, node.key)
    await serve(handler, sockets, tls=node.tls.server, name="conscience", drain=drain, observe=observe, task_status=task_status)


async def _follow_settings(coordinator: Coordinator, service: ConscienceService) -> None:
    async with aclosing(coordinator.watch(DOCUMENT)) as changes:
        async for document in changes:
            if not document.version:
                continue  # as in store/cluster.py
            try:
                service.board.expressions = NamespaceSettings.of(document).scores
            except DocumentUnreadable as error:  # what was known stands
                tell(error)


async def _follow_locks(
    coordinator: Coordinator, service: ConscienceService, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Each lock by itself: one that is replaced may leave the folder's names as they were. Started once it knows those that there are:
    before, a host that is drained, or given up, would be told as one like any other."""
    watched: set[str] = set()
    started = False
    async with trio.open_nursery() as nursery, aclosing(coordinator.watch_names(LOCKS)) as changes:
        async for names in changes:
            async with trio.open_nursery() as starting:
                for name in set(names) - watched:
                    watched.add(name)
                    starting.start_soon(nursery.start, _follow_lock, coordinator, service, name)
            if not started:
                started = True
                task_status.started()


async def _follow_lock(
    coordinator: Coordinator, service: ConscienceService, name: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    started = False
    async with aclosing(coordinator.watch(f"{LOCKS}/{name}")) as changes:
        async for document in changes:
            others = {each: lock for each, lock in service.board.locks.items() if each != name}
            try:
                there = {name: parsed(f"{LOCKS}/{name}", document, Lock)} if document.version else {}
            except DocumentUnreadable as error:  # what was known stands
                tell(error)
            else:
                service.board.locks = others | there
            if not started:
                started = True
                task_status.started()
