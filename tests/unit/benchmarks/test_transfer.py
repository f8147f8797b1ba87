"""The sink's reading of response heads, and the transfers against a plain socket server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks.load import LoadFailed, LoadResult, checked
from benchmarks.transfer import HEAD_BYTES_MAX, Answer, heads, parse_head, transfer

BODY_BYTES = 600_000


def test_head_is_parsed_when_it_is_complete() -> None:
    assert parse_head(b"HTTP/1.1 200 OK\r\nContent-Le") is None
    assert parse_head(b"HTTP/1.1 206 Partial\r\ncontent-length: 7\r\n\r\nabc") == Answer(206, 7, b"abc")
    assert parse_head(b"HTTP/1.1 204 No Content\r\nConnection: Close\r\n\r\n") == Answer(204, 0, b"", closes=True)


@pytest.mark.parametrize(
    "data", [b"SSH-2.0\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", bytes(HEAD_BYTES_MAX + 1)]
)
def test_what_is_no_measurable_answer_is_refused(data: bytes) -> None:
    with pytest.raises(LoadFailed):
        parse_head(data)


def test_a_result_with_an_error_is_no_figure() -> None:
    assert checked(LoadResult(3, 1.5)).rate == 2.0
    for result in (LoadResult(3, 1.0, bad_status=1), LoadResult(0, 1.0)):
        with pytest.raises(LoadFailed):
            checked(result)
    with pytest.raises(LoadFailed):
        checked(LoadResult(3, 1.0), count=4)


@contextmanager
def answering(status: bytes = b"200 OK", *, cut: int = 0, close: bool = False) -> Iterator[str]:
    """A server that answers every request with BODY_BYTES bytes, `cut` fewer than it says."""

    def serve(line: socket.socket) -> None:
        with line, suppress(ConnectionError):  # a client that has enough hangs up
            data = b""
            while piece := line.recv(65536):
                data += piece
                if b"\r\n\r\n" not in data:
                    continue
                head, _, body = data.partition(b"\r\n\r\n")
                length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0] or 0)
                while len(body) < length:
                    body += line.recv(65536)
                data = b""
                end = b"Connection: close\r\n" if close else b""
                line.sendall(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n" % (status, end, BODY_BYTES))
                if not head.startswith(b"HEAD"):
                    line.sendall(bytes(BODY_BYTES - cut))
                if cut or close:
                    return

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(line,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("close", [False, True])
def test_every_target_is_sent_once(close: bool) -> None:
    with answering(close=close) as host:
        assert transfer("GET", host, ["/"] * 7, 3).requests == 7
        assert transfer("PUT", host, ["/"] * 5, 2, memoryview(bytes(300_000))).requests == 5


def test_a_cut_or_refused_answer_fails_the_figure() -> None:
    with answering(cut=1) as host, pytest.raises(LoadFailed):
        transfer("GET", host, ["/"], 1)
    with answering(b"503 Slow Down") as host:
        with pytest.raises(LoadFailed):
            transfer("GET", host, ["/"], 1)
        with pytest.raises(LoadFailed):
            heads(host, ["/"], 2, 0.05)


def test_heads_go_round_for_the_time() -> None:
    with answering() as host:
        assert heads(host, ["/a", "/b"], 2, 0.05).requests > 2
