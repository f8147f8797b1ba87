"""A freezer as a process: the board of a configuration, one listener per bus, until it is told to end."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from glacier.board import Board
from glacier.config import FreezerConfig
from glacier.figures import FreezerFigures
from glacier.filesystem import Mounts
from glacier.freezer import BoardFreezer
from glacier.iceserver import IceServer
from glacier.power import Meter
from node.auth import NamespaceKey
from node.clock import SystemClock
from node.errors import ConfigError
from node.exposure import expose
from node.http.server import listen, listen_unix
from node.tls import PLAIN, Tls
from store.settings import exclusive, short_path

NOTES_FILE = "disks.json"
RECORD_FILE = "power.log"


@asynccontextmanager
async def open_freezer(config: FreezerConfig) -> AsyncIterator[BoardFreezer]:
    """The board of this configuration, held alone, everything switched off; switched off again at the end.

    Raises: ConfigError (also when another freezer holds it), DiskFailed.
    """
    config.check()
    clock = SystemClock()
    try:
        config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(f"{config.state} can't be made: {error.strerror}") from error
    async with AsyncExitStack() as stack:
        stack.enter_context(exclusive(config.state, f"board {config.name}"))
        meter = Meter(config.layout, config.state / RECORD_FILE)
        stack.callback(meter.close)
        board = await _board(stack, config, meter, clock.now_us)
        freezer = BoardFreezer(board, budget=config.budget, pace=config.pace, clock=clock, notes=config.state / NOTES_FILE)
        await freezer.begin()
        stack.push_async_callback(freezer.end)
        yield freezer


async def _board(stack: AsyncExitStack, config: FreezerConfig, meter: Meter, now_us: Callable[[], int]) -> Board:
    mounts = Mounts(config.mounts, config.namespace)
    if config.hardware == "loop":
        from glacier.loop import LoopBoard

        directory = config.loop.directory
        board = LoopBoard(config.layout, meter, directory=directory, mounts=mounts, spin_up_s=config.spin_up_s, now_us=now_us)
        await board.make_images(config.loop.disk_bytes)
        return board
    from glacier.gpio import GpioBoard, GpioDisk, GpiodLines, let_go

    disks = {disk.number: GpioDisk(disk.line, disk.device, disk.label) for bus in config.buses for disk in bus.disks}
    await let_go(disks.values())
    lines = GpiodLines(config.gpio.chip, [disk.line for disk in disks.values()], active_low=config.gpio.active_low)
    stack.callback(lines.close)
    return GpioBoard(config.layout, meter, disks, lines, mounts=mounts, now_us=now_us, rescan=config.gpio.rescan)


async def serve_freezer(
    freezer: BoardFreezer,
    config: FreezerConfig,
    drain: trio.Event,
    *,
    tls: Tls = PLAIN,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves all buses until `drain` is set; started with their addresses. tls: the node's, where the file names no certificate.

    Raises: ConfigError.
    """
    key = NamespaceKey.load(config.key)
    context = _tls(config) or tls.server
    async with trio.open_nursery() as background:
        background.start_soon(freezer.keep_releasing)
        async with trio.open_nursery() as nursery:
            addresses = []
            for number, bus in enumerate(config.buses):
                listeners, address = _listen(bus.listen)
                addresses.append(address)
                await nursery.start(IceServer(freezer.bus(number), key, context).serve, listeners, drain)
            if config.metrics:
                FreezerFigures(freezer).register()
                await nursery.start(expose, config.metrics, drain)
            task_status.started(addresses)
        background.cancel_scope.cancel()


def _tls(config: FreezerConfig) -> ssl.SSLContext | None:
    if not config.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"tls_cert {config.tls_cert}, tls_key {config.tls_key}: {error}") from error
    return context


def _listen(address: str) -> tuple[list[trio.SocketListener], str]:
    """Listeners, and where they are reached. Raises: ConfigError."""
    try:
        if address.startswith("unix:"):
            path = Path(address.removeprefix("unix:"))
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with short_path(str(path)) as short:
                sockets = [listen_unix(short)]
            reached = address
        else:
            host, _, port = address.rpartition(":")
            sockets = listen(host.strip("[]"), int(port))
            reached = f"{host}:{sockets[0].getsockname()[1]}"
    except (OSError, ValueError) as error:
        raise ConfigError(f"can't listen on {address!r}: {getattr(error, 'strerror', None) or error}") from error
    return [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets], reached
