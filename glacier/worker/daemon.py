"""A worker as a process: its socket for the store, its way to the freezer, its figures, until it is told to end."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from glacier.iceclient import dial
from glacier.pace import Rate
from glacier.protocol import Freezer
from glacier.reach import trusting
from glacier.worker.config import WorkerConfig
from glacier.worker.metrics import Figures
from glacier.worker.volumes import HotVolumes
from glacier.worker.wire import WorkerService
from glacier.worker.worker import Worker, open_worker
from node.auth import NamespaceKey
from node.errors import ConfigError
from node.exposure import expose
from node.http.server import listen, listen_unix, serve
from node.logbook import LogCall
from node.tls import PLAIN, Tls
from store.settings import exclusive, short_path


@asynccontextmanager
async def open_daemon(config: WorkerConfig, *, tls: Tls = PLAIN) -> AsyncIterator[Worker]:
    """tls: the node's, where the file names no certificate. Raises: ConfigError (also when another worker has this ledger)."""
    config.check()
    folder = config.ledger.parent
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = config.ledger.with_suffix(".lock")
        lock.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"{folder} can't be used: {error.strerror}") from error
    key = NamespaceKey.load(config.key)
    async with AsyncExitStack() as stack:
        stack.enter_context(exclusive(lock))
        volumes = HotVolumes(config.volumes, config.namespace)
        stack.callback(volumes.close)
        await volumes.look()
        options = replace(config.options, place=place_of(config.freezer))
        worker = await stack.enter_async_context(
            open_worker(config.ledger, volumes, partial(to_freezer, config, key, options.rate, tls=tls), options)
        )
        nursery = await stack.enter_async_context(trio.open_nursery())
        nursery.start_soon(volumes.keep)
        yield worker
        nursery.cancel_scope.cancel()


def place_of(freezer: str) -> str:
    """Where the freezer at this address is: tells boards of one name apart, and has all buses of a board in one place."""
    if freezer.startswith("unix:"):
        return f"{socket.gethostname()}:{Path(freezer.removeprefix('unix:')).parent}"
    host = freezer.rpartition(":")[0]
    return socket.gethostname() if host in ("localhost", "127.0.0.1", "[::1]") else host


@asynccontextmanager
async def to_freezer(config: WorkerConfig, key: NamespaceKey, rate: Rate | None = None, *, tls: Tls = PLAIN) -> AsyncIterator[Freezer]:
    """The bus that the worker has. Raises: ConfigError; as dial."""
    context = trusting(config.tls_cert) or tls.client
    async with dial(config.freezer, key=key, bus=config.bus, tls=context, rate=rate) as freezer:
        yield freezer


async def serve_worker(
    worker: Worker,
    config: WorkerConfig,
    drain: trio.Event,
    *,
    tls: Tls = PLAIN,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Works and answers until `drain` is set; tls: for those who ask over TCP. Raises: ConfigError when it can't listen there."""
    key = NamespaceKey.load(config.key)
    with ExitStack() as stack:
        sockets = _listen(config.listen, stack)
        secured = None if config.listen.startswith("unix:") else tls.server
        async with trio.open_nursery() as nursery:
            service = LogCall(WorkerService(worker.door, key), key)
            await nursery.start(partial(serve, service, sockets, tls=secured, name="worker", drain=drain))
            if config.metrics:
                Figures(worker.core).register()
                await nursery.start(expose, config.metrics, drain)
            await nursery.start(worker.run)
            task_status.started()
            await drain.wait()
            nursery.cancel_scope.cancel()


def _listen(address: str, stack: ExitStack) -> list[socket.socket]:
    """Raises: ConfigError."""
    try:
        if not address.startswith("unix:"):
            host, _, port = address.rpartition(":")
            return listen(host.strip("[]"), int(port))
        path = Path(address.removeprefix("unix:"))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return [listen_unix(stack.enter_context(short_path(str(path))))]
    except (OSError, ValueError) as error:
        raise ConfigError(f"can't listen on {address}: {getattr(error, 'strerror', None) or error}") from error
