"""No peer holds the server: time-outs, caps, drain, exhaustion. Limits are small here so that nothing sleeps long."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import time
from typing import Any

import pytest
import trio

from node.errors import DeadlineExceeded, FrazilError
from node.http.message import Request
from node.http.reply import Reply
from node.http.server import _Server
from tests.component.node.serving import GET, QUICK, echo, path, read_to_end, read_until, serving


async def test_slow_header_is_refused() -> None:
    async with serving(path, limits=QUICK) as served, await served.connect() as stream:
        for piece in (b"GET / HT", b"TP/1.1\r\n", b"Host"):
            await stream.send_all(piece)
            await trio.sleep(0.02)
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_says_nothing_is_refused() -> None:
    async with serving(path, limits=QUICK) as served, await served.connect() as stream:
        assert (await read_to_end(stream)).startswith(b"HTTP/1.1 408 ")


async def test_idle_connection_is_closed_without_a_word() -> None:
    async with serving(path, limits=QUICK) as served, await served.connect() as stream:
        await stream.send_all(GET)
        data = await read_to_end(stream)
    assert data.count(b"HTTP/1.1") == 1


async def test_body_that_stops_is_refused() -> None:
    async with serving(echo, limits=QUICK) as served:
        data = await served.exchange(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
    assert data.startswith(b"HTTP/1.1 408 ")
    assert b"BodyTooSlow" in data


async def test_body_that_trickles_is_refused() -> None:
    async with serving(echo, limits=QUICK) as served, await served.connect() as stream:
        await stream.send_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        data = b""
        async with trio.open_nursery() as nursery:

            async def trickle() -> None:
                while True:
                    await stream.send_all(b"x")
                    await trio.sleep(0.01)

            nursery.start_soon(trickle)
            data = await read_until(stream, b"bytes per second")
            nursery.cancel_scope.cancel()
    assert data.startswith(b"HTTP/1.1 408 ")


async def test_slow_handler_is_not_blamed_on_the_client() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await trio.sleep(0.4)
        await echo(request, reply)

    async with serving(handler, limits=QUICK) as served, await served.connect() as stream:
        await stream.send_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert (await read_until(stream, b"abc")).startswith(b"HTTP/1.1 200 ")


async def test_client_that_never_reads_is_cut_off() -> None:
    ended: list[str] = []

    async def handler(request: Request, reply: Reply) -> None:
        try:
            await reply.start(200, [], length=1 << 30)
            while True:
                await reply.send(bytes(1 << 20))
        except FrazilError as error:
            ended.append(error.code)
            raise

    async with serving(handler, limits=QUICK) as served, await served.connect() as stream:
        await stream.send_all(GET)
        with trio.fail_after(3):
            while not ended:  # noqa: ASYNC110 - the handler is not ours to instrument
                await trio.sleep(0.01)
    assert ended == ["DeadlineExceeded"]


async def test_others_are_served_beside_hostile_clients() -> None:
    async with serving(path, limits=dataclasses.replace(QUICK, header_timeout_s=2.0)) as served:
        hostile = [await served.connect() for _ in range(100)]
        for stream in hostile:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        begin = time.perf_counter()
        async with await served.connect() as stream:
            await stream.send_all(GET)
            await read_until(stream, b"\r\n\r\n/")
        assert time.perf_counter() - begin < 0.5
        for stream in hostile:
            await stream.aclose()


async def test_the_longest_idle_connection_makes_room() -> None:
    async with serving(path, limits=dataclasses.replace(QUICK, connections_max=2, idle_timeout_s=10, header_timeout_s=10)) as served:
        first, second = await served.connect(), await served.connect()
        for stream in (first, second):
            await stream.send_all(GET)
            await read_until(stream, b"\r\n\r\n/")
            await trio.sleep(0.05)
        async with await served.connect() as third:
            await third.send_all(GET)
            await read_until(third, b"\r\n\r\n/")
            assert await read_to_end(first) == b""
        await second.aclose()
        await first.aclose()


async def test_busy_connections_make_others_wait() -> None:
    go = trio.Event()

    async def handler(request: Request, reply: Reply) -> None:
        await go.wait()
        await reply.whole(200, [], b"done")

    async with serving(handler, limits=dataclasses.replace(QUICK, connections_max=1)) as served:
        async with await served.connect() as first, await served.connect() as second:
            await first.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            await second.send_all(GET)
            with trio.move_on_after(0.1) as scope:
                await second.receive_some(100)
            assert scope.cancelled_caught
            go.set()
            await read_until(first, b"done")
            await read_until(second, b"done")


async def test_drain_finishes_what_is_in_flight_and_ends_what_is_idle() -> None:
    go = trio.Event()
    begun = trio.Event()

    async def handler(request: Request, reply: Reply) -> None:
        if request.raw_path == b"/slow":
            begun.set()
            await go.wait()
        await reply.whole(200, [], b"done")

    async with serving(handler) as served:
        idle, busy, body = await served.connect(), await served.connect(), await served.connect()
        await idle.send_all(GET)
        await read_until(idle, b"done")
        await busy.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        served.drain.set()
        assert await read_to_end(idle) == b""
        with pytest.raises(OSError, match="all attempts to connect"):
            await served.connect()
        assert not served.ended.is_set()
        go.set()
        data = await read_to_end(busy)
        assert b"Connection: close" in data
        assert data.endswith(b"done")
        await body.aclose()
        await served.ended.wait()
        for stream in (idle, busy):
            await stream.aclose()


async def test_a_request_that_crosses_the_drain_is_answered_on_its_idle_connection() -> None:
    async with serving(path, idle_grace_s=5.0) as served:
        crossing, idle = await served.connect(), await served.connect()
        for stream in (crossing, idle):
            await stream.send_all(GET)
            await read_until(stream, b"\r\n\r\n/")
        served.drain.set()
        await trio.sleep(0.05)
        await crossing.send_all(GET)
        answer = await read_to_end(crossing)
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in answer
        assert not served.ended.is_set()
        await crossing.aclose()
        await idle.aclose()  # nobody is left to be waited for
        with trio.fail_after(1):
            await served.ended.wait()


async def test_who_stays_idle_is_ended_when_its_grace_is_over() -> None:
    async with serving(path, idle_grace_s=0.2) as served, await served.connect() as stream:
        await stream.send_all(GET)
        await read_until(stream, b"\r\n\r\n/")
        served.drain.set()
        with trio.fail_after(2):
            assert await read_to_end(stream) == b""
            await served.ended.wait()


async def test_who_connected_at_the_beginning_of_the_drain_is_served_or_ended_soon() -> None:
    async with serving(path) as served:
        quick, mute = socket.create_connection(("127.0.0.1", served.port)), socket.create_connection(("127.0.0.1", served.port))
        served.drain.set()  # the server has had no time to accept them
        quick.sendall(GET)
        with trio.fail_after(5):  # of the header time-out of 10 s
            await served.ended.wait()
        quick.settimeout(1)
        mute.settimeout(1)
        assert quick.recv(1000).startswith(b"HTTP/1.1 200")
        assert mute.recv(1000) == b""
        quick.close()
        mute.close()


async def test_drain_cuts_off_what_does_not_end_in_time(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await trio.sleep_forever()

    async with serving(handler, limits=QUICK) as served, await served.connect() as stream:
        await stream.send_all(GET)
        await trio.sleep(0.05)
        served.drain.set()
        with trio.fail_after(2):
            await served.ended.wait()
    assert "did not end in time" in caplog.text
    caplog.clear()


async def test_accepting_backs_off_when_descriptors_run_out(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[float] = []
    real = socket.socket.accept
    monkeypatch.setattr("node.http.server.ACCEPT_BACKOFF_S", 0.05)

    def accept(self: socket.socket) -> Any:
        calls.append(time.perf_counter())
        if len(calls) <= 4:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(self)

    monkeypatch.setattr(socket.socket, "accept", accept)
    begin = time.perf_counter()
    async with serving(path) as served, await served.connect() as stream:
        await stream.send_all(GET)
        await read_until(stream, b"\r\n\r\n/")
    assert time.perf_counter() - begin >= 0.2
    assert len(calls) < 10
    assert "Too many open files" in caplog.text
    caplog.clear()


async def test_connections_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    servers: list[_Server] = []
    real = _Server.__init__

    def remember(self: _Server, *arguments: Any) -> None:
        real(self, *arguments)
        servers.append(self)

    monkeypatch.setattr(_Server, "__init__", remember)
    before = len(os.listdir("/proc/self/fd"))
    async with serving(echo, limits=QUICK) as served:
        for number in range(60):
            stream = await served.connect()
            await stream.send_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"[: number * 2] + b"x" * number)
            await stream.aclose()
        with trio.fail_after(2):
            while servers[0].connections:  # noqa: ASYNC110 - the server has no event for it
                await trio.sleep(0.01)
    assert len(os.listdir("/proc/self/fd")) <= before + 1


async def test_a_client_that_reads_a_little_now_and_then_is_let_go() -> None:
    """It is never silent for long, and yet would hold the answer for hours."""
    ended: list[BaseException] = []

    async def large(request: Request, reply: Reply) -> None:
        try:
            await reply.whole(200, [], bytes(8 << 20))
        except BaseException as error:
            ended.append(error)
            raise

    limits = dataclasses.replace(QUICK, send_timeout_s=5.0, send_rate_min=10 << 20, send_rate_grace_s=0.1)
    async with serving(large, limits=limits) as served, await served.connect() as stream:
        stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4_096)
        await stream.send_all(GET)
        with trio.fail_after(5):
            while not ended:
                assert await stream.receive_some(512)
                await trio.sleep(0.02)
    assert isinstance(ended[0], DeadlineExceeded)
    assert "less than" in str(ended[0])


async def test_a_client_that_reads_steadily_is_not() -> None:
    async def large(request: Request, reply: Reply) -> None:
        await reply.whole(200, [], bytes(2 << 20))

    limits = dataclasses.replace(QUICK, send_timeout_s=5.0, send_rate_min=1 << 20, send_rate_grace_s=0.1)
    async with serving(large, limits=limits) as served, await served.connect() as stream:
        await stream.send_all(GET)
        count = 0
        with trio.fail_after(10):
            while count < 2 << 20:
                count += len(await stream.receive_some(256 << 10))
                await trio.sleep(0.05)
