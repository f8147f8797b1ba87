"""A node's process from its start to its end."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable

import trio

from cli.cluster.config import NodeConfig
from cli.cluster.node import Node, open_node, report_services
from cli.process import settle
from node.errors import ConfigError
from node.log import get_logger
from node.runner import Ready

_log = get_logger("node")
Serve = Callable[..., Awaitable[None]]


async def run_node(config: NodeConfig, only: str, volume: int | None, drain: trio.Event, ready: Ready) -> None:
    """Serves until `drain` is set: the gateway ends first, then what it stands on. Raises: ConfigError."""
    roles = _roles(config, only, volume)
    async with open_node(config, name="-".join([*roles, *([str(volume)] if volume is not None else [])])) as node:
        below = trio.Event()
        async with trio.open_nursery() as serving:
            for role, serve in roles.items():
                if role != "gateway":
                    await serving.start(functools.partial(serve, node, below))
            node.nursery.start_soon(report_services, node)
            await node.nursery.start(node.directory.watch)
            await _serve_front(node, roles, drain, ready)
            below.set()


async def _serve_front(node: Node, roles: dict[str, Serve], drain: trio.Event, ready: Ready) -> None:
    """The gateway where there is one, else just the time until the drain."""
    async with trio.open_nursery() as front:
        if "gateway" in roles:
            starting = functools.partial(front.start, functools.partial(roles["gateway"], node, drain))
            if not await _unless_drained(starting, drain):
                front.cancel_scope.cancel()
                return
        settle()
        _log.info("serving %s", ", ".join(roles))  # the first line for who looks at this process from elsewhere
        ready.ready(node.config.gateway.listen if "gateway" in roles else "")
        await drain.wait()
        node.draining = True


async def _unless_drained(start: Callable[[], Awaitable[object]], drain: trio.Event) -> bool:
    """Whether it started before the drain: a gateway may wait long for others."""
    started = False
    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            await drain.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(stop)
        await start()
        started = True
        nursery.cancel_scope.cancel()
    return started


def _roles(config: NodeConfig, only: str, volume: int | None) -> dict[str, Serve]:
    """Raises: ConfigError."""
    if only and only not in config.roles:
        raise ConfigError(f"the node's file gives this host no {only}; it gives {', '.join(config.roles) or 'nothing'}")
    if volume is not None:
        if only != "rawx":
            raise ConfigError("--volume goes with --only rawx")
        if not 1 <= volume <= len(config.rawx.volumes):
            raise ConfigError(f"--volume {volume}: the node's file names {len(config.rawx.volumes)} volumes")
    roles = {role: _serve(role, volume) for role in config.roles if not only or role == only}
    if not roles:
        raise ConfigError("the node's file says that nothing runs here: set conscience.run, meta.run, gateway.run, rawx.volumes, ...")
    return roles


def _serve(role: str, volume: int | None) -> Serve:
    """Imported here: a process loads what its own roles need, so it starts sooner and is smaller."""
    match role:
        case "conscience":
            from cli.cluster.conscience import serve_conscience

            return serve_conscience
        case "meta":
            from cli.cluster.metadata import serve_meta

            return serve_meta
        case "freezer":
            from cli.cluster.freezer import serve_freezer

            return serve_freezer
        case "rawx":
            from cli.cluster.volumes import serve_rawx

            return functools.partial(serve_rawx, only=None if volume is None else volume - 1)
        case "worker":
            from cli.cluster.worker import serve_worker

            return serve_worker
        case _:
            from cli.cluster.gateway import serve_gateway

            return serve_gateway
