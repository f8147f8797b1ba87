"""The HTTP/1.1 server: one task per connection, one sweeper for all time-outs."""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable, Sequence

import trio

from node.http.connection import Connection, Service
from node.http.limits import Limits
from node.http.message import MalformedMessage, Request
from node.http.reply import HeaderList, Reply

Handler = Callable[[Request, Reply], Awaitable[None]]
OnParseError = Callable[[MalformedMessage, str], tuple[int, HeaderList, bytes]]
"""Words the answer to bytes that are no request: (error, request id) -> (status, headers, body)."""
Observer = Callable[[Request, Reply, float], None]
"""Called after each request with the seconds it took; must be cheap and must not raise."""

DEFAULT_LIMITS = Limits()
BACKLOG = 1024
ACCEPT_BACKOFF_S = 0.25
"""Pause of the accept loop when the process or the machine is out of descriptors or memory."""
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_log = logging.getLogger("frazil.http")


def listen(host: str, port: int, *, reuse_port: bool = False, backlog: int = BACKLOG) -> list[socket.socket]:
    """Listening TCP sockets for every address of `host` ("" for all); `port` 0 takes one free port for all of them.

    Raises: OSError when an address is taken or not ours.
    """
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            if sockets and not port:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            try:
                sock = socket.socket(family, kind, protocol)
            except OSError as error:
                if error.errno != errno.EAFNOSUPPORT:
                    raise
                continue  # a kernel without IPv6
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
            sock.listen(backlog)
            sock.setblocking(False)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def listen_unix(path: str, *, backlog: int = BACKLOG) -> socket.socket:
    """A listening Unix socket, for its owner only; a dead one at the same path is replaced. Raises: OSError."""
    if os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            else:
                raise OSError(errno.EADDRINUSE, f"another process serves {path}")
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        os.chmod(path, 0o600)
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


async def serve(
    handler: Handler,
    listeners: Sequence[socket.socket],
    *,
    limits: Limits = DEFAULT_LIMITS,
    tls: ssl.SSLContext | None = None,
    name: str = "s3",
    drain: trio.Event | None = None,
    drain_timeout_s: float | None = None,
    idle_grace_s: float = 0.0,
    on_parse_error: OnParseError | None = None,
    observe: Observer | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until `drain` is set and the last request in flight is done, or drain_timeout_s (limits') after it. Closes the listeners.

    idle_grace_s: after `drain` was set, connections between two requests stay so long and may bring one more, which is answered with
    "Connection: close": who sends it just then, a balancer above all, can't know whether what meets a closed connection was carried out.
    """
    drain = trio.Event() if drain is None else drain
    server = _Server(Service(handler, limits, tls, name, on_parse_error, observe))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.sweep)
            for listener in listeners:
                listener.setblocking(False)
                nursery.start_soon(server.accept, listener, nursery)
            task_status.started()
            await drain.wait()
            server.begin_drain(listeners, nursery)
            with trio.move_on_after(idle_grace_s):
                await server.wait_empty()
            server.end_idle()
            with trio.move_on_after(limits.drain_timeout_s if drain_timeout_s is None else drain_timeout_s):
                await server.wait_empty()
            if server.connections:
                _log.warning("%s: %d requests did not end in time and are cut off", name, len(server.connections))
            nursery.cancel_scope.cancel()
    finally:
        for listener in listeners:
            listener.close()


class _Server:
    """The open connections of one service. One thread, so no locks; a connection is in the set from accept to close."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.connections: set[Connection] = set()
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<Server {self.service.name} connections={len(self.connections)}{' draining' if self.service.draining else ''}>"

    async def sweep(self) -> None:
        """Looks at all connections every sweep_s: that is the whole cost of time-outs."""
        service = self.service
        before = trio.current_time()
        while True:
            await trio.sleep(service.limits.sweep_s)
            now = trio.current_time()
            service.now += min(now - before, 2 * service.limits.sweep_s)  # when the loop itself was held up, the clients are not to blame
            before = now
            for connection in self.connections:
                connection.check(service.now)

    async def accept(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        """Until the drain."""
        while not self.service.draining:
            try:
                await trio.lowlevel.wait_readable(listener.fileno())
            except trio.ClosedResourceError:  # the drain began
                break
            if len(self.connections) >= self.service.limits.connections_max:
                await self._make_room()
            elif error := self._accept_waiting(listener, nursery):
                _log.warning("%s: can't accept: %s; trying again in %g s", self.service.name, error.strerror, ACCEPT_BACKOFF_S)
                await trio.sleep(ACCEPT_BACKOFF_S)
        listener.close()

    def _accept_waiting(self, listener: socket.socket, nursery: trio.Nursery) -> OSError | None:
        """Opens what waits, up to the cap; returns the error when descriptors or memory ran out."""
        while len(self.connections) < self.service.limits.connections_max:
            try:
                sock, address = listener.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    return error
                # else: that client is gone already (accept(2), "Error handling"); the next one may be fine
            else:
                self._open(sock, address, nursery)
        return None

    def _open(self, sock: socket.socket, address: object, nursery: trio.Nursery) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self.service, sock, address)
        self.connections.add(connection)
        nursery.start_soon(self._run, connection)

    async def _run(self, connection: Connection) -> None:
        try:
            await connection.run()
        except Exception as error:  # noqa: BLE001 - the edge: a bug in one connection must not end the others
            _log.error("%s: %r failed", self.service.name, connection, exc_info=error)
        finally:
            self.connections.discard(connection)
            self._changed.set()

    async def _make_room(self) -> None:
        """Closes the connection that has been idle longest, and waits until one ends or it is time to look again."""
        idle = [connection for connection in self.connections if connection.idle]
        if idle:
            min(idle, key=lambda connection: connection.since).end_idle()
        self._changed = trio.Event()
        with trio.move_on_after(self.service.limits.sweep_s):
            await self._changed.wait()

    def begin_drain(self, listeners: Sequence[socket.socket], nursery: trio.Nursery) -> None:
        """Stops accepting, but for who is in the backlog; what is in flight or comes gets "Connection: close"."""
        self.service.draining = True
        for listener in listeners:
            trio.lowlevel.notify_closing(listener.fileno())
            self._accept_waiting(listener, nursery)
        for connection in self.connections:
            connection.drain()

    def end_idle(self) -> None:
        """Who connected just now has `drain_first_s` to begin: its request may be on its way."""
        self.service.ending = True
        for connection in self.connections:
            connection.check(self.service.now)

    async def wait_empty(self) -> None:
        while self.connections:
            self._changed = trio.Event()
            await self._changed.wait()
