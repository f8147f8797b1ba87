"""Bytes to message heads, sans-IO: httptools (llhttp) reads the syntax, this module adds what it leaves open.

llhttp refuses Content-Length with Transfer-Encoding, repeated or odd lengths, bare LF and CR, obs-fold and control characters.
It does not refuse Transfer-Encoding on HTTP/1.0, a missing or second Host, HTTP/0.9 and 2.0, "RTSP/1.0", two spaces in the request line,
and it has no limits: those are here. Only the head goes through httptools, so that a body costs no copy; its framing is in `chunked`.
"""

from __future__ import annotations

import re
from typing import NoReturn

import httptools

from node.http.limits import Limits
from node.http.message import Headers, MalformedMessage, Request

METHODS = {name.encode(): name for name in ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "COPY")}
HEAD_END = b"\r\n\r\n"
_SINGLE = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect"))
"""Headers that two readers could resolve differently when they come twice."""
_HOST = re.compile(rb"[A-Za-z0-9.\-_~%!$&'()*+,;=:\[\]]*")
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_VERSIONS = ("1.0", "1.1")


class _Head:
    """Feeds one head to httptools, whole or in pieces, and finds where it ends."""

    __slots__ = ("_complete", "_items", "_limits", "_parser", "_raw", "_target", "rest")

    _parser: httptools.HttpRequestParser | httptools.HttpResponseParser

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.rest = b""
        self._reset()

    def _reset(self) -> None:
        self._raw = b""
        self._target = b""
        self._items: list[tuple[bytes, bytes]] = []
        self._complete = False

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._items.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._complete = True

    @property
    def begun(self) -> bool:
        """Bytes of an unfinished head were fed."""
        return bool(self._raw)

    def close(self) -> None:
        """Unties the parser from its callbacks, so that no garbage collection is needed."""
        del self._parser

    def _advance(self, data: bytes) -> bool:
        """True when the head is complete; `rest` then holds what follows it. Raises: MalformedMessage."""
        raw = self._raw
        if not raw and data[:1] in b"\r\n":  # an empty piece too
            data = data.lstrip(b"\r\n")  # RFC 9112 2.2: empty lines before a request are ignored
            if not data:
                return False
        if raw:
            found = (raw[-3:] + data).find(HEAD_END)
            stop = found + 4 - min(3, len(raw))
        else:
            found = data.find(HEAD_END)
            stop = found + 4
        if found < 0 or stop == len(data):
            piece, self.rest = data, b""
        else:
            piece, self.rest = data[:stop], data[stop:]
        self._raw = raw + piece if raw else piece
        if len(self._raw) > self._limits.header_bytes_max:
            self._refuse_size()
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            pass  # the offer of another protocol is ignored (RFC 9110 7.8); llhttp stops at the head's end, as we do
        except httptools.HttpParserError as error:
            raise MalformedMessage(f"malformed HTTP message: {error}") from error
        if self._complete != (found >= 0):
            raise MalformedMessage("malformed HTTP message: the head does not end with an empty line")
        return self._complete

    def _refuse_size(self) -> NoReturn:
        if b"\r\n" not in self._raw[: self._limits.header_bytes_max]:
            raise MalformedMessage(f"the request target is longer than {self._limits.target_bytes_max} bytes", 414)
        raise MalformedMessage(f"the header is longer than {self._limits.header_bytes_max} bytes", 431)

    def _headers(self) -> tuple[Headers, dict[bytes, bytes]]:
        items = self._items
        if len(items) > self._limits.header_count_max:
            raise MalformedMessage(f"more than {self._limits.header_count_max} header lines", 431)
        index: dict[bytes, bytes] = {}
        for at, (name, value) in enumerate(items):
            if value and value[-1] in b" \t":
                value = value.rstrip(b" \t")
                items[at] = (name, value)
            if name not in index:
                index[name] = value
            elif name in _SINGLE:
                raise MalformedMessage(f"more than one {name.decode()} header")
        return Headers(items, index), index


def _content_length(index: dict[bytes, bytes]) -> int | None:
    text = index.get(b"content-length")
    if text is None:
        return None
    if not text.isdigit() or len(text) > 19:
        raise MalformedMessage("Content-Length is not a number of bytes")
    return int(text)


def _chunked(index: dict[bytes, bytes]) -> bool:
    coding = index.get(b"transfer-encoding")
    if coding is None:
        return False
    if b"content-length" in index:
        raise MalformedMessage("Content-Length and Transfer-Encoding together")
    if coding.lower() != b"chunked":
        raise MalformedMessage("the only transfer coding understood is chunked", 501)
    return True


def _keep_alive(headers: Headers, version: str) -> bool:
    if b"connection" not in headers:
        return version == "1.1"
    options = b",".join(headers.getall(b"connection")).lower().replace(b" ", b"").replace(b"\t", b"").split(b",")
    return b"close" not in options and (version == "1.1" or b"keep-alive" in options)


class RequestParser(_Head):
    """The heads of the requests of one connection, one after the other."""

    __slots__ = ()

    def _reset(self) -> None:
        super()._reset()
        self._parser = httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> Request | None:
        """The next request when its head is complete (`rest` is then what follows: its body or the next head), else None.

        Raises: MalformedMessage; the parser can't be used afterwards.
        """
        if not self._advance(data):
            return None
        request = self._finish()
        self._reset()
        return request

    def _finish(self) -> Request:
        parser = self._parser
        version = parser.get_http_version()
        if version not in _VERSIONS:
            raise MalformedMessage("only HTTP/1.0 and HTTP/1.1 are served", 505)
        token = parser.get_method()  # type: ignore[union-attr]
        method = METHODS.get(token)
        if method is None:
            raise MalformedMessage("the method is not known here", 501)
        target = self._target
        if not self._raw.startswith(b"%b %b HTTP/%b\r\n" % (token, target, version.encode())):
            raise MalformedMessage("malformed request line")
        if len(target) > self._limits.target_bytes_max:
            raise MalformedMessage(f"the request target is longer than {self._limits.target_bytes_max} bytes", 414)
        headers, index = self._headers()
        path, _, query = self._origin(target, method, index).partition(b"?")
        self._check_host(index, version)
        chunked = _chunked(index)
        if chunked and version == "1.0":
            raise MalformedMessage("Transfer-Encoding on HTTP/1.0")
        return Request(
            method,
            target,
            headers,
            raw_path=path,
            raw_query=query,
            http_version=version,
            content_length=_content_length(index),
            chunked=chunked,
            keep_alive=_keep_alive(headers, version),
            expect_continue=b"expect" in index and self._expects(index[b"expect"], version),
        )

    @staticmethod
    def _origin(target: bytes, method: str, index: dict[bytes, bytes]) -> bytes:
        """The target in origin form (RFC 9112 3.2): absolute form must name the Host header's authority; "*" is for OPTIONS."""
        if target[0] == 0x2F:
            if b"#" in target:
                raise MalformedMessage("a fragment in the request target")
            return target
        if target == b"*" and method == "OPTIONS":
            return target
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or b"#" in target:
            raise MalformedMessage("the request target is neither a path nor an absolute http URL")
        if absolute[1].lower() != index.get(b"host", b"").lower():
            raise MalformedMessage("the request target names another host than the Host header")
        return absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]

    @staticmethod
    def _check_host(index: dict[bytes, bytes], version: str) -> None:
        host = index.get(b"host")
        if host is None:
            if version == "1.1":
                raise MalformedMessage("HTTP/1.1 without a Host header")
        elif not _HOST.fullmatch(host):
            raise MalformedMessage("the Host header is not a host")

    @staticmethod
    def _expects(value: bytes, version: str) -> bool:
        if version == "1.0":
            return False  # RFC 9110 10.1.1: such an expectation is ignored
        if value.lower() != b"100-continue":
            raise MalformedMessage("the only expectation understood is 100-continue", 417)
        return True


class ResponseHead:
    """Status line and headers of an answer. `content_length` None and not chunked: the body ends with the connection."""

    __slots__ = ("chunked", "content_length", "headers", "keep_alive", "status")

    def __init__(self, status: int, headers: Headers, content_length: int | None, chunked: bool, keep_alive: bool) -> None:
        self.status = status
        self.headers = headers
        self.content_length = content_length
        self.chunked = chunked
        self.keep_alive = keep_alive


class ResponseParser(_Head):
    """The heads of the answers on one connection, with the same strictness."""

    __slots__ = ()

    def _reset(self) -> None:
        super()._reset()
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> ResponseHead | None:
        """As RequestParser.feed."""
        if not self._advance(data):
            return None
        version = self._parser.get_http_version()
        if version not in _VERSIONS:
            raise MalformedMessage("the answer is neither HTTP/1.0 nor HTTP/1.1")
        status: int = self._parser.get_status_code()  # type: ignore[union-attr]
        headers, index = self._headers()
        head = ResponseHead(status, headers, _content_length(index), _chunked(index), _keep_alive(headers, version))
        self._reset()
        return head
