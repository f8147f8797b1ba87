"""One connection of the server: its requests one after the other, and what its peer may take in time.

Theory of operation: HANDSHAKE -> IDLE -> HEAD -> HANDLER -> IDLE ... -> LINGER. Each phase but HANDLER has one limit, counted from `since`;
in HANDLER only the waits for the peer are limited, so a slow disk is never blamed on the client. Waits are sampled at each sweep.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from node.errors import BodyTooSlow, DeadlineExceeded, FrazilError, PeerUnreachable, encode_error
from node.http.body import Body
from node.http.limits import Limits
from node.http.message import MalformedMessage, Request, format_peer, new_request_id
from node.http.parser import RequestParser
from node.http.reply import HeaderList, Reply
from node.http.transport import READING, WRITING, Transport
from node.line import Line

HANDSHAKE, IDLE, HEAD, HANDLER, LINGER = "handshake", "idle", "head", "handler", "linger"
JSON = (b"Content-Type", b"application/json")
TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_log = logging.getLogger("frazil.http")
_scratch = memoryview(bytearray(64 * 1024))
"""Where lingering connections drop what still comes; never read, so shared."""


class Service:
    """What all connections of one server share. `now` is trio's clock at the last sweep: precise enough for time-outs, and free."""

    __slots__ = ("draining", "ending", "handler", "limits", "name", "now", "observe", "on_parse_error", "tls")

    def __init__(
        self,
        handler: Callable[[Request, Reply], Awaitable[None]],
        limits: Limits,
        tls: ssl.SSLContext | None,
        name: str,
        on_parse_error: Callable[[MalformedMessage, str], tuple[int, HeaderList, bytes]] | None,
        observe: Callable[[Request, Reply, float], None] | None,
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.tls = tls
        self.name = name
        self.on_parse_error = on_parse_error
        self.observe = observe
        self.draining = self.ending = False
        self.now = trio.current_time()


class Connection:
    """Runs one accepted socket from the first byte to the close."""

    __slots__ = (
        "_address",
        "_body_from",
        "_line",
        "_linger",
        "_no_body",
        "_parser",
        "_progress",
        "_reply",
        "_sampled",
        "_sending_s",
        "_sent_from",
        "_service",
        "_stalled_s",
        "_transport",
        "_waited_s",
        "phase",
        "since",
    )

    def __init__(self, service: Service, sock: socket.socket, address: Any) -> None:
        self._service = service
        self._address = address
        self._transport = Transport(sock)
        self._no_body = Body(self._transport, service.limits, length=None)  # it has no state, so one does for all requests without
        self._reply: Reply | None = None
        self._parser = RequestParser(service.limits)
        self._line = Line.fresh()
        self._linger = False
        self.phase = HEAD if service.tls is None else HANDSHAKE
        self.since = service.now
        self._sampled = service.now
        self._body_from = self._sent_from = 0
        self._progress = -1
        self._stalled_s = 0.0
        self._waited_s = self._sending_s = 0.0

    def __repr__(self) -> str:
        return f"<Connection {format_peer(self._address)} {self.phase} {self._transport!r}>"

    # What the sweeper and the drain call.

    @property
    def idle(self) -> bool:
        return self.phase is IDLE

    def end_idle(self) -> None:
        """Ends the connection if it is between two requests."""
        if self.phase is IDLE:
            self._end_unused()

    def _end_unused(self) -> None:
        self._transport.expire(PeerUnreachable("an idle connection was closed"))

    def drain(self) -> None:
        """The reply to what is in flight says that it is the last; a connection that has not begun a request counts as idle."""
        if self.phase is HEAD and not self._transport.received:
            self.phase = IDLE
        if self._reply is not None:
            self._reply.close = True

    def check(self, now: float) -> None:
        """Ends the wait that takes too long, if there is one."""
        limits = self._service.limits
        elapsed, self._sampled = now - self._sampled, now
        phase = self.phase
        if phase is HANDLER:
            self._check_handler(elapsed, limits)
        elif self._service.ending and not self._transport.received:
            if now - self.since > limits.drain_first_s:
                self._end_unused()
        elif self._service.ending and phase is IDLE:
            self._end_unused()
        elif phase is IDLE:
            if now - self.since > limits.idle_timeout_s:
                self.end_idle()
        elif phase is LINGER:
            if now - self.since > limits.linger_s:
                self._transport.expire(PeerUnreachable("the client did not close"))
        elif now - self.since > limits.header_timeout_s:
            self._transport.expire(MalformedMessage(f"no complete request head within {limits.header_timeout_s:g} s", 408))

    def _check_handler(self, elapsed: float, limits: Limits) -> None:
        transport = self._transport
        waiting = transport.waiting
        if waiting == READING:
            received = transport.received
            self._waited_s += elapsed
            self._stalled_s = self._stalled_s + elapsed if received == self._progress else 0.0
            self._progress = received
            if self._stalled_s > limits.body_idle_timeout_s:
                transport.expire(BodyTooSlow(f"no byte of the body for {limits.body_idle_timeout_s:g} s"))
            elif received - self._body_from < (self._waited_s - limits.body_rate_grace_s) * limits.body_rate_min:
                transport.expire(BodyTooSlow(f"the body came with less than {limits.body_rate_min} bytes per second"))
        elif waiting == WRITING:
            sent = transport.sent
            self._sending_s += elapsed
            self._stalled_s = self._stalled_s + elapsed if sent == self._progress else 0.0
            self._progress = sent
            if self._stalled_s > limits.send_timeout_s:
                transport.expire(DeadlineExceeded(f"the client took no byte for {limits.send_timeout_s:g} s"))
            elif sent - self._sent_from < (self._sending_s - limits.send_rate_grace_s) * limits.send_rate_min:
                transport.expire(DeadlineExceeded(f"the client took less than {limits.send_rate_min} bytes per second"))
        else:
            self._progress = -1

    # The connection's task.

    async def run(self) -> None:
        """Serves requests until the peer or we end the connection; raises only Cancelled and bugs of this module."""
        transport = self._transport
        try:
            if self._service.tls is not None:
                transport = self._transport = _secure(transport, self._service.tls)
                await transport.handshake()
                self._begin(HEAD)
            await self._serve()
            if self._linger:
                await self._drop_rest()
        except (PeerUnreachable, MalformedMessage, DeadlineExceeded):
            _log.debug("%r ended by its peer or a time-out", self)
        finally:
            self._parser.close()
            self._transport.close()

    def _begin(self, phase: str) -> None:
        self.phase = phase
        self.since = self._service.now

    async def _serve(self) -> None:
        service = self._service
        while True:
            try:
                request = await self._next_request()
            except MalformedMessage as error:
                await self._refuse(error)
                return
            if request is None:
                return
            body = self._body_of(request)
            request.body = body
            reply = Reply(request, self._transport, body, close=service.draining or not request.keep_alive)
            self.phase = HANDLER
            self._reply = reply
            if not await self._answer(request, reply):
                return
            if not body.ended:
                await self._drain(body)
            self._reply = None
            if reply.close or not body.ended or self._transport.failure is not None:
                self._linger = not body.ended or service.draining or bool(self._transport.rest)
                return

    def _body_of(self, request: Request) -> Body:
        if not request.has_body:
            return self._no_body
        self._body_from, self._sent_from = self._transport.received, self._transport.sent
        self._progress = -1
        self._stalled_s = self._waited_s = self._sending_s = 0.0
        return Body(
            self._transport,
            self._service.limits,
            length=request.content_length,
            chunked=request.chunked,
            expect_continue=request.expect_continue,
        )

    async def _next_request(self) -> Request | None:
        """None at the end of the connection."""
        transport = self._transport
        parser = self._parser
        data = transport.rest
        if not data:
            if transport.received:
                self.phase = IDLE
                self.since = self._service.now
            data = await transport.receive(wait_first=True)
        if self.phase is not HEAD:
            self.phase = HEAD
            self.since = self._service.now
        while data:
            request = parser.feed(data)
            if request is not None:
                transport.rest = parser.rest
                request.secure = transport.tls
                request.address = self._address
                request.line = self._line
                return request
            data = await transport.receive()
        if parser.begun:
            raise MalformedMessage("the connection ended within a request head")
        return None

    async def _answer(self, request: Request, reply: Reply) -> bool:
        """Runs the handler and completes its reply; False when the connection was cut off."""
        service = self._service
        began = trio.current_time() if service.observe is not None else 0.0
        try:
            try:
                await service.handler(request, reply)
                if not reply.finished:
                    await reply.finish()
                return True
            except Exception as error:  # noqa: BLE001 - the edge: a bug in one request must not end the others
                if not reply.started and not self._transport.dead:
                    await self._reply_error(request, reply, _innermost(error))
                    return True
                if not self._transport.dead:
                    self._log_error(request, _innermost(error), "broke off")
            self._transport.reset()
            return False
        except BaseException:
            if reply.started and not reply.finished:
                self._transport.reset()
            raise
        finally:
            if service.observe is not None:
                service.observe(request, reply, trio.current_time() - began)

    async def _reply_error(self, request: Request, reply: Reply, error: Exception) -> None:
        if not isinstance(error, FrazilError) or (error.status >= 500 and not error.transient):
            self._log_error(request, error, "failed")
        if not isinstance(error, FrazilError):
            error = FrazilError("internal error; the log has the details")
        await reply.whole(error.status, [JSON], encode_error(error))

    def _log_error(self, request: Request, error: Exception, what: str) -> None:
        if isinstance(error, FrazilError):
            _log.warning("%s: %r %s: %s: %s", self._service.name, request, what, error.code, error)
        else:
            _log.error("%s: %r %s", self._service.name, request, what, exc_info=error)

    async def _drain(self, body: Body) -> None:
        try:
            await body.drain()
        except FrazilError:
            _log.debug("%r: the rest of the request did not come", self)

    async def _refuse(self, error: MalformedMessage) -> None:
        """Answers bytes that are no request, then ends the connection: where the next request begins is unknown."""
        request = Request("GET", b"/", keep_alive=False)
        reply = Reply(request, self._transport, self._no_body, close=True)
        words = self._service.on_parse_error
        status, headers, text = (error.status, [TEXT], f"{error}\n".encode()) if words is None else words(error, new_request_id())
        self.phase = HANDLER
        await reply.whole(status, headers, text)
        self._linger = True

    async def _drop_rest(self) -> None:
        """Closes our side and drops what still comes: the kernel would answer it with a reset that eats our reply (RFC 9112 9.6)."""
        transport = self._transport
        self._begin(LINGER)
        transport.failure = None
        transport.rest = b""
        dropped = 0
        try:
            transport.sock.shutdown(socket.SHUT_WR)
        except OSError:  # the peer is gone already
            return
        while dropped < self._service.limits.linger_bytes_max:
            count = await transport.receive_into(_scratch)
            if not count:
                return
            dropped += count


def _secure(transport: Transport, tls: ssl.SSLContext) -> Transport:
    """The same connection under TLS, before its handshake. Raises: PeerUnreachable."""
    try:
        return Transport(tls.wrap_socket(transport.sock, server_side=True, do_handshake_on_connect=False))
    except OSError as error:  # the peer is gone already
        raise PeerUnreachable(f"the connection was lost: {error.strerror or error}") from error


def _innermost(error: Exception) -> Exception:
    """What a nursery wrapped in a group of one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
