"""From a process's start to its end: signals become a drain, readiness is announced, what goes wrong becomes a message and an exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator

import trio

from node.errors import ConfigError, FrazilError, Unavailable

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_TEMPORARY = 5
EXIT_INTERRUPTED = 130
SIGNALS = (signal.SIGTERM, signal.SIGINT)
_log = logging.getLogger("frazil.runner")


class Ready:
    """Announces the state of the process to whoever started it: systemd (NOTIFY_SOCKET) and the reader of `ready_fd`."""

    def __init__(self, ready_fd: int | None = None) -> None:
        self._ready_fd = ready_fd

    def ready(self, line: str = "") -> None:
        """The process serves. `line` (a URL, say) goes to ready_fd, which is then closed."""
        notify("READY=1" + (f"\nSTATUS={line}" if line else ""))
        fd, self._ready_fd = self._ready_fd, None
        if fd is not None:
            try:
                os.write(fd, f"{line or 'ready'}\n".encode())
                os.close(fd)
            except OSError as error:  # the reader left; serving goes on without it
                _log.warning("nobody reads the readiness on descriptor %d: %s", fd, error.strerror)

    def stopping(self) -> None:
        notify("STOPPING=1")


def notify(state: str) -> bool:
    """Sends `state` to systemd by the protocol of sd_notify(3); False when not started by it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(1.0)
            sock.connect(address)
            sock.sendall(state.encode())
    except OSError as error:
        _log.warning("systemd's notification socket does not answer: %s", error.strerror)
        return False
    return True


Main = Callable[[trio.Event, Ready], Awaitable[None]]
"""`await main(drain, ready)`: calls ready.ready() when it serves, and ends soon after `drain` is set."""


ToExit = Callable[[FrazilError | OSError], int]


def _to_exit(error: FrazilError | OSError) -> int:
    if isinstance(error, ConfigError):
        return EXIT_USAGE
    return EXIT_TEMPORARY if isinstance(error, Unavailable) else EXIT_FAILED


def run(main: Main, *, ready_fd: int | None = None, to_exit: ToExit = _to_exit) -> int:
    """Runs `main` until it ends and returns the exit code. The first SIGTERM or SIGINT sets `drain`, the second cancels at once."""
    state = _Run(Ready(ready_fd))
    try:
        trio.run(state.run, main, strict_exception_groups=True)
    except BaseException as error:  # noqa: BLE001 - the process's edge: everything becomes a message and an exit code
        return _report(error, to_exit)
    return EXIT_INTERRUPTED if state.signals_seen > 1 else EXIT_OK


class _Run:
    def __init__(self, ready: Ready) -> None:
        self._ready = ready
        self.signals_seen = 0

    async def run(self, main: Main) -> None:
        drain = trio.Event()
        with trio.open_signal_receiver(*SIGNALS) as received:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, received, drain, nursery.cancel_scope)
                await main(drain, self._ready)
                nursery.cancel_scope.cancel()

    async def _watch(self, received: trio.abc.ReceiveChannel[int] | object, drain: trio.Event, scope: trio.CancelScope) -> None:
        async for number in received:  # type: ignore[union-attr]
            self.signals_seen += 1
            name = signal.Signals(number).name
            if self.signals_seen == 1:
                _log.info("%s: finishing what is in flight; a second signal ends at once", name)
                self._ready.stopping()
                drain.set()
            else:
                _log.warning("%s again: ending at once", name)
                scope.cancel()
                return


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _report(error: BaseException, to_exit: ToExit) -> int:
    """Says what happened on standard error; a traceback only for what should not be possible."""
    leaves = list(_leaves(error))
    bugs = [leaf for leaf in leaves if not isinstance(leaf, FrazilError | OSError | KeyboardInterrupt | SystemExit)]
    if bugs:
        _log.critical("stopped by an internal error: %r", bugs[0], exc_info=error)
        _say(f"frazil: stopped by an internal error: {type(bugs[0]).__name__}: {bugs[0]}")
        return EXIT_FAILED
    first = leaves[0]
    if isinstance(first, SystemExit):
        return first.code if isinstance(first.code, int) else EXIT_FAILED
    if isinstance(first, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    assert isinstance(first, FrazilError | OSError)
    _say(f"frazil: {first}")
    return to_exit(first)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # standard error may be closed
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
