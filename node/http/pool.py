"""Connections of a client: opened in bounded time, kept for reuse, never reused when the peer has ended them."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
from collections import deque
from dataclasses import dataclass

import trio

from node.errors import InvalidArgument, NotConnected, PeerUnreachable
from node.http.transport import Transport

_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%a-z]+\]")
CONNECT_RETRY_S = 0.01
"""A Unix socket with a full backlog refuses at once instead of queueing."""
QUIET_S = 5
PROBE_S = 2
"""A connection on which nothing came for QUIET_S is probed each PROBE_S."""
VANISHED_S = 12
"""A host that answers neither what is sent nor probes for so long is gone, however long the call may take: without power nobody resets
its connections. By then another leads what it led, and who asked still has time to ask there (meta/cluster/routing.py, PATIENCE_S)."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a service listens. `text` is also the Host header of TCP addresses."""

    text: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """ "127.0.0.1:6200", "[::1]:6200", "name:6200" or "unix:/path". Raises: InvalidArgument."""
        if text.startswith("unix:/"):
            return cls(text, "", 0, text.removeprefix("unix:"))
        host, _, port = text.rpartition(":")
        if not _HOST.fullmatch(host) or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
            raise InvalidArgument(f"{text!r} is no address: HOST:PORT or unix:/PATH")
        return cls(text, host.strip("[]"), int(port), "")


class Pool:
    """The connections to one address: at most `connections_max` in use at once, idle ones reused last in first out."""

    def __init__(
        self, address: Address, *, connections_max: int, connect_timeout_s: float, idle_s: float, tls: ssl.SSLContext | None
    ) -> None:
        self.address = address
        self._slots = trio.Semaphore(connections_max)
        self._connect_timeout_s = connect_timeout_s
        self._idle_s = idle_s
        self._tls = tls if not address.path else None
        self._idle: deque[tuple[float, Transport]] = deque()

    def __repr__(self) -> str:
        return f"<Pool {self.address.text} idle={len(self._idle)} free={self._slots.value}>"

    async def acquire(self) -> Transport:
        """A live connection; give it back by `release`. Raises: NotConnected."""
        await self._slots.acquire()
        try:
            return self._reuse() or await self._connect()
        except BaseException:
            self._slots.release()
            raise

    def release(self, transport: Transport, *, reusable: bool) -> None:
        """Keeps the connection for the next call, or closes it."""
        self._slots.release()
        if reusable and not transport.dead and not transport.rest:
            self._idle.append((trio.current_time(), transport))
        else:
            transport.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop()[1].close()

    def _reuse(self) -> Transport | None:
        expired = trio.current_time() - self._idle_s
        while self._idle and self._idle[0][0] < expired:
            self._idle.popleft()[1].close()
        while self._idle:
            transport = self._idle.pop()[1]
            if _is_quiet(transport.sock):
                return transport
            transport.close()
        return None

    async def _connect(self) -> Transport:
        with trio.move_on_after(self._connect_timeout_s):
            error: OSError | None = None
            try:
                places = await self._resolve()
            except OSError as failure:  # socket.gaierror is one
                raise NotConnected(f"{self.address.text} is not known: {failure.strerror}") from failure
            for family, place in places:
                try:
                    return await self._open(family, place)
                except OSError as failure:
                    error = failure
                except PeerUnreachable as failure:
                    raise NotConnected(f"{self.address.text} and this host don't agree on TLS: {failure}") from failure
            raise NotConnected(f"{self.address.text} does not answer: {(error and error.strerror) or 'no address'}") from error
        raise NotConnected(f"{self.address.text} does not answer within {self._connect_timeout_s:g} s")

    async def _resolve(self) -> list[tuple[socket.AddressFamily, object]]:
        if self.address.path:
            return [(socket.AF_UNIX, self.address.path)]
        host, port = self.address.host, self.address.port
        try:
            version = ipaddress.ip_address(host).version
        except ValueError:
            return [(family, where) for family, _, _, _, where in await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        return [(socket.AF_INET if version == 4 else socket.AF_INET6, (host, port))]

    async def _open(self, family: socket.AddressFamily, address: object) -> Transport:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await _connect(sock, address)
            if family != socket.AF_UNIX:
                _set_up(sock)
            if self._tls is None:
                return Transport(sock)
            sock = self._tls.wrap_socket(sock, server_hostname=self.address.host, do_handshake_on_connect=False)
            transport = Transport(sock)
            await transport.handshake()
            return transport
        except BaseException:
            sock.close()
            raise


def _set_up(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, QUIET_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, VANISHED_S * 1000)


async def _connect(sock: socket.socket, address: object) -> None:
    while True:
        try:
            sock.connect(address)  # type: ignore[arg-type]
            return
        except BlockingIOError:
            if sock.family == socket.AF_UNIX:
                await trio.sleep(CONNECT_RETRY_S)
                continue
        await trio.lowlevel.wait_writable(sock.fileno())
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
        return


def _is_quiet(sock: socket.socket) -> bool:
    """True when an idle connection is still open: the peer neither ended it nor sent what nobody asked for."""
    try:
        socket.socket.recv(sock, 1, socket.MSG_PEEK | socket.MSG_DONTWAIT)  # below TLS: any record between two calls is an end or an oddity
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
