"""Raw HTTP over a socket: any bytes in, whatever comes back out."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

REPLY_S = 5.0
REPLY_BYTES_MAX = 8 << 20


@dataclass(frozen=True, slots=True)
class Reply:
    """All that came back on a connection. `closed`: the peer ended it; else the wait ended first."""

    data: bytes
    closed: bool
    seconds: float

    @property
    def statuses(self) -> list[int]:
        """Status of every response, interim ones too, as far as the framing can be followed."""
        found, rest = [], self.data
        while rest.startswith(b"HTTP/1."):
            head, _, rest = rest.partition(b"\r\n\r\n")
            status = int(head[9:12])
            found.append(status)
            length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
            rest = rest[length:] if status >= 200 else rest
        return found

    @property
    def final(self) -> int:
        """Status of the first response that is not interim; 0 without any."""
        return next((status for status in self.statuses if status >= 200), 0)


def connect(url: str, timeout_s: float = REPLY_S) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), timeout=timeout_s)


def exchange(url: str, data: bytes | Iterable[bytes], *, wait_s: float = REPLY_S, shut: bool = False, enough: int = 0) -> Reply:
    """Sends `data` and reads until the peer closes, `enough` final responses are there, or the time is over.
    `shut`: the sending half is closed after the last byte."""
    began = time.monotonic()
    received, closed = b"", False
    with connect(url, wait_s) as connection:
        try:
            for piece in [data] if isinstance(data, bytes) else data:
                connection.sendall(piece)
            if shut:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            # Refused before all was sent: what was answered is still there to read.
            pass
        while len(received) < REPLY_BYTES_MAX:
            left = wait_s - (time.monotonic() - began)
            if left <= 0:
                break
            connection.settimeout(left)
            try:
                piece = connection.recv(1 << 16)
            except TimeoutError:
                break
            except OSError:
                closed = True
                break
            if not piece:
                closed = True
                break
            received += piece
            if enough and len([status for status in Reply(received, False, 0).statuses if status >= 200]) >= enough:
                break
    return Reply(received, closed, time.monotonic() - began)
