"""Large bodies and HEADs by blocking sockets: what wrk can't do cheaply or at all.

wrk reads answers in pieces of 8 KiB and copies a body twice before it sends it: 44 to 118 ms of processor time per 64 MiB received,
52 to 62 sent. A thread per connection that stays in the kernel (one system call per 256 KiB received, one per body sent, the interpreter's
lock released) needs 11 to 16 and 18 to 22. And after a HEAD wrk waits for a body that never comes.
The bytes are taken over into memory, as any client must; they are compared once per figure, outside the clock.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import cycle

from benchmarks.load import LoadFailed, LoadResult, checked

RECEIVE_BYTES = 256 * 1024
HEAD_BYTES_MAX = 64 * 1024
SOCKET_TIMEOUT_S = 120.0
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    length: int
    rest: bytes
    """What came after the head with the same read."""
    closes: bool = False


def parse_head(data: bytes) -> Answer | None:
    """The answer whose head is complete in `data`, else None. Raises LoadFailed for what is no HTTP/1.1 answer with a length."""
    head, found, rest = data.partition(END_OF_HEAD)
    if not found:
        if len(data) > HEAD_BYTES_MAX:
            raise LoadFailed("endless response head")
        return None
    lines = head.split(b"\r\n")
    words = lines[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise LoadFailed(f"not HTTP: {lines[0]!r}")
    length, closes = 0, False
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
        elif name.lower() == b"connection":
            closes = value.strip().lower() == b"close"
        elif name.lower() == b"transfer-encoding":
            raise LoadFailed("an answer without Content-Length can't be measured")
    return Answer(int(words[1]), length, rest, closes)


@dataclass(slots=True)
class Connection:
    """One keep-alive connection, used by one thread."""

    host: str
    socket: socket.socket = field(init=False)
    buffer: bytearray = field(init=False, default_factory=lambda: bytearray(RECEIVE_BYTES))

    def __post_init__(self) -> None:
        self._connect()

    def _connect(self) -> None:
        name, _, port = self.host.rpartition(":")
        self.socket = socket.create_connection((name, int(port)), timeout=SOCKET_TIMEOUT_S)
        # A Python time-out makes the socket non-blocking and adds a poll() to every call; the kernel's own time-out does not.
        self.socket.setblocking(True)
        limit = int(SOCKET_TIMEOUT_S).to_bytes(8, "little") + bytes(8)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, method: str, target: str, body: memoryview | None = None, sink: Callable[[memoryview], None] | None = None) -> int:
        """Sends one request and takes the whole answer; returns its Content-Length. Raises LoadFailed unless 2xx."""
        length = "" if body is None else f"Content-Length: {body.nbytes}\r\n"
        self.socket.sendall(f"{method} {target} HTTP/1.1\r\nHost: {self.host}\r\n{length}\r\n".encode())
        if body is not None:
            # A server may refuse before it has read everything, and hang up; what it said is more useful than the broken pipe.
            with suppress(ConnectionError):
                self.socket.sendall(body)
        data = b""
        while (answer := parse_head(data)) is None:
            piece = self.socket.recv(HEAD_BYTES_MAX)
            if not piece:
                raise LoadFailed("connection closed before the answer")
            data += piece
        if not 200 <= answer.status < 300:
            raise LoadFailed(f"{method} {target.partition('?')[0]}: {answer.status} {answer.rest[:300].decode(errors='replace')}")
        if method != "HEAD":
            if sink:
                sink(memoryview(answer.rest))
            self._take(answer.length - len(answer.rest), sink)
        if answer.closes:
            self.socket.close()
            self._connect()
        return answer.length

    def _take(self, left: int, sink: Callable[[memoryview], None] | None) -> None:
        view = memoryview(self.buffer)
        while left:
            count = self.socket.recv_into(view, min(left, RECEIVE_BYTES), socket.MSG_WAITALL)
            if not count:
                raise LoadFailed(f"connection closed with {left} bytes to come")
            if sink:
                sink(view[:count])
            left -= count

    def close(self) -> None:
        self.socket.close()


def transfer(method: str, host: str, targets: Sequence[str], connections: int, body: memoryview | None = None) -> LoadResult:
    """Sends each target once over `connections` connections and times them all, to the last answer. Raises LoadFailed when any fails."""
    pending = list(reversed(targets))
    failures: list[BaseException] = []
    lines = [Connection(host) for _ in range(connections)]

    def work(line: Connection) -> None:
        while not failures:
            try:
                target = pending.pop()
            except IndexError:
                return
            try:
                line.exchange(method, target, body)
            except (LoadFailed, OSError) as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(line,), daemon=True) for line in lines]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    for line in lines:
        line.close()
    if failures:
        raise LoadFailed(f"{method}: {failures[0]}") from failures[0]
    return LoadResult(requests=len(targets), seconds=seconds)


def heads(host: str, targets: Sequence[str], connections: int, seconds: float) -> LoadResult:
    """HEADs of the targets in turn for `seconds`, one outstanding per connection, by one epoll loop. Raises LoadFailed when any fails."""
    requests = cycle([f"HEAD {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for target in targets])
    answered = bad = 0
    with ExitStack() as stack:
        lines = [stack.enter_context(closing(Connection(host))) for _ in range(connections)]
        sockets = {line.socket.fileno(): line.socket for line in lines}
        poll = stack.enter_context(select.epoll())
        started = time.perf_counter()
        for number, channel in sockets.items():
            poll.register(number, select.EPOLLIN)
            channel.sendall(next(requests))
        while (elapsed := time.perf_counter() - started) < seconds:
            events = poll.poll(SOCKET_TIMEOUT_S)
            if not events:
                raise LoadFailed("HEAD: no answer came")
            for number, _ in events:
                channel = sockets[number]
                bad += not _whole_head(channel).startswith(b"HTTP/1.1 20")
                answered += 1
                channel.sendall(next(requests))
    return checked(LoadResult(requests=answered, seconds=elapsed, bad_status=bad))


def _whole_head(channel: socket.socket) -> bytes:
    data = b""
    while not data.endswith(END_OF_HEAD):
        piece = channel.recv(HEAD_BYTES_MAX)
        if not piece:
            raise LoadFailed("HEAD: connection closed (a server that doesn't keep connections alive can't be measured so)")
        data += piece
    return data
