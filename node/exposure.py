"""A listener for a process's metrics."""

from __future__ import annotations

import trio

from node.errors import ConfigError
from node.http.server import listen, serve
from node.metrics import serve_metrics


async def expose(address: str, drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Serves GET /metrics on HOST:PORT until it is told to end. Raises: ConfigError."""
    host, _, port = address.rpartition(":")
    try:
        sockets = listen(host.strip("[]"), int(port))
    except (OSError, ValueError) as error:
        raise ConfigError(f"can't serve metrics on {address!r}: {error}") from error
    await serve(serve_metrics, sockets, name="metrics", drain=drain, task_status=task_status)
