"""Malformed and hostile HTTP at the real port."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.client import signed_headers
from tests.support.forge import BUCKET
from tests.support.store import StoreProcess
from tests.support.wire import connect, exchange

GROWTH_BYTES_MAX = 40 << 20
HEADER_TIMEOUT_S = 10.0
SLACK_S = 5.0


@pytest.fixture(autouse=True)
def _unharmed(shared_store: StoreProcess, unharmed: None) -> Iterator[None]:
    """After each test the store has not grown and leaks no connection."""
    before, files = shared_store.resident_bytes(), shared_store.open_files()
    yield
    assert shared_store.resident_bytes() - before < GROWTH_BYTES_MAX
    end = time.monotonic() + SLACK_S
    while shared_store.open_files() > files + 10 and time.monotonic() < end:
        time.sleep(0.1)
    assert shared_store.open_files() <= files + 10


def get(*lines: bytes, first: bytes = b"GET /hostile/good HTTP/1.1", host: bytes = b"Host: h", body: bytes = b"") -> bytes:
    return b"\r\n".join([first, *([host] if host else []), *lines]) + b"\r\n\r\n" + body


def put(*lines: bytes, body: bytes = b"") -> bytes:
    return get(*lines, first=b"PUT /hostile/x HTTP/1.1", body=body)


MALFORMED: dict[str, bytes] = {
    "length and chunked": put(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked and length": put(b"Transfer-Encoding: chunked", b"Content-Length: 5", body=b"0\r\n\r\n"),
    "two equal lengths": put(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "two lengths": put(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"),
    "a list of lengths": put(b"Content-Length: 3, 3", body=b"abc"),
    "length +3": put(b"Content-Length: +3", body=b"abc"),
    "length -3": put(b"Content-Length: -3", body=b"abc"),
    "length 0x3": put(b"Content-Length: 0x3", body=b"abc"),
    "length 2^64+3": put(b"Content-Length: 18446744073709551619", body=b"abc"),
    "empty length": put(b"Content-Length: ", body=b"abc"),
    "bare line feeds": b"GET /hostile/good HTTP/1.1\nHost: h\n\n",
    "folded header": get(b"X-A: 1", b" continued"),
    "chunked in HTTP/1.0": get(b"Transfer-Encoding: chunked", first=b"PUT /hostile/x HTTP/1.0", body=b"0\r\n\r\n"),
    "no host": get(host=b""),
    "two hosts": get(b"Host: other"),
    "long chunk extension": put(b"Transfer-Encoding: chunked", body=b"1;" + b"e" * 60_000 + b"\r\nx\r\n0\r\n\r\n"),
    "huge chunk": put(b"Transfer-Encoding: chunked", body=b"f" * 18 + b"\r\nx"),
    "bad chunk size": put(b"Transfer-Encoding: chunked", body=b"-1\r\nx\r\n0\r\n\r\n"),
    "bad chunk end": put(b"Transfer-Encoding: chunked", body=b"1\r\nxy\r\n0\r\n\r\n"),
    "header of 1 MiB": get(b"X-A: " + b"a" * (1 << 20)),
    "10,000 headers": get(*[b"X-%d: 1" % number for number in range(10_000)]),
    "target of 1 MiB": get(first=b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1"),
    "HTTP/2.0": get(first=b"GET /hostile/good HTTP/2.0"),
    "HTTP/1.9": get(first=b"GET /hostile/good HTTP/1.9"),
    "HTTP/0.9": b"GET /hostile/good\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": get(first=b"BREW /hostile/good HTTP/1.1"),
    "lower-case method": get(first=b"get /hostile/good HTTP/1.1"),
    "xchunked": put(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"),
    "chunked, identity": put(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "two encodings": put(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "space before colon": get(b"X-A : 1"),
    "bare carriage return": get(b"X-A: 1\r2"),
    "NUL in a value": get(b"X-A: 1\x002"),
    "NUL in the target": get(first=b"GET /hostile/\x00 HTTP/1.1"),
    "no colon": get(b"X-A"),
    "empty name": get(b": 1"),
    "space in the target": get(first=b"GET /hostile/go od HTTP/1.1"),
    "raw UTF-8 in the target": get(first="GET /hostile/ü HTTP/1.1".encode()),
    "garbage": random.Random(1).randbytes(4_096),
    "TLS hello": bytes.fromhex("1603010200010001fc0303") + bytes(500),
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests_are_refused_and_the_connection_ends(shared_store: StoreProcess, data: bytes) -> None:
    reply = exchange(shared_store.url, data)
    assert reply.closed, "the connection stays open after a request that can't be framed"
    assert len(reply.statuses) <= 1
    assert reply.final in (0, 400, 403, 405, 408, 411, 413, 414, 431, 501, 505), reply.data[:200]


def test_nothing_hides_behind_a_refused_request(shared_store: StoreProcess) -> None:
    """A request in the body of an ambiguous one must not be answered."""
    hidden = get(first=b"GET /hostile/good HTTP/1.1")
    for name in ("length and chunked", "two equal lengths", "chunked in HTTP/1.0", "xchunked", "bare line feeds"):
        reply = exchange(shared_store.url, MALFORMED[name] + hidden)
        assert len(reply.statuses) == 1, (name, reply.data)


def test_pipelined_requests_are_answered_in_order(shared_store: StoreProcess) -> None:
    host = shared_store.url.removeprefix("http://")
    data = b""
    for target in ("/hostile/good", "/hostile/none", "/hostile/good"):
        fields = signed_headers(shared_store.credentials, "GET", host, target)
        data += f"GET {target} HTTP/1.1\r\n".encode() + b"".join(f"{k}: {v}\r\n".encode() for k, v in fields.items()) + b"\r\n"
    assert exchange(shared_store.url, data, enough=3).statuses == [200, 404, 200]


def test_a_split_request_is_one_request(shared_store: StoreProcess) -> None:
    host = shared_store.url.removeprefix("http://")
    fields = signed_headers(shared_store.credentials, "GET", host, "/hostile/good")
    data = b"GET /hostile/good HTTP/1.1\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in fields.items()) + b"\r\n"
    assert exchange(shared_store.url, (data[at : at + 1] for at in range(len(data))), enough=1).final == 200


def good_times(store: StoreProcess, count: int) -> float:
    """Seconds of the slowest but one percent of so many reads."""
    times = []
    with store.client() as client:
        for _ in range(count):
            began = time.monotonic()
            assert client.get(BUCKET, "good").status == 200
            times.append(time.monotonic() - began)
    return sorted(times)[int(count * 0.99)]


def seconds_until_ended(connection: socket.socket, began: float) -> float:
    """Drips bytes of a header until the store answers or closes; the time since `began`."""
    connection.settimeout(0.5)
    while time.monotonic() - began < 2 * HEADER_TIMEOUT_S:
        try:
            connection.sendall(b"a")
            connection.recv(1)
        except TimeoutError:
            continue
        except OSError:
            break
        break
    return time.monotonic() - began


@pytest.mark.alone
def test_slow_headers_end_in_time_and_harm_nobody(shared_store: StoreProcess) -> None:
    alone = good_times(shared_store, 200)
    sockets = [connect(shared_store.url) for _ in range(200)]
    began = time.monotonic()
    try:
        for index, connection in enumerate(sockets):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-A: " + b"a" * (index % 7))
        assert good_times(shared_store, 200) < max(0.1, 3 * alone)
        assert seconds_until_ended(sockets[0], began) < HEADER_TIMEOUT_S + SLACK_S
    finally:
        for connection in sockets:
            connection.close()


@pytest.mark.alone
def test_idle_connections_harm_nobody(shared_store: StoreProcess) -> None:
    alone = good_times(shared_store, 200)
    sockets = [connect(shared_store.url) for _ in range(800)]
    try:
        assert good_times(shared_store, 200) < max(0.1, 3 * alone)
    finally:
        for connection in sockets:
            connection.close()


@pytest.mark.alone
def test_a_reader_that_never_reads_does_not_hold_others(shared_store: StoreProcess) -> None:
    """Bodies that nobody takes stay in the kernel's buffers, not in the store's memory."""
    with shared_store.client() as client:
        assert client.put(BUCKET, "big", bytes(30 << 20)).status == 200
    fields = signed_headers(shared_store.credentials, "GET", shared_store.url.removeprefix("http://"), "/hostile/big")
    data = b"GET /hostile/big HTTP/1.1\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in fields.items()) + b"\r\n"
    before = shared_store.resident_bytes()
    sockets = [connect(shared_store.url) for _ in range(30)]
    try:
        for connection in sockets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            connection.sendall(data)
        time.sleep(1)
        assert good_times(shared_store, 100) < 0.25
        assert shared_store.resident_bytes() - before < 2 * GROWTH_BYTES_MAX
    finally:
        for connection in sockets:
            connection.close()
        with shared_store.client() as client:
            assert client.delete(BUCKET, "big").status == 204


def test_aborted_requests_leak_nothing(shared_store: StoreProcess) -> None:
    """1,000 bodies that stop in the middle and 1,000 answers that nobody waits for."""
    host = shared_store.url.removeprefix("http://")
    upload = signed_headers(shared_store.credentials, "PUT", host, "/hostile/x")
    start = b"PUT /hostile/x HTTP/1.1\r\ncontent-length: 300000\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in upload.items())
    read = signed_headers(shared_store.credentials, "GET", host, "/hostile/good")
    whole = b"GET /hostile/good HTTP/1.1\r\n" + b"".join(f"{k}: {v}\r\n".encode() for k, v in read.items()) + b"\r\n"

    def abuse(data: bytes) -> None:
        for _ in range(250):
            with connect(shared_store.url) as connection:
                connection.sendall(data)

    threads = [threading.Thread(target=abuse, args=(data,)) for data in (start + b"\r\n" + bytes(150_000), whole) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
