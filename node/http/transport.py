"""A connected socket, plain or TLS: tries the system call first and waits for readiness only when it would block.

A trio wait costs 10 to 20 us and a stdlib call about 1 us, so nothing here waits that need not. No wait has a time-out of its own:
`waiting`, `received` and `sent` tell the owner's sweeper how the peer is doing, and `expire` ends a wait from outside.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING, Final

import trio

from node.errors import FrazilError, PeerUnreachable

if TYPE_CHECKING:
    from node.line import Line

Buffer = bytes | bytearray | memoryview

RECEIVE_BYTES: Final = 16 * 1024
"""One receive of a head: at most this much of what follows a head is held in memory."""
TURN_BYTES: Final = 1 << 20
"""Bytes moved without waiting before other tasks get a turn: less than a millisecond of copying."""
TLS_PIECE_BYTES: Final = 256 * 1024

NOT_WAITING, READING, WRITING = 0, 1, 2

_BLOCKED: Final = (BlockingIOError, ssl.SSLWantReadError)
_wait_readable = trio.lowlevel.wait_readable
_wait_writable = trio.lowlevel.wait_writable


class Transport:
    """One connection, used by one task at a time. Errors of the peer or the network are PeerUnreachable, unless `expire` set another.

    line    at a caller that proves its calls: what they are proved by (node/auth.py); None before the peer was asked
    """

    __slots__ = ("_turn", "dead", "failure", "fd", "line", "received", "rest", "sent", "sock", "tls", "waiting")

    def __init__(self, sock: socket.socket) -> None:
        """`sock` is connected and non-blocking; an ssl.SSLSocket needs `handshake` first."""
        self.sock = sock
        self.fd = sock.fileno()
        self.tls = isinstance(sock, ssl.SSLSocket)
        self.line: Line | None = None
        self.rest: bytes = b""
        self.waiting = NOT_WAITING
        self.received = 0
        self.sent = 0
        self.failure: FrazilError | None = None
        self.dead = False
        self._turn = 0

    def __repr__(self) -> str:
        state = ("idle", "reading", "writing")[self.waiting]
        return f"<Transport fd={self.fd} {state} received={self.received} sent={self.sent}{' dead' if self.dead else ''}>"

    def expire(self, failure: FrazilError) -> None:
        """Makes the wait in progress, and all later receives, raise `failure`; a reply can still be sent."""
        self.failure = failure
        if self.waiting == WRITING:
            self.dead = True
        if self.waiting:
            trio.lowlevel.notify_closing(self.fd)

    def close(self) -> None:
        self.dead = True
        self.sock.close()

    def reset(self) -> None:
        """Closes so that the peer gets an error, not an end: for a body that stops short."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        except OSError:  # the peer was faster
            self.dead = True
        self.close()

    async def wait_readable(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.waiting = READING
        try:
            await _wait_readable(self.fd)
        except trio.ClosedResourceError:
            raise self.failure or PeerUnreachable("the connection was closed") from None
        finally:
            self.waiting = NOT_WAITING

    async def wait_writable(self) -> None:
        self.waiting = WRITING
        try:
            await _wait_writable(self.fd)
        except trio.ClosedResourceError:
            raise self.failure or PeerUnreachable("the connection was closed") from None
        finally:
            self.waiting = NOT_WAITING

    def _lost(self, error: OSError) -> PeerUnreachable:
        self.dead = True
        return PeerUnreachable(f"the connection was lost: {error.strerror or error}")

    async def _count(self, count: int) -> None:
        """Gives other tasks a turn after TURN_BYTES."""
        self._turn += count
        if self._turn >= TURN_BYTES:
            self._turn = 0
            await trio.lowlevel.checkpoint()

    async def handshake(self) -> None:
        """The server's or client's side of the TLS handshake. Raises: PeerUnreachable."""
        assert isinstance(self.sock, ssl.SSLSocket)
        while True:
            try:
                self.sock.do_handshake()
                return
            except ssl.SSLWantReadError:
                await self.wait_readable()
            except ssl.SSLWantWriteError:
                await self.wait_writable()
            except OSError as error:  # ssl.SSLError is one
                raise self._lost(error) from error

    async def receive(self, *, wait_first: bool = False) -> bytes:
        """Up to RECEIVE_BYTES, b"" at the end. `wait_first` when nothing is likely to be there: it saves a failing call."""
        if wait_first and not self.tls:
            await self.wait_readable()
        while True:
            try:
                data = self.sock.recv(RECEIVE_BYTES)
            except _BLOCKED:
                await self.wait_readable()
            except ssl.SSLWantWriteError:
                await self.wait_writable()
            except OSError as error:
                raise self._lost(error) from error
            else:
                self.received += len(data)
                return data

    async def receive_into(self, buffer: memoryview) -> int:
        """Fills a part of `buffer`, first with `rest`; 0 at the end of the stream."""
        rest = self.rest
        if rest:
            count = min(len(rest), len(buffer))
            buffer[:count] = rest[:count]
            self.rest = rest[count:]
            return count
        while True:
            try:
                count = self.sock.recv_into(buffer)
            except _BLOCKED:
                await self.wait_readable()
            except ssl.SSLWantWriteError:
                await self.wait_writable()
            except OSError as error:
                raise self._lost(error) from error
            else:
                self.received += count
                self._turn += count
                if self._turn >= TURN_BYTES:
                    self._turn = 0
                    await trio.lowlevel.checkpoint()
                return count

    async def send(self, data: Buffer) -> None:
        """All of `data`."""
        if self.dead:
            raise self.failure or PeerUnreachable("the connection was lost")
        try:
            count = self.sock.send(data)
        except _BLOCKED:
            count = 0
        except ssl.SSLWantWriteError:
            count = 0
        except OSError as error:
            raise self._lost(error) from error
        self.sent += count
        if count != len(data):
            await self._send_rest(memoryview(data)[count:])
            return
        self._turn += count
        if self._turn >= TURN_BYTES:
            self._turn = 0
            await trio.lowlevel.checkpoint()

    async def _send_rest(self, view: memoryview) -> None:
        while view:
            try:
                count = self.sock.send(view)
            except BlockingIOError:
                await self.wait_writable()
                continue
            except ssl.SSLWantWriteError:
                await self.wait_writable()
                continue
            except ssl.SSLWantReadError:
                await self.wait_readable()
                continue
            except OSError as error:
                raise self._lost(error) from error
            self.sent += count
            view = view[count:]
            await self._count(count)

    async def send_parts(self, parts: list[Buffer]) -> None:
        """All parts in order, in one system call where the socket takes them."""
        if self.tls:
            for part in parts:
                await self.send(part)
            return
        if self.dead:
            raise self.failure or PeerUnreachable("the connection was lost")
        try:
            count = self.sock.sendmsg(parts)
        except BlockingIOError:
            count = 0
        except OSError as error:
            raise self._lost(error) from error
        self.sent += count
        await self._count(count)
        for part in parts:
            if count >= len(part):
                count -= len(part)
            else:
                await self._send_rest(memoryview(part)[count:])
                count = 0

    async def send_file(self, head: bytes, fd: int, offset: int, count: int) -> int:
        """`head`, then `count` bytes of the file, without copying them through this process; returns how many were missing in the file."""
        if self.tls:
            return await self._send_file_copied(head, fd, offset, count)
        if head:
            await self._send_more(head)
        if self.dead:
            raise self.failure or PeerUnreachable("the connection was lost")
        while count:
            try:
                sent = os.sendfile(self.fd, fd, offset, min(count, TURN_BYTES))
            except BlockingIOError:
                await self.wait_writable()
                continue
            except OSError as error:
                raise self._lost(error) from error
            if not sent:
                return count
            self.sent += sent
            offset += sent
            count -= sent
            await self._count(sent)
        return 0

    async def _send_more(self, head: bytes) -> None:
        """Sends without pushing, so that the head shares a packet with the file's first bytes."""
        try:
            sent = self.sock.send(head, socket.MSG_MORE)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise self._lost(error) from error
        self.sent += sent
        if sent != len(head):
            await self._send_rest(memoryview(head)[sent:])

    async def _send_file_copied(self, head: bytes, fd: int, offset: int, count: int) -> int:
        while count:
            data = os.pread(fd, min(count, TLS_PIECE_BYTES), offset)
            if not data:
                break
            await self.send(head + data)
            head = b""
            offset += len(data)
            count -= len(data)
        if head:
            await self.send(head)
        return count
