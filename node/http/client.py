"""The HTTP client for calls between services: one pool per address, every wait bounded, calls signed with the namespace's key."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

import trio

from node.auth import PROOF_HEADER, NamespaceKey, digest
from node.errors import (
    BodyIncomplete,
    CallNotAuthenticated,
    DeadlineExceeded,
    FrazilError,
    InvalidArgument,
    NotConnected,
    PeerUnreachable,
    decode_error,
)
from node.http.body import Body
from node.http.limits import Limits
from node.http.message import Headers, MalformedMessage
from node.http.parser import ResponseHead, ResponseParser
from node.http.pool import Address, Pool
from node.http.reply import JOIN_BYTES_MAX, HeaderList, header_lines
from node.http.transport import Buffer, Transport
from node.line import Line

CONNECT_TIMEOUT_S = 3.0
IO_TIMEOUT_S = 30.0
"""One send or receive without progress."""
TIMEOUT_S = 60.0
"""From the call to the head of its answer, unless the caller says otherwise."""
CONNECTIONS_MAX = 64
"""In use at once to one address; more calls wait for one."""
POOLS_MAX = 1024
IDLE_S = 30.0
"""Less than the server's idle time-out, so that a kept connection is not ended just when it is used."""
EARLY_ANSWER_S = 2.0
ERROR_BYTES_MAX = 64 * 1024
INTERIM_MAX = 8
"""1xx answers before the real one."""

AnyBody = Buffer | AsyncIterator[bytes] | None


class Client:
    """Calls services. Raises (all calls): PeerUnreachable, DeadlineExceeded, MalformedMessage; a status of 4xx or 5xx is no exception here.

    Nothing is sent twice: a call that failed may have been carried out, and only the caller knows whether it may be made again. With a key,
    a new connection is first asked for what its calls are proved by (node/auth.py): one round trip more.
    """

    def __init__(
        self,
        *,
        key: NamespaceKey | None = None,
        tls: ssl.SSLContext | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        io_timeout_s: float = IO_TIMEOUT_S,
        connections_max: int = CONNECTIONS_MAX,
        idle_s: float = IDLE_S,
    ) -> None:
        self._key = key
        self._tls = tls
        self._connect_timeout_s = connect_timeout_s
        self.io_timeout_s = io_timeout_s
        self._connections_max = connections_max
        self._idle_s = idle_s
        self._pools: dict[str, Pool] = {}

    def __repr__(self) -> str:
        return f"<Client pools={list(self._pools.values())}>"

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the idle connections; those in use close when their response does."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()

    async def request(
        self,
        method: str,
        address: str,
        target: bytes | str,
        *,
        headers: HeaderList = (),
        body: AnyBody = None,
        length: int | None = None,
        trailers: Callable[[], Sequence[tuple[bytes, bytes]]] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Response:
        """Makes a call; returns when the head of the answer is there. The Response must be closed (`async with`).

        An iterator as body is streamed: `length` is its size if known, `trailers` is asked after its end.
        """
        if body is not None and not isinstance(body, bytes | bytearray | memoryview):
            with _deadline(timeout_s, f"{method} {address}"):
                put = await self.open_put(address, target, headers, length=None if trailers else length, method=method, timeout_s=timeout_s)
                try:
                    async for piece in body:
                        await put.send(piece)
                    return await put.finish(trailers() if trailers else ())
                except BaseException:
                    put.abort()
                    raise
        data: Buffer = b"" if body is None else body
        target = target.encode("ascii") if isinstance(target, str) else target
        with _deadline(timeout_s, f"{method} {address}"):
            return await self._call(method, address, target, headers, data)

    async def _call(self, method: str, address: str, target: bytes, headers: HeaderList, data: Buffer) -> Response:
        pool, transport = await self._acquire(address)
        try:
            if self._key is not None and transport.line is not None:
                headers = [*headers, (PROOF_HEADER, self._key.sign(method, target, digest(data), transport.line))]
            framing = b"Content-Length: %d\r\n" % len(data) if data or method in ("PUT", "POST") else b""
            head = _request_head(method, target, pool.address, headers, framing)
            if len(data) <= JOIN_BYTES_MAX:
                await transport.send(head + data)
            else:
                await transport.send_parts([head, data])
            return await self.read_response(method, pool, transport)
        except BaseException:
            pool.release(transport, reusable=False)
            raise

    async def open_put(
        self,
        address: str,
        target: bytes | str,
        headers: HeaderList = (),
        *,
        length: int | None,
        method: str = "PUT",
        timeout_s: float = TIMEOUT_S,
    ) -> Put:
        """A call whose body the caller drives. Signed calls are always chunked, for their proof comes in a trailer."""
        target = target.encode("ascii") if isinstance(target, str) else target
        with _deadline(timeout_s, f"{method} {address}"):
            pool, transport = await self._acquire(address)
        try:
            proof = b""
            if self._key is not None and transport.line is not None:
                proof = self._key.sign(method, target, None, transport.line)
                headers = [*headers, (PROOF_HEADER, proof)]
            chunked = length is None or self._key is not None
            framing = b"Transfer-Encoding: chunked\r\n" if chunked else b"Content-Length: %d\r\n" % (length or 0)
            head = _request_head(method, target, pool.address, headers, framing)
        except BaseException:
            pool.release(transport, reusable=False)
            raise
        return Put(self, method, pool, transport, head, length=length, chunked=chunked, proof=proof, timeout_s=timeout_s)

    def sign_trailers(self, proof: bytes, size: int, trailers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """The trailer proof of a streamed call of this client."""
        assert self._key is not None
        return self._key.sign_trailers(proof, size, trailers)

    async def _acquire(self, address: str) -> tuple[Pool, Transport]:
        pool = self._pool(address)
        transport = await pool.acquire()
        if self._key is not None and transport.line is None:
            try:
                transport.line = await self._ask_line(pool, transport)
            except BaseException:
                pool.release(transport, reusable=False)
                raise
        return pool, transport

    async def _ask_line(self, pool: Pool, transport: Transport) -> Line:
        """What a new connection's calls are proved by. Raises: NotConnected, for no call was made yet."""
        try:
            await transport.send(_request_head("GET", b"/", pool.address, (), b""))
            head = await _read_head(transport)
            body = await _body_of(head, transport).read(ERROR_BYTES_MAX)
        except (PeerUnreachable, BodyIncomplete) as error:
            raise NotConnected(f"{pool.address.text} ended a new connection: {error}") from error
        if not head.keep_alive:
            raise NotConnected(f"{pool.address.text} takes no calls any more")
        return Line.told(decode_error(body, head.status).detail if head.status == CallNotAuthenticated.status else "")

    def _pool(self, address: str) -> Pool:
        pool = self._pools.get(address)
        if pool is None:
            if len(self._pools) >= POOLS_MAX:
                for other in self._pools.values():
                    other.close()
                self._pools.clear()
            pool = self._pools[address] = Pool(
                Address.parse(address),
                connections_max=self._connections_max,
                connect_timeout_s=self._connect_timeout_s,
                idle_s=self._idle_s,
                tls=self._tls,
            )
        return pool

    async def read_response(self, method: str, pool: Pool, transport: Transport) -> Response:
        """The answer on a connection on which a call was sent; it takes the connection over."""
        head = await _read_head(transport)
        bodyless = method == "HEAD" or head.status in (204, 304)
        body = _body_of(head, transport, bodyless=bodyless)
        return Response(head, body, pool, transport, self.io_timeout_s, reusable=head.keep_alive and (bodyless or _is_framed(head)))


_LIMITS = Limits()


@contextmanager
def _deadline(seconds: float, what: str) -> Iterator[None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise DeadlineExceeded(f"{what}: no answer within {seconds:g} s")


def _request_head(method: str, target: bytes, address: Address, headers: HeaderList, framing: bytes) -> bytes:
    if not target or any(byte <= 0x20 or byte >= 0x7F for byte in target):
        raise InvalidArgument("a request target has no spaces, controls or bytes beyond ASCII")
    host = b"localhost" if address.path else address.text.encode("ascii")
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n" % (method.encode("ascii"), target, host, header_lines(headers), framing)


def _is_framed(head: ResponseHead) -> bool:
    """Whether its body ends before the connection does."""
    return head.chunked or head.content_length is not None


def _body_of(head: ResponseHead, transport: Transport, *, bodyless: bool = False) -> Body:
    return Body(
        transport,
        _LIMITS,
        length=None if bodyless else head.content_length,
        chunked=head.chunked and not bodyless,
        until_end=not bodyless and not _is_framed(head),
    )


async def _read_head(transport: Transport) -> ResponseHead:
    parser = ResponseParser(_LIMITS)
    try:
        for _ in range(INTERIM_MAX):
            head = None
            data = transport.rest
            while head is None:
                data = data or await transport.receive()
                if not data:
                    raise PeerUnreachable("the peer closed the connection without an answer")
                head = parser.feed(data)
                data = b""
            transport.rest = parser.rest
            if head.status >= 200:
                return head
        raise MalformedMessage("more interim answers than a peer has reason to send")
    finally:
        parser.close()


class Response:
    """An answer; its body is read once. Closing it with the body read keeps the connection for the next call."""

    def __init__(self, head: ResponseHead, body: Body, pool: Pool, transport: Transport, io_timeout_s: float, *, reusable: bool) -> None:
        self.status = head.status
        self.headers = head.headers
        self.content_length = head.content_length
        self._body = body
        self.pool = pool
        self._transport = transport
        self.io_timeout_s = io_timeout_s
        self._reusable = reusable
        self._open = True

    def __repr__(self) -> str:
        return f"<Response {self.status} {self._body!r}>"

    async def __aenter__(self) -> Response:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.aclose()

    @property
    def trailers(self) -> Headers:
        """Empty before the end of the body."""
        return self._body.trailers

    async def read_into(self, buffer: memoryview) -> int:
        """At least one byte; 0 at the end. Raises: BodyIncomplete, PeerUnreachable, DeadlineExceeded."""
        with self._limit():
            return await self._body.read_into(buffer)

    async def fill(self, buffer: memoryview) -> int:
        """Reads until `buffer` is full or the body ends."""
        filled = 0
        while filled < len(buffer) and (count := await self.read_into(buffer[filled:])):
            filled += count
        return filled

    async def read(self, max_bytes: int) -> bytes:
        """The whole rest of the body. Raises: BodyTooLarge beyond `max_bytes`; as read_into."""
        with self._limit():
            return await self._body.read(max_bytes)

    async def raise_for_error(self) -> None:
        """Raises the error that the peer sent when the status is 400 or more; PeerUnreachable when that broke off."""
        if self.status >= 400:
            try:
                body = await self.read(ERROR_BYTES_MAX)
            except (BodyIncomplete, PeerUnreachable) as error:
                raise PeerUnreachable(f"{self.pool.address.text} broke off while it said why it refuses: {error}") from error
            raise decode_error(body, self.status)

    @contextmanager
    def _limit(self) -> Iterator[None]:
        try:
            with _deadline(self.io_timeout_s, self.pool.address.text):
                yield
        except BaseException:
            self._reusable = False
            raise

    async def aclose(self) -> None:
        if self._open:
            self._open = False
            self.pool.release(self._transport, reusable=self._reusable and self._body.ended)


class Put:
    """A call in the middle of its body. End it by `finish` or `abort`."""

    def __init__(
        self,
        client: Client,
        method: str,
        pool: Pool,
        transport: Transport,
        head: bytes,
        *,
        length: int | None,
        chunked: bool,
        proof: bytes,
        timeout_s: float,
    ) -> None:
        self._client = client
        self._method = method
        self._pool = pool
        self._transport = transport
        self._held = head
        self._length = length
        self._chunked = chunked
        self._proof = proof
        self._timeout_s = timeout_s
        self._open = True
        self.sent = 0

    def __repr__(self) -> str:
        return f"<Put {self._pool.address.text} sent={self.sent}{'' if self._open else ' ended'}>"

    async def send(self, data: Buffer) -> None:
        """A piece of the body; in the kernel when this returns. Raises: what the peer says when it refuses early; PeerUnreachable."""
        size = len(data)
        if not size:
            return
        if self._length is not None and self.sent + size > self._length:
            self.abort()
            raise InvalidArgument(f"the body has more than the announced {self._length} bytes")
        held, self._held = self._held, b""
        self.sent += size
        if self._chunked:
            await self._push([b"%b%x\r\n" % (held, size), data, b"\r\n"])
        else:
            await self._push([held, data] if held else [data])

    async def _push(self, parts: list[Buffer]) -> None:
        if not self._open:
            raise PeerUnreachable("the call was ended")
        try:
            with _deadline(self._client.io_timeout_s, self._pool.address.text):
                await self._transport.send_parts(parts)
        except PeerUnreachable as error:
            early = await self._early_error()
            self.abort()
            raise early or error from error
        except BaseException:
            self.abort()
            raise

    async def _early_error(self) -> FrazilError | None:
        """What a peer said that stopped reading: it answers, then closes."""
        try:
            with _deadline(EARLY_ANSWER_S, self._pool.address.text):
                response = await self._client.read_response(self._method, self._pool, self._transport)
                return decode_error(await response.read(ERROR_BYTES_MAX), response.status) if response.status >= 400 else None
        except FrazilError:
            return None

    async def finish(self, trailers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
        """Ends the body and returns the answer."""
        if self._length is not None and self.sent != self._length:
            self.abort()
            raise InvalidArgument(f"the body has {self.sent} of the announced {self._length} bytes")
        if self._chunked:
            if self._proof:
                trailers = [*trailers, (PROOF_HEADER, self._client.sign_trailers(self._proof, self.sent, trailers))]
            tail = b"%b0\r\n%b\r\n" % (self._held, header_lines(trailers))
        elif trailers:
            raise InvalidArgument("trailers need a chunked body: give no length")
        else:
            tail = self._held
        self._held = b""
        if tail:
            await self._push([tail])
        try:
            with _deadline(self._timeout_s, f"{self._method} {self._pool.address.text}"):
                response = await self._client.read_response(self._method, self._pool, self._transport)
        except BaseException:
            self.abort()
            raise
        self._open = False
        return response

    def abort(self) -> None:
        """Breaks the connection, so that the peer sees an incomplete body; does nothing after `finish`."""
        if self._open:
            self._open = False
            self._transport.reset()
            self._pool.release(self._transport, reusable=False)
