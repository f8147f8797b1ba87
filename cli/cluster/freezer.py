"""The role freezer: daemons of the boards that hang on this host."""

from __future__ import annotations

from functools import partial

import msgspec
import trio

from cli.cluster.cold import board_config
from cli.cluster.node import Node
from cli.listener import bind
from glacier.config import FreezerConfig
from glacier.daemon import open_freezer
from glacier.daemon import serve_freezer as run_freezer
from node.http.server import serve
from node.logbook import LogCall, nothing_else


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
