"""The chunked transfer coding (RFC 9112 7.1), strictly and sans-IO: it reads the framing, the caller moves the data."""

from __future__ import annotations

import re

from node.http.limits import Limits
from node.http.message import NO_HEADERS, Headers, MalformedMessage

SIZE_DIGITS_MAX = 15
"""Hex digits of a chunk's size: less than 2^60 bytes, so that no reader overflows."""
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_FORBIDDEN = frozenset((b"content-length", b"transfer-encoding", b"host", b"trailer", b"authorization", b"connection", b"expect"))
"""RFC 9110 6.5.1: fields for framing, routing and authentication have no place in a trailer."""


class ChunkDecoder:
    """Theory of operation: SIZE -> DATA -> DATA_END -> SIZE ... and after a size of 0 TRAILER until an empty line, then done.

    `feed` eats framing bytes and stops where data begins: then `remaining` > 0 and the caller takes that many data bytes itself
    and reports them by `took`. An unfinished line is kept here (bounded), so bytes may come in any pieces.
    """

    __slots__ = ("_after_data", "_ending", "_limits", "_line", "_trailer_bytes", "_trailer_items", "done", "remaining", "trailers")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._line = b""
        self._after_data = False
        self._ending = False
        self._trailer_bytes = 0
        self._trailer_items: list[tuple[bytes, bytes]] = []
        self.remaining = 0
        self.done = False
        self.trailers: Headers = NO_HEADERS

    def __repr__(self) -> str:
        return f"<ChunkDecoder remaining={self.remaining} done={self.done}>"

    def took(self, count: int) -> None:
        """The caller took `count` of the `remaining` data bytes."""
        assert count <= self.remaining
        self.remaining -= count

    def feed(self, data: bytes) -> int:
        """Eats framing and returns how many bytes of `data` it was. Raises: MalformedMessage."""
        at = 0
        while at < len(data) and not self.remaining and not self.done:
            stop = data.find(b"\n", at) + 1
            piece = data[at : stop or len(data)]
            at += len(piece)
            line = self._line + piece
            self._check_length(line)
            if not stop:
                self._line = line
                break
            self._line = b""
            if line[-2:] != b"\r\n" or b"\r" in line[:-2]:
                raise MalformedMessage("a line of the chunked coding does not end with CR LF")
            self._take_line(line[:-2])
        return at

    def _check_length(self, line: bytes) -> None:
        if self._after_data:
            if line not in (b"\r", b"\r\n"):
                raise MalformedMessage("a chunk is not followed by CR LF")
        elif self._ending:
            if self._trailer_bytes + len(line) > self._limits.header_bytes_max:
                raise MalformedMessage(f"the trailers are longer than {self._limits.header_bytes_max} bytes", 431)
        elif len(line) > SIZE_DIGITS_MAX + self._limits.chunk_extension_bytes_max + 2:
            raise MalformedMessage("a chunk's size or extension is too long")

    def _take_line(self, line: bytes) -> None:
        if self._after_data:
            self._after_data = False
        elif self._ending:
            self._take_trailer(line)
        else:
            match = _SIZE_LINE.fullmatch(line)
            if match is None:
                raise MalformedMessage("a chunk's size is not a hexadecimal number")
            if match[2] and len(match[2]) > self._limits.chunk_extension_bytes_max:
                raise MalformedMessage("a chunk's extension is too long")
            self.remaining = int(match[1], 16)
            self._after_data = self.remaining > 0
            self._ending = not self.remaining

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            self.trailers = Headers(self._trailer_items)
            return
        self._trailer_bytes += len(line) + 2
        if len(self._trailer_items) >= self._limits.header_count_max:
            raise MalformedMessage(f"more than {self._limits.header_count_max} trailer lines", 431)
        match = _TRAILER_LINE.fullmatch(line)
        if match is None:
            raise MalformedMessage("malformed trailer line")
        name = match[1].lower()
        if name in _FORBIDDEN:
            raise MalformedMessage(f"{name.decode()} in a trailer")
        self._trailer_items.append((name, match[2].rstrip(b" \t")))
