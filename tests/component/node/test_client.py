"""The client against the real server, and against peers that misbehave."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from node.auth import NamespaceKey, Verifier
from node.errors import (
    BodyIncomplete,
    CallNotAuthenticated,
    ChunkNotFound,
    DeadlineExceeded,
    InvalidArgument,
    NotConnected,
    PeerUnreachable,
    VolumeFull,
)
from node.http.client import Client
from node.http.message import MalformedMessage, Request
from node.http.reply import Reply
from node.http.server import Handler, listen_unix, serve
from node.tls import Tls, TlsConfig, open_tls
from tests.component.node.serving import echo, serving
from tests.support.certificate import Authority
from tests.support.cluster import BRIDGE, NAMESPACED, _run, bridge, network_namespace, within
from tests.support.need import need_root

KEY = NamespaceKey(b"k" * 32)


async def streamed_echo(request: Request, reply: Reply) -> None:
    """Answers with what came, chunked, with the same framing sizes as they came in."""
    data = await request.body.read(1 << 30)
    await reply.start(200, [(b"X-Trailers", repr(request.body.trailers.lines).encode())], length=None)
    for at in range(0, len(data), 100_000):
        await reply.send(data[at : at + 100_000])


@pytest.mark.parametrize("size", [0, 1, 5_000, 70_000, 3_000_000])
@pytest.mark.parametrize("handler", [echo, streamed_echo])
async def test_round_trip_of_every_framing(size: int, handler: Callable[[Request, Reply], Awaitable[None]]) -> None:
    data = os.urandom(size)

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, size, 64_000):
            yield data[at : at + 64_000]

    async with serving(handler) as served, Client() as client:
        for _ in range(2):
            async with await client.request("PUT", served.address, "/x?y", headers=[(b"X-A", b"1")], body=data) as response:
                assert (response.status, await response.read(1 << 30)) == (200, data)
            async with await client.request("PUT", served.address, b"/x", body=pieces(), length=size) as response:
                assert await response.read(1 << 30) == data
            async with await client.request("PUT", served.address, "/x", body=pieces(), trailers=lambda: [(b"X-T", b"7")]) as response:
                assert await response.read(1 << 30) == data
            put = await client.open_put(served.address, "/x", length=None)
            for at in range(0, size, 64_000):
                await put.send(memoryview(data)[at : at + 64_000])
            async with await put.finish([(b"X-T", b"7")]) as response:
                buffer = bytearray(size + 10)
                assert await response.fill(memoryview(buffer)) == size
                assert buffer[:size] == data
                if handler is streamed_echo:
                    assert response.headers.get(b"x-trailers") == b"[(b'x-t', b'7')]"
        assert "idle=1 free=64" in repr(client)


async def test_connections_are_reused_and_not_when_the_peer_ended_them() -> None:
    peers: set[str] = set()

    async def handler(request: Request, reply: Reply) -> None:
        peers.add(request.peer)
        reply.close = request.raw_path == b"/close"
        await reply.whole(200, [], b"x")

    async with serving(handler) as served, Client() as client:
        for target in ("/", "/", "/close", "/", "/"):
            async with await client.request("GET", served.address, target) as response:
                await response.read(10)
        assert len(peers) == 2
        async with await client.request("GET", served.address, "/") as response:
            pass  # the body is not read: the connection can't be used again
        async with await client.request("GET", served.address, "/") as response:
            await response.read(10)
        assert len(peers) == 3


async def test_a_connection_that_died_while_idle_is_not_used(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    for tls in (None, tls_contexts):
        async with Client(tls=tls and tls[1]) as client:
            async with serving(echo, tls=tls and tls[0]) as served:
                async with await client.request("PUT", served.address, "/", body=b"abc") as response:
                    assert await response.read(10) == b"abc"
                served.drain.set()
                await served.ended.wait()
                with pytest.raises(PeerUnreachable, match="does not answer"):
                    await client.request("GET", served.address, "/")


async def test_head_and_bodyless_answers() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        if request.method == "HEAD":
            await reply.whole(200, [], content_length=99)
        else:
            await reply.whole(204, [])

    async with serving(handler) as served, Client() as client:
        for _ in range(2):
            async with await client.request("HEAD", served.address, "/") as response:
                assert (response.content_length, await response.read(10)) == (99, b"")
            async with await client.request("DELETE", served.address, "/") as response:
                assert (response.status, await response.read(10)) == (204, b"")
        assert "idle=1" in repr(client)


async def test_errors_come_back_as_what_they_were() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        raise ChunkNotFound("no such chunk")

    async with serving(handler) as served, Client() as client:
        async with await client.request("GET", served.address, "/") as response:
            with pytest.raises(ChunkNotFound, match="no such chunk"):
                await response.raise_for_error()


async def test_early_refusal_of_a_body_is_told() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        raise VolumeFull("no space")

    async with serving(handler) as served, Client() as client:
        put = await client.open_put(served.address, "/", length=1 << 30)
        with pytest.raises(VolumeFull, match="no space"):
            while True:
                await put.send(bytes(1 << 20))
        assert "free=64" in repr(client)


async def test_aborted_put_is_an_incomplete_body() -> None:
    seen: list[str] = []
    ended = trio.Event()

    async def handler(request: Request, reply: Reply) -> None:
        try:
            await request.body.read(1 << 30)
        except (BodyIncomplete, PeerUnreachable) as error:
            seen.append(error.code)
            raise
        finally:
            ended.set()

    async with serving(handler) as served, Client() as client:
        put = await client.open_put(served.address, "/", length=None)
        await put.send(b"abc")
        put.abort()
        put.abort()
        await ended.wait()
        assert len(seen) == 1
        with pytest.raises(InvalidArgument):
            await (await client.open_put(served.address, "/", length=3)).finish()
        with pytest.raises(InvalidArgument):
            await (await client.open_put(served.address, "/", length=3)).send(b"abcd")


async def test_unix_sockets(tmp_path: Path) -> None:
    where = str(tmp_path / "socket")
    async with trio.open_nursery() as nursery, Client() as client:
        nursery.start_soon(serve, echo, [listen_unix(where)])
        async with await client.request("POST", f"unix:{where}", "/", body=b"abc") as response:
            assert await response.read(10) == b"abc"
        nursery.cancel_scope.cancel()


async def test_tls(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    data = os.urandom(1_000_000)
    async with serving(echo, tls=tls_contexts[0]) as served, Client(tls=tls_contexts[1]) as client:
        for _ in range(2):
            async with await client.request("PUT", served.address, "/", body=data) as response:
                assert await response.read(1 << 30) == data
        distrustful = Client(tls=ssl.create_default_context())
        with pytest.raises(PeerUnreachable, match="certificate"):
            await distrustful.request("GET", served.address, "/")


def verifying() -> Handler:
    verifier = Verifier(KEY)

    async def handler(request: Request, reply: Reply) -> None:
        proof = verifier.verify(request)
        data = await request.body.read(1 << 20)
        if proof.streamed:
            proof.check_trailers(len(data), request.body.trailers.lines)
        else:
            proof.check_body(data)
        await reply.whole(200, [], data)

    return handler


async def test_signed_calls_are_verified_and_forged_ones_refused() -> None:
    async with serving(verifying()) as served:
        async with Client(key=KEY) as client:
            async with await client.request("PUT", served.address, "/x?y", body=b"abc") as response:
                assert await response.read(10) == b"abc"
            put = await client.open_put(served.address, "/x", length=6)
            await put.send(b"abc")
            await put.send(b"def")
            async with await put.finish([(b"X-Sum", b"1")]) as response:
                assert await response.read(10) == b"abcdef"
        for stranger in (Client(), Client(key=NamespaceKey(b"x" * 32))):
            async with stranger, await stranger.request("PUT", served.address, "/x", body=b"abc") as response:
                assert response.status == 401
                with pytest.raises(CallNotAuthenticated):
                    await response.raise_for_error()


async def test_a_new_connection_costs_a_signed_caller_one_question_and_no_other() -> None:
    targets: list[bytes] = []
    verify = verifying()

    async def handler(request: Request, reply: Reply) -> None:
        targets.append(request.target)
        await verify(request, reply)

    async with serving(handler) as served, Client(key=KEY) as client:
        for _ in range(3):
            async with await client.request("PUT", served.address, "/x", body=b"abc") as response:
                assert await response.read(10) == b"abc"
        put = await client.open_put(served.address, "/y", length=3)
        await put.send(b"abc")
        await (await put.finish()).aclose()
        assert targets == [b"/", b"/x", b"/x", b"/x", b"/y"]


async def test_a_connection_that_ends_before_its_first_call_has_carried_none() -> None:
    for answer in (
        b"",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ):
        address, run = await peer(answer)
        async with trio.open_nursery() as nursery, Client(key=KEY) as client:
            nursery.start_soon(run)
            with pytest.raises(NotConnected):
                await client.request("POST", address, "/x", body=b"abc")
            assert "idle=0 free=64" in repr(client)
            nursery.cancel_scope.cancel()


async def test_a_refusal_that_breaks_off_is_no_refusal() -> None:
    address, run = await peer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 50\r\n\r\n{")
    async with trio.open_nursery() as nursery, Client() as client:
        nursery.start_soon(run)
        with pytest.raises(PeerUnreachable, match="broke off"):
            async with await client.request("GET", address, "/") as response:
                await response.raise_for_error()
        nursery.cancel_scope.cancel()


async def peer(answer: bytes, *, hold: bool = False) -> tuple[str, Callable[[], Awaitable[None]]]:
    """A server that says `answer` to whatever comes; `hold` keeps the connection open."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

    async def talk(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(65536)
            await stream.send_all(answer)
            if hold:
                await trio.sleep_forever()

    async def run() -> None:
        await trio.serve_listeners(talk, listeners)

    return f"127.0.0.1:{listeners[0].socket.getsockname()[1]}", run


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", PeerUnreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Le", PeerUnreachable),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", MalformedMessage),
        (b"HTTP/2.0 200 OK\r\n\r\n", MalformedMessage),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", BodyIncomplete),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", BodyIncomplete),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", MalformedMessage),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, MalformedMessage),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000, MalformedMessage),
    ],
)
async def test_broken_answers(answer: bytes, error: type[Exception]) -> None:
    address, run = await peer(answer)
    async with trio.open_nursery() as nursery, Client() as client:
        nursery.start_soon(run)
        with pytest.raises(error):
            async with await client.request("GET", address, "/") as response:
                await response.read(100)
        assert "idle=0 free=64" in repr(client)
        nursery.cancel_scope.cancel()


async def test_interim_answers_and_answers_without_length() -> None:
    address, run = await peer(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nall of it")
    async with trio.open_nursery() as nursery, Client() as client:
        nursery.start_soon(run)
        async with await client.request("GET", address, "/") as response:
            assert await response.read(100) == b"all of it"
        assert "idle=0" in repr(client)
        nursery.cancel_scope.cancel()


async def test_silent_peers_cost_bounded_time() -> None:
    silent, run_silent = await peer(b"", hold=True)
    stalled, run_stalled = await peer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", hold=True)
    async with trio.open_nursery() as nursery, Client(io_timeout_s=0.05, connections_max=1) as client:
        nursery.start_soon(run_silent)
        nursery.start_soon(run_stalled)
        for _ in range(2):
            with pytest.raises(DeadlineExceeded):
                await client.request("GET", silent, "/", timeout_s=0.05)
            with pytest.raises(DeadlineExceeded):
                async with await client.request("GET", stalled, "/") as response:
                    await response.read(10)
        nursery.cancel_scope.cancel()


async def test_connections_to_one_address_are_bounded() -> None:
    most = now = 0

    async def handler(request: Request, reply: Reply) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await trio.sleep(0.01)
        now -= 1
        await reply.whole(200, [])

    async with serving(handler) as served, Client(connections_max=3) as client:

        async def one() -> None:
            async with await client.request("GET", served.address, "/") as response:
                await response.read(1)

        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(one)
    assert most == 3


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:0", "host:65536", "host:x", "unix:relative", "http://a:1"])
async def test_bad_addresses(address: str) -> None:
    with pytest.raises((InvalidArgument, PeerUnreachable)):
        await Client().request("GET", address, "/")


@pytest.mark.parametrize("target", ["", "/a b", "/a\r\nX: y"])
async def test_targets_cannot_break_out(target: str) -> None:
    async with serving(echo) as served, Client() as client:
        with pytest.raises(InvalidArgument):
            await client.request("GET", served.address, target)
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            await client.request("GET", served.address, "/", headers=[(b"X", b"a\r\nb: c")])
        assert "free=64" in repr(client)


SILENT = """
import socket, time
listener = socket.create_server(("0.0.0.0", 7001))
print("listening", flush=True)
kept = listener.accept()
print("called", flush=True)
time.sleep(60)
"""


@contextmanager
def silent_host() -> Iterator[tuple[str, Callable[[], str], Callable[[], None]]]:
    """In a network of its own: where it listens, what reads a line of what it tells, and what cuts its cable."""
    name, address = f"{BRIDGE}-v", f"{NAMESPACED}200"
    with bridge(), network_namespace(name, address):
        command = [*within(name), sys.executable, "-c", SILENT]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield f"{address}:7001", process.stdout.readline, lambda: _run("ip", "link", "set", name, "down")
            finally:
                process.kill()


@pytest.mark.slow
async def test_a_host_that_vanishes_under_a_long_call_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without power it resets nothing: a leader waited 15 minutes for its snapshot."""
    need_root()
    for name, seconds in (("QUIET_S", 1), ("PROBE_S", 1), ("VANISHED_S", 2)):
        monkeypatch.setattr(f"node.http.pool.{name}", seconds)
    with silent_host() as (address, told, cut):
        assert told() == "listening\n"
        with trio.fail_after(30):
            async with Client() as client, trio.open_nursery() as nursery:

                async def call() -> None:
                    with pytest.raises(PeerUnreachable):
                        await client.request("GET", address, b"/", timeout_s=900)

                nursery.start_soon(call)
                assert await trio.to_thread.run_sync(told) == "called\n"
                await trio.sleep(0.2)  # the request is on its way
                cut()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
async def test_a_listener_is_called_only_at_an_address_of_its_certificate(tmp_path: Path, address: str) -> None:
    """Else whoever has a certificate of the authority could sit between two hosts."""
    authority = Authority(tmp_path)

    def tls_of(name: str, address: str) -> Tls:
        cert, key = authority.sign(name, address)
        return open_tls(TlsConfig(str(cert), str(key), str(authority.file)), address)

    there, here = tls_of("there", address), tls_of("here", "127.0.0.3")
    async with serving(echo, tls=there.server) as served, Client(tls=here.client) as client:
        if address == "127.0.0.1":
            async with await client.request("POST", served.address, "/x", body=b"body") as response:
                assert response.status == 200
        else:
            with pytest.raises(NotConnected, match=r"don't agree on TLS.*IP address mismatch"):
                await client.request("POST", served.address, "/x", body=b"body")
