"""The serving process: listens, opens the store, serves S3 and the background work, and says so."""

from __future__ import annotations

import functools
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import trio

from cli.board import Board
from cli.children import ChildProcess
from cli.listener import bind, check_free, tls_context
from cli.process import settle
from cli.state import SECRET_FILE, SOCKET_FILE, State, clear_state, remember_boards, write_state
from cli.state import Boards as RememberedBoards
from glacier.boards import Boards, open_boards
from glacier.lifecycle.calendar import DAY_US, Calendar
from glacier.lifecycle.engine import engine
from glacier.upkeep import upkeep
from meta.protocol.accounts import Accounts, KeyPair
from node.auth import NamespaceKey
from node.http.server import listen, listen_unix, serve
from node.logbook import LogCall
from node.metrics import ProvenMetrics
from node.runner import Ready
from s3.call import GatewayOptions
from s3.defaults import DOMAINS
from s3.gateway import Gateway
from s3.lifecycle_document import rules_of
from store.embedded import StoreOptions, open_store
from store.runfolder import metrics_socket
from store.settings import short_path
from store.store import Store

ADMIN_NAME = "admin"
LIFECYCLE_DAY_S = DAY_US / 1e6


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What `up` was asked for; the same words on the command line."""

    directories: tuple[Path, ...]
    listen: tuple[str, int]
    volumes: int = 1
    workers: int = 1
    policy: str = ""
    region: str = "us-east-1"
    domains: tuple[str, ...] = ()
    sigv2: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    metrics: tuple[str, int] | None = None
    allow_ssec_http: bool = False
    lifecycle_day: float = LIFECYCLE_DAY_S
    cold: tuple[str, ...] = ()
    board: Path | None = None

    @property
    def all_cold(self) -> tuple[str, ...]:
        """Sockets of all workers of cold disks, those of the own board last. Raises: ConfigError."""
        return self.cold if self.board is None else (*self.cold, *Board(self.board).workers)

    @property
    def gateway(self) -> GatewayOptions:
        return GatewayOptions(
            region=self.region,
            domains=self.domains or DOMAINS,
            sigv2=self.sigv2,
            allow_ssec_http=self.allow_ssec_http,
            calendar=Calendar(int(self.lifecycle_day * 1e6)),
        )

    @property
    def store(self) -> StoreOptions:
        tier = functools.partial(open_boards, self.all_cold) if self.all_cold else None
        return StoreOptions(directories=self.directories, volumes_per_directory=self.volumes, policy=self.policy, tier=tier)


@dataclass(frozen=True, slots=True)
class Serving:
    """What is known once it serves. first_key: only when it was made at this start, with its secret."""

    state: State
    first_key: KeyPair | None
    volumes: int


def url_of(sockets: list[socket.socket], *, secure: bool) -> str:
    """Where this host reaches the store; all addresses are reached through the loopback one."""
    address = sockets[0].getsockname()
    host, port = address[0], address[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"{'https' if secure else 'http'}://{host}:{port}"


async def first_admin_key(accounts: Accounts) -> KeyPair | None:
    """Makes the admin key when there is none (no default credentials exist); with its secret. None when there is one already."""
    if any(pair.admin for pair in await accounts.keys()):
        return None
    return await accounts.create_key(KeyPair(access_key="", account=ADMIN_NAME, name=ADMIN_NAME, user_id="", admin=True))


async def run_main(options: ServeOptions, announce: Callable[[Serving], None], drain: trio.Event, ready: Ready) -> None:
    """Serves until `drain` is set and all requests in flight are done. Raises: Hinted, FrazilError, OSError at the start."""
    tls = tls_context(options.tls_cert, options.tls_key)
    check_free(options.listen)  # before a store is made that could then not be served
    internal = str(options.directories[0] / SOCKET_FILE)
    async with (
        open_store(options.store, role="main", internal_address=internal) as store,
        aclosing(Gateway(store, options.gateway)) as gateway,
    ):
        store.hire(engine(rules_of, gateway.calendar, gateway.herald))
        if isinstance(store.tier, Boards):
            store.hire(upkeep(store.tier))
        async with trio.open_nursery() as background:
            await background.start(_workers, store)
            await background.start(_gateway_workers, gateway)
            first = await first_admin_key(store.meta.accounts)
            async with trio.open_nursery() as serving:
                if options.board is not None:
                    for child in Board(options.board).children(options.directories[0]):
                        await serving.start(child.run, drain)
                state = await _start_serving(options, gateway, tls, serving, drain)
                settle()
                announce(Serving(state, first, len(store.volumes)))
                ready.ready(state.url)
            clear_state(options.directories[0])
            background.cancel_scope.cancel()


async def _start_serving(
    options: ServeOptions, gateway: Gateway, tls: ssl.SSLContext | None, serving: trio.Nursery, drain: trio.Event
) -> State:
    """Starts all that ends by `drain`, and says where it is."""
    directory = options.directories[0]
    sockets = bind(options.listen, shared=options.workers > 1)
    # At once, with no await between: whoever can connect also finds the state file.
    cert = os.path.join(os.getcwd(), options.tls_cert) if tls else ""
    url, internal = url_of(sockets, secure=tls is not None), str(directory / SOCKET_FILE)
    state = State(os.getpid(), url, internal, options.region, cert, cold=options.all_cold, lifecycle_day=options.lifecycle_day)
    write_state(directory, state)
    if options.all_cold:
        board = str(options.board.absolute()) if options.board is not None else ""
        remember_boards(directory, RememberedBoards(board, options.cold))
    await serving.start(_s3_server(gateway, sockets, tls, drain))
    if options.metrics:
        await serving.start(_metrics_server(bind(options.metrics, shared=False), drain))
    await serving.start(_local_metrics, directory, drain)
    for number in range(2, options.workers + 1):
        await serving.start(ChildProcess(f"gateway {number}", gateway_command(options, sockets[0].getsockname()[1])).run, drain)
    return state


async def _workers(store: Store, *, task_status: trio.TaskStatus[None]) -> None:
    await store.run_workers(task_status=task_status)


async def _gateway_workers(gateway: Gateway, *, task_status: trio.TaskStatus[None]) -> None:
    await gateway.run_workers(task_status=task_status)


Server = Callable[..., Awaitable[None]]


def _s3_server(gateway: Gateway, sockets: list[socket.socket], tls: ssl.SSLContext | None, drain: trio.Event) -> Server:
    return functools.partial(serve, gateway.handle, sockets, tls=tls, name="s3", drain=drain, on_parse_error=gateway.on_parse_error)


async def _local_metrics(directory: Path, drain: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    """This process's metrics, and its log, on a socket of its own, for `frazil top`."""
    path = metrics_socket(directory)
    try:
        with short_path(str(path)) as name:
            key = NamespaceKey.load(directory / SECRET_FILE)
            handler = LogCall(ProvenMetrics(key), key)
            await serve(handler, [listen_unix(name)], name="metrics", drain=drain, task_status=task_status)
    finally:
        path.unlink(missing_ok=True)


def _metrics_server(sockets: list[socket.socket], drain: trio.Event) -> Server:
    from node.metrics import serve_metrics

    return functools.partial(serve, serve_metrics, sockets, name="metrics", drain=drain)


async def run_gateway(options: ServeOptions, drain: trio.Event, ready: Ready) -> None:
    """A further process of a store that runs: S3; the main process writes the metadata and does the background work."""
    tls = tls_context(options.tls_cert, options.tls_key)
    sockets = listen(*options.listen, reuse_port=True)
    internal = str(options.directories[0] / SOCKET_FILE)
    async with (
        open_store(options.store, role="gateway", internal_address=internal) as store,
        aclosing(Gateway(store, options.gateway)) as gateway,
    ):
        async with trio.open_nursery() as background:
            await background.start(_workers, store)
            background.start_soon(gateway.run_sink)
            async with trio.open_nursery() as serving:
                await serving.start(_s3_server(gateway, sockets, tls, drain))
                await serving.start(_local_metrics, options.directories[0], drain)
                settle()
                ready.ready()
            background.cancel_scope.cancel()


def gateway_command(options: ServeOptions, port: int) -> list[str]:
    """The arguments with which `up` starts a further gateway process."""
    host = f"[{options.listen[0]}]" if ":" in options.listen[0] else options.listen[0]
    command = [
        "_gateway",
        *map(str, options.directories),
        "--listen",
        f"{host}:{port}",
        "--volumes",
        str(options.volumes),
        "--region",
        options.region,
    ]
    for domain in options.domains:
        command += ["--domain", domain]
    if options.sigv2:
        command.append("--sigv2")
    if options.policy:
        command += ["--policy", options.policy]
    if options.tls_cert:
        command += ["--tls-cert", options.tls_cert, "--tls-key", options.tls_key]
    if options.lifecycle_day != LIFECYCLE_DAY_S:
        command += ["--lifecycle-day", str(options.lifecycle_day)]
    for address in options.all_cold:
        command += ["--cold", address]
    if options.allow_ssec_http:
        command += ["--allow-ssec-http"]
    return command
