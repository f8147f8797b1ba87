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


class _Head:
    """Feeds one head after the other to httptools, each whole or in pieces, and finds where it ends."""

    __slots__ = ("_complete", "_items", "_limits", "_parser", "_raw", "_stale", "_target", "rest")

    _parser: httptools.HttpRequestParser | httptools.HttpResponseParser

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.rest = b""
        self._raw = b""
        self._target = b""
        self._items: list[tuple[bytes, bytes]] = []
        self._complete = False
        self._stale = False
        self._parser = self._new()

    def _new(self) -> httptools.HttpRequestParser | httptools.HttpResponseParser:
        raise NotImplementedError

    def _reset(self) -> None:
        """Ready for the next head. llhttp goes on by itself after a message without body, else it waits for bytes it will not get."""
        self._raw = self._target = b""
        self._items = []
        self._complete = False
        if self._stale:
            self._stale = False
            self._parser = self._new()

    # Callbacks of httptools.

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
        if raw:
            found = (raw[-3:] + data).find(HEAD_END)
            stop = found + 4 - min(3, len(raw))
        else:
            if data[:1] in b"\r\n":  # RFC 9112 2.2: empty lines before a request are ignored; so is an empty piece
                data = data.lstrip(b"\r\n")
                if not data:
                    return False
            found = data.find(HEAD_END)
            stop = found + 4
        if found < 0 or stop == len(data):
            self.rest = b""
        else:
            data, self.rest = data[:stop], data[stop:]
        self._raw = raw = raw + data if raw else data
        if len(raw) > self._limits.header_bytes_max:
            self._refuse_size()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._stale = True  # the offer of another protocol is ignored (RFC 9110 7.8); llhttp stops at the head's end, as we do
        except httptools.HttpParserError as error:
            raise MalformedMessage(f"malformed HTTP message: {error}") from error
        if self._complete != (found >= 0):
            raise MalformedMessage("malformed HTTP message: the head does not end with an empty line")
        return self._complete

    def _refuse_size(self) -> NoReturn:
        if b"\r\n" not in self._raw[: self._limits.header_bytes_max]:
            raise MalformedMessage(f"the request target is longer than {self._limits.target_bytes_max} bytes", 414)
        raise MalformedMessage(f"the header is longer than {self._limits.header_bytes_max} bytes", 431)

    def _index(self) -> dict[bytes, bytes]:
        """First value of each name; trims the values in `_items` on the way."""
        items = self._items
        if len(items) > self._limits.header_count_max:
            raise MalformedMessage(f"more than {self._limits.header_count_max} header lines", 431)
        raw = self._raw
        if b" \r\n" in raw or b"\t\r\n" in raw:  # llhttp leaves spaces after a value
            self._items = items = [(name, value.rstrip(b" \t")) for name, value in items]
        index = dict(items)
        if len(index) != len(items):
            names = [name for name, _ in items]
            for name in _SINGLE:
                if names.count(name) > 1:
                    raise MalformedMessage(f"more than one {name.decode()} header")
            index = dict(reversed(items))
        return index


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

    __slots__ = ("_host",)

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self._host: bytes | None = None  # the last one that was found right: connections seldom change it

    def _new(self) -> httptools.HttpRequestParser:
        return httptools.HttpRequestParser(self)

    def feed(self, data: bytes) -> Request | None:
        """The next request when its head is complete (`rest` is then what follows: its body or the next head), else None.

        Raises: MalformedMessage; the parser can't be used afterwards.
        """
        if not self._advance(data):
            return None
        token = self._parser.get_method()  # type: ignore[union-attr]
        target = self._target
        version = self._version(token + b" " + target)
        method = METHODS.get(token)
        if method is None:
            raise MalformedMessage("the method is not known here", 501)
        if len(target) > self._limits.target_bytes_max:
            raise MalformedMessage(f"the request target is longer than {self._limits.target_bytes_max} bytes", 414)
        index = self._index()
        headers = Headers(self._items, index)
        host = index.get(b"host")
        if host is None or host != self._host:
            self._check_host(host, version)
        origin = target if target[0] == 0x2F and b"#" not in target else self._origin(target, method, host)
        path, _, query = origin.partition(b"?")
        chunked = b"transfer-encoding" in index and _chunked(index)
        if chunked and version == "1.0":
            raise MalformedMessage("Transfer-Encoding on HTTP/1.0")
        length = _content_length(index) if b"content-length" in index else None
        if chunked or length:
            self._stale = True
        keep_alive = _keep_alive(headers, version) if b"connection" in index else version == "1.1"
        expects = b"expect" in index and self._expects(index[b"expect"], version)
        self._reset()
        return Request(method, target, headers, path, query, version, length, chunked, keep_alive, expects)

    def _version(self, line: bytes) -> str:
        """The HTTP version, after the request line that llhttp read was found to be the one that was sent: it passes over two spaces."""
        raw = self._raw
        if raw.startswith(line):
            if raw.startswith(b" HTTP/1.1\r\n", len(line)):
                return "1.1"
            if raw.startswith(b" HTTP/1.0\r\n", len(line)):
                return "1.0"
        if self._parser.get_http_version() in ("1.0", "1.1"):
            raise MalformedMessage("malformed request line")
        raise MalformedMessage("only HTTP/1.0 and HTTP/1.1 are served", 505)

    def _check_host(self, host: bytes | None, version: str) -> None:
        if host is None:
            if version == "1.1":
                raise MalformedMessage("HTTP/1.1 without a Host header")
        elif not _HOST.fullmatch(host):
            raise MalformedMessage("the Host header is not a host")
        self._host = host

    @staticmethod
    def _origin(target: bytes, method: str, host: bytes | None) -> bytes:
        """The target in origin form (RFC 9112 3.2): absolute form must name the Host header's authority; "*" is for OPTIONS."""
        if target == b"*" and method == "OPTIONS":
            return target
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or b"#" in target:
            raise MalformedMessage("the request target is neither a path nor an absolute http URL")
        if absolute[1].lower() != (host or b"").lower():
            raise MalformedMessage("the request target names another host than the Host header")
        return absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]

    @staticmethod
    def _expects(value: bytes, version: str) -> bool:
        if version == "1.0":
            return False  # RFC 9110 10.1.1: such an expectation is ignored
        return value.lower() == b"100-continue"  # others are ignored, as S3 does and RFC 9110 10.1.1 allows


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

    def _new(self) -> httptools.HttpResponseParser:
        return httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> ResponseHead | None:
        """As RequestParser.feed."""
        if not self._advance(data):
            return None
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise MalformedMessage("the answer is neither HTTP/1.0 nor HTTP/1.1")
        status: int = self._parser.get_status_code()  # type: ignore[union-attr]
        index = self._index()
        headers = Headers(self._items, index)
        head = ResponseHead(status, headers, _content_length(index), _chunked(index), _keep_alive(headers, version))
        self._stale = True  # an answer ends where the request's method says, which llhttp does not know
        self._reset()
        return head
