"""What a request is: its headers and its head. Pure values; the parser makes them, the server gives them a body."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from node.errors import BadRequest

if TYPE_CHECKING:
    from node.http.body import Body
    from node.line import Line


class MalformedMessage(BadRequest):
    """The bytes are not a message that this server takes. `status` is the answer; the connection ends with it, for its framing is lost."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


class Headers:
    """Header lines; names are lower case. Nobody changes them.

    lines  all of them, in the order they came
    first  the first value of each name
    get    `first.get` itself: a method of ours around it would take four times as long
    """

    __slots__ = ("first", "get", "lines")

    def __init__(self, lines: Sequence[tuple[bytes, bytes]] = (), first: dict[bytes, bytes] | None = None) -> None:
        """`first` is made from the lines when it is not given."""
        self.lines = lines
        self.first: Mapping[bytes, bytes] = dict(reversed(lines)) if first is None else first
        self.get = self.first.get

    def getall(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.lines if key == name]

    def __contains__(self, name: object) -> bool:
        return name in self.first

    def __len__(self) -> int:
        return len(self.lines)

    def __repr__(self) -> str:
        return f"<Headers {b' '.join(sorted(self.first)).decode('latin-1')}>"  # names only: values may be secrets


NO_HEADERS = Headers()

_ID_MASK = (1 << 64) - 1
_ID_STEP = 0x9E3779B97F4A7C15
"""Odd, so that the ids of one process visit all 64-bit values before one comes again."""
_id_source = itertools.count(int.from_bytes(os.urandom(8), "big"))


def new_request_id() -> str:
    """16 upper-case hex digits, unique within the process and unlikely to meet another process's."""
    return (next(_id_source) * _ID_STEP & _ID_MASK).to_bytes(8, "big").hex().upper()  # a third of what formatting takes


class Request:
    """One request as its head says it. `headers` and `body` belong to the request; the body can be read once.

    method          one of parser.METHODS
    target          as sent; raw_path and raw_query are its parts before and after the first "?", undecoded
    http_version    "1.0" or "1.1"
    address         the socket address of the peer; `peer` says it as "127.0.0.1:51234", or "unix"
    secure          came over TLS
    content_length  None when the body is chunked or absent
    chunked         the body's length is not known beforehand
    keep_alive      the client would use the connection again
    line            what proofs of the connection's calls are held against (node/auth.py)
    """

    __slots__ = (
        "_id",
        "address",
        "body",
        "chunked",
        "content_length",
        "expect_continue",
        "headers",
        "http_version",
        "keep_alive",
        "line",
        "method",
        "raw_path",
        "raw_query",
        "secure",
        "target",
    )

    body: Body
    line: Line

    def __init__(
        self,
        method: str,
        target: bytes,
        headers: Headers = NO_HEADERS,
        raw_path: bytes | None = None,
        raw_query: bytes = b"",
        http_version: str = "1.1",
        content_length: int | None = None,
        chunked: bool = False,
        keep_alive: bool = True,
        expect_continue: bool = False,
        *,
        address: Any = None,
        secure: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        if raw_path is None:
            raw_path, _, raw_query = target.partition(b"?")
        self.raw_path = raw_path
        self.raw_query = raw_query
        self.http_version = http_version
        self.content_length = content_length
        self.chunked = chunked
        self.keep_alive = keep_alive
        self.expect_continue = expect_continue
        self.secure = secure
        self.address = address
        self._id: str | None = None

    @property
    def has_body(self) -> bool:
        """True when bytes follow the head; a Content-Length of 0 is no body."""
        return self.chunked or bool(self.content_length)

    @property
    def id(self) -> str:
        if self._id is None:
            self._id = new_request_id()
        return self._id

    @property
    def peer(self) -> str:
        return format_peer(self.address)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.raw_path.decode('latin-1')} HTTP/{self.http_version} from {self.peer}>"


def format_peer(address: Any) -> str:
    """A socket address as text: "host:port", "[v6]:port" or "unix"."""
    if isinstance(address, tuple):
        return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"
    return "unix"
