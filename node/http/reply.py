"""The answer to one request: head and first bytes leave in one system call."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from node.http.body import Body
from node.http.message import Request
from node.http.transport import Buffer, Transport

HeaderList = Sequence[tuple[bytes, bytes]]

JOIN_BYTES_MAX = 32 * 1024
"""Up to here copying the body behind the head is cheaper than a second buffer in the system call."""
NAMES_MAX = 1024
LINES_REMEMBERED = 256
"""A header that comes alone is mostly a Content-Type, of which there are few."""
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OWN = frozenset((b"content-length", b"transfer-encoding", b"connection", b"date"))
_names: set[bytes] = set()
"""Header names that were checked before; bounded by NAMES_MAX, for metadata names come from users."""
_NO_BODY = frozenset((204, 304))


class _StatusLines:
    """Status line and Date per status; made anew each second."""

    __slots__ = ("_lines", "_second")

    def __init__(self) -> None:
        self._second = 0
        self._lines: dict[int, bytes] = {}

    def get(self, status: int) -> bytes:
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._lines = {}
        line = self._lines.get(status)
        if line is None:
            try:
                reason = HTTPStatus(status).phrase
            except ValueError:
                reason = ""
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(second))
            line = self._lines[status] = f"HTTP/1.1 {status} {reason}\r\nDate: {date}\r\n".encode("ascii")
        return line


_status_lines = _StatusLines()


def _check_name(name: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no header name")
    if name.lower() in _OWN:
        raise ValueError(f"{name.decode()} is written by the server itself")
    if len(_names) < NAMES_MAX:
        _names.add(name)


def header_lines(headers: HeaderList) -> bytes:
    """The lines of `headers`. Raises: ValueError for a name or value that would break out of its line."""
    for name, _ in headers:
        if name not in _names:
            _check_name(name)
    block = b"\r\n".join(map(b": ".join, headers))
    ends = len(headers) - 1 if headers else 0
    if len(block) - len(block.translate(None, b"\r\n\0")) != 2 * ends:  # one pass; counting each takes three
        raise ValueError("a header value holds CR, LF or NUL")
    return block + b"\r\n" if headers else b""


@lru_cache(maxsize=LINES_REMEMBERED)
def _line(header: tuple[bytes, bytes]) -> bytes:
    return header_lines((header,))


class Reply:
    """Answers `request` once, by `whole` or by `start` ... `send` ... `finish`. Raises (all that send): PeerUnreachable.

    started   bytes have left, nothing can be taken back; before, another `whole` or `start` replaces what was begun
    status    of the answer, 0 before
    sent      body bytes handed to the kernel
    close     the connection ends after this reply; a handler may set it before it replies
    """

    __slots__ = (
        "_body",
        "_chunked",
        "_held",
        "_left",
        "_request",
        "_silent",
        "_transport",
        "close",
        "finished",
        "sent",
        "started",
        "status",
    )

    def __init__(self, request: Request, transport: Transport, body: Body, *, close: bool) -> None:
        self._request = request
        self._transport = transport
        self._body = body
        self._held = b""
        self._left: int | None = 0
        self._chunked = False
        self._silent = request.method == "HEAD"
        self.close = close
        self.started = False
        self.finished = False
        self.status = 0
        self.sent = 0

    def __repr__(self) -> str:
        return f"<Reply {self.status or 'not started'} sent={self.sent} left={self._left}{' close' if self.close else ''}>"

    def _head(self, status: int, headers: HeaderList, lines: bytes, framing: bytes) -> bytes:
        if self.started:
            raise RuntimeError("the reply was started already")
        if headers:
            lines += header_lines(headers) if len(headers) > 1 else _line(headers[0])
        self.status = status
        body = self._body
        if not body.ended and not body.drainable:
            self.close = True
        if self.close:
            connection = b"Connection: close\r\n\r\n"
        elif self._request.http_version == "1.0":
            connection = b"Connection: keep-alive\r\n\r\n"
        else:
            connection = b"\r\n"
        return b"".join((_status_lines.get(status), lines, framing, connection))

    async def whole(
        self, status: int, headers: HeaderList, body: Buffer = b"", *, content_length: int | None = None, lines: bytes = b""
    ) -> None:
        """Head and body in one system call. `content_length` is what a HEAD (or 304) answer announces in place of a body.

        lines   headers that go before the others, as `header_lines` makes them: the caller vouches for them
        """
        if content_length is not None or status in _NO_BODY:
            body, framing = self._announce(status, body, content_length)
        else:
            framing = b"Content-Length: %d\r\n" % len(body)
        head = self._head(status, headers, lines, framing)
        self.started = self.finished = True
        if self._silent or not body:
            await self._transport.send(head)
            return
        self.sent = len(body)
        if len(body) <= JOIN_BYTES_MAX:
            await self._transport.send(head + body)
        else:
            await self._transport.send_parts([head, body])

    def _announce(self, status: int, body: Buffer, content_length: int | None) -> tuple[Buffer, bytes]:
        if status in _NO_BODY:
            return b"", b"" if content_length is None else b"Content-Length: %d\r\n" % content_length
        if not self._silent and content_length != len(body):
            raise RuntimeError(f"the reply announces {content_length} bytes and has {len(body)}")
        return body, b"Content-Length: %d\r\n" % (content_length or 0)

    async def start(self, status: int, headers: HeaderList, *, length: int | None, lines: bytes = b"") -> None:
        """Begins a streamed answer; its head leaves with the first piece. `length` None: chunked, or up to the end for HTTP/1.0.

        lines   as in `whole`
        """
        if length is not None:
            framing = b"Content-Length: %d\r\n" % length
        elif self._request.http_version == "1.1":
            framing = b"Transfer-Encoding: chunked\r\n"
        else:
            framing = b""
            self.close = True
        self._chunked = length is None and self._request.http_version == "1.1" and not self._silent
        self._held = self._head(status, headers, lines, framing)
        self._left = 0 if self._silent else length

    async def send(self, data: Buffer) -> None:
        """A piece of the body; all of it is in the kernel when this returns."""
        size = len(data)
        if self._silent or not size:
            return
        self._took(size)
        held, self._held = self._held, b""
        self.started = True
        if self._chunked:
            await self._transport.send_parts([b"%b%x\r\n" % (held, size), data, b"\r\n"])
        elif not held:
            await self._transport.send(data)
        elif size <= JOIN_BYTES_MAX:
            await self._transport.send(held + data)
        else:
            await self._transport.send_parts([held, data])

    def _took(self, size: int) -> None:
        if self._left is not None:
            if size > self._left:
                raise RuntimeError(f"the reply has {size} bytes where {self._left} are left of its length")
            self._left -= size
        self.sent += size

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """`count` bytes of the open file from `offset`, by sendfile. A file that is too short leaves the body short."""
        if self._silent or not count:
            return
        self._took(count)
        held, self._held = self._held, b""
        self.started = True
        if self._chunked:
            held = b"%b%x\r\n" % (held, count)
        missing = await self._transport.send_file(held, fd, offset, count)
        if missing:
            self.sent -= missing
            raise RuntimeError(f"the file ended {missing} bytes before the announced count")
        if self._chunked:
            await self._transport.send(b"\r\n")

    async def finish(self) -> None:
        """Ends the body; the server calls it when the handler did not. Raises: RuntimeError when the body is shorter than its length."""
        if self.finished:
            return
        if not self.status:
            raise RuntimeError("the handler returned without a reply")
        if self._left:
            raise RuntimeError(f"the reply is {self._left} bytes shorter than its length")
        self.started = self.finished = True
        tail = self._held + (b"0\r\n\r\n" if self._chunked else b"")
        self._held = b""
        if tail:
            await self._transport.send(tail)
