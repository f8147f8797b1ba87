"""What the server says on the wire, and when it keeps a connection."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from pathlib import Path

import pytest
import trio

from node.errors import BucketNotFound, FrazilError
from node.http.message import MalformedMessage, Request
from node.http.reply import Reply
from node.http.server import listen_unix, serve
from tests.component.node.serving import GET, QUICK, echo, path, read_to_end, read_until, serving

LAST = b"Connection: close\r\n"


async def test_head_and_body_come_in_one_piece() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.whole(200, [(b"ETag", b'"x"')], b"x" * 4096)

    async with serving(handler) as served, await served.connect() as stream:
        await stream.send_all(GET)
        data = await stream.receive_some(65536)
        assert data.startswith(b"HTTP/1.1 200 OK\r\nDate: ")
        assert data.endswith(b'GMT\r\nETag: "x"\r\nContent-Length: 4096\r\n\r\n' + b"x" * 4096)


async def test_pipelined_requests_are_answered_in_order() -> None:
    requests = b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(30))
    body = b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    async with serving(path) as served:
        data = await served.exchange(body + requests + b"GET /end HTTP/1.1\r\nHost: a\r\n" + LAST + b"\r\n")
    assert [part.split(b"\r\n\r\n")[1] for part in data.split(b"HTTP/1.1 200 OK")[1:]] == [b"/p", *(b"/%d" % n for n in range(30)), b"/end"]


@pytest.mark.parametrize("cut", [1, 7, 64])
async def test_bodies_of_both_framings_in_small_packets(cut: int) -> None:
    stream_bytes = (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + LAST + b"\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n"
    )
    async with serving(echo) as served, await served.connect() as stream:
        for at in range(0, len(stream_bytes), cut):
            await stream.send_all(stream_bytes[at : at + cut])
        data = await read_to_end(stream)
    assert [part.split(b"\r\n\r\n")[1] for part in data.split(b"HTTP/1.1 200 OK")[1:]] == [b"hello", b"abcde"]


async def test_trailers_are_there_after_the_end() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        before = list(request.body.trailers.lines)
        await request.body.read(100)
        await reply.whole(200, [], repr((before, list(request.body.trailers.lines))).encode())

    async with serving(handler) as served:
        head = b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + LAST
        data = await served.exchange(head + b"\r\n1\r\na\r\n0\r\nX-Sum: 7\r\n\r\n")
    assert data.endswith(b"([], [(b'x-sum', b'7')])")


async def test_continue_is_sent_when_the_body_is_wanted() -> None:
    async with serving(echo) as served, await served.connect() as stream:
        await stream.send_all(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" + LAST + b"\r\n")
        assert await read_until(stream, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await stream.send_all(b"hello")
        assert (await read_to_end(stream)).endswith(b"hello")


async def test_continue_is_not_sent_when_the_body_is_not_wanted() -> None:
    async with serving(path) as served:
        data = await served.exchange(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
    assert data.startswith(b"HTTP/1.1 200 OK")
    assert LAST in data


async def test_short_unread_body_is_dropped_and_the_connection_kept() -> None:
    async with serving(path) as served:
        first = b"PUT /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        data = await served.exchange(first + b"GET /2 HTTP/1.1\r\nHost: a\r\n" + LAST + b"\r\n")
    assert data.count(b"200 OK") == 2


async def test_long_unread_body_ends_the_connection_and_the_reply_is_read() -> None:
    async with serving(path, limits=QUICK) as served, await served.connect() as stream:
        with trio.move_on_after(2):
            try:
                await stream.send_all(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000))
            except trio.BrokenResourceError:
                pytest.fail("the connection was reset while the reply could still be read")
        data = await read_to_end(stream)
    assert data.startswith(b"HTTP/1.1 200 OK")
    assert LAST in data
    assert data.endswith(b"/x")


async def test_head_has_the_length_and_no_body() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        if request.raw_path == b"/stream":
            await reply.start(200, [], length=None)
            await reply.send(b"unsent")
        else:
            await reply.whole(200, [], b"unsent" if request.raw_path == b"/body" else b"", content_length=6)

    async with serving(handler) as served:
        requests = b"".join(b"HEAD /%b HTTP/1.1\r\nHost: a\r\n\r\n" % name for name in (b"stream", b"body", b"length"))
        data = await served.exchange(requests + b"HEAD /length HTTP/1.1\r\nHost: a\r\n" + LAST + b"\r\n")
    assert data.count(b"\r\nContent-Length: 6\r\n") == 3
    assert b"unsent" not in data


async def test_streamed_replies() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, [], length=9 if request.raw_path == b"/9" else None)
        for piece in (b"abc", b"", memoryview(b"def"), bytearray(b"ghi")):
            await reply.send(piece)  # type: ignore[arg-type]

    async with serving(handler) as served:
        known = await served.exchange(b"GET /9 HTTP/1.1\r\nHost: a\r\n" + LAST + b"\r\n")
        chunked = await served.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n" + LAST + b"\r\n")
        old = await served.exchange(b"GET / HTTP/1.0\r\n\r\n")
    assert known.endswith(b"\r\n\r\nabcdefghi")
    assert chunked.endswith(b"\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n3\r\nghi\r\n0\r\n\r\n")
    assert old.endswith(b"\r\n\r\nabcdefghi")
    assert b"Transfer-Encoding" not in old


async def test_http_1_0_keeps_alive_on_request() -> None:
    async with serving(path) as served:
        data = await served.exchange(b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n\r\n")
    assert data.count(b"200 OK") == 2
    assert data.count(b"Connection: keep-alive") == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_files_are_sent(tls: bool, tmp_path: Path, tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    content = os.urandom(3_000_000)
    (tmp_path / "file").write_bytes(content)

    async def handler(request: Request, reply: Reply) -> None:
        fd = os.open(tmp_path / "file", os.O_RDONLY)
        try:
            length = None if request.raw_path == b"/chunked" else 2_900_000
            await reply.start(200, [], length=length)
            await reply.send_file(fd, 100_000, 2_900_000)
        finally:
            os.close(fd)

    server_context, client_context = tls_contexts
    async with serving(handler, tls=server_context if tls else None) as served:
        stream: trio.abc.Stream = await served.connect()
        if tls:
            stream = trio.SSLStream(stream, client_context, server_hostname="127.0.0.1", https_compatible=True)  # type: ignore[type-var]
        async with stream:
            await stream.send_all(GET)
            data = await read_until(stream, content[-64:])
            assert data.split(b"\r\n\r\n", 1)[1] == content[100_000:]
            await stream.send_all(b"GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n")
            data = await read_until(stream, b"\r\n0\r\n\r\n")
            assert data.split(b"\r\n\r\n", 1)[1] == b"%x\r\n%b\r\n0\r\n\r\n" % (2_900_000, content[100_000:])


async def test_tls_carries_bodies_both_ways(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    body = os.urandom(1_000_000)
    secure: list[bool] = []

    async def handler(request: Request, reply: Reply) -> None:
        secure.append(request.secure)
        await echo(request, reply)

    async with serving(handler, tls=tls_contexts[0]) as served:
        stream = trio.SSLStream(await served.connect(), tls_contexts[1], server_hostname="127.0.0.1", https_compatible=True)
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(stream.send_all, b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + body)
            data = await read_until(stream, body[-64:])
        assert data.split(b"\r\n\r\n", 1)[1] == body
        assert secure == [True]


async def test_plain_bytes_on_the_tls_port_end_the_connection(tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with serving(path, tls=tls_contexts[0], limits=QUICK) as served:
        assert b"HTTP" not in await served.exchange(GET)


async def test_unix_socket(tmp_path: Path) -> None:
    where = str(tmp_path / "socket")
    listen_unix(where).close()  # a dead one is replaced
    peers: list[str] = []

    async def handler(request: Request, reply: Reply) -> None:
        peers.append(request.peer)
        await reply.whole(200, [], b"unix")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, handler, [listen_unix(where)])
        with pytest.raises(OSError, match="another process serves"):
            listen_unix(where)
        async with await trio.open_unix_socket(where) as stream:
            await stream.send_all(GET)
            assert (await read_until(stream, b"unix")).endswith(b"unix")
        assert os.stat(where).st_mode & 0o777 == 0o600
        assert peers == ["unix"]
        nursery.cancel_scope.cancel()


async def test_deliberate_errors_become_json_and_bugs_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        if request.raw_path == b"/bug":
            raise ZeroDivisionError("secret detail")
        raise BucketNotFound("no such bucket")

    async with serving(handler) as served:
        data = await served.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /bug HTTP/1.1\r\nHost: a\r\n" + LAST + b"\r\n")
    first, second = data.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"404 Not Found")
    assert first.endswith(b'{"code":"BucketNotFound","message":"no such bucket"}')
    assert second.startswith(b"500 ")
    assert b"secret detail" not in second
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()


@pytest.mark.parametrize("length", [10, None])
@pytest.mark.parametrize("error", [FrazilError("disk gone"), ValueError("bug"), None])
async def test_a_broken_reply_has_no_clean_end(length: int | None, error: Exception | None, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, [], length=length)
        await reply.send(b"abc")
        if error is not None:
            raise error

    if length is None and error is None:
        return  # a chunked reply without error is complete
    async with serving(handler) as served:
        data = await served.exchange(GET)
        old = await served.exchange(b"GET / HTTP/1.0\r\n\r\n")
    assert not data.endswith(b"0\r\n\r\n")
    assert old.endswith(b"<RESET>")
    caplog.clear()


async def test_headers_cannot_be_injected(caplog: pytest.LogCaptureFixture) -> None:
    bad = [(b"X", b"a\r\nSet-Cookie: b"), (b"X", b"a\nb"), (b"X", b"a\rb"), (b"X", b"a\0b"), (b"X Y", b"a"), (b"X:", b"a"), (b"", b"a")]
    bad += [(b"Content-Length", b"3"), (b"transfer-encoding", b"chunked")]

    async def handler(request: Request, reply: Reply) -> None:
        await reply.whole(200, [(b"Fine", b"1"), bad[int(request.raw_path[1:])]])

    async with serving(handler) as served:
        for number in range(len(bad)):
            data = await served.exchange(b"GET /%d HTTP/1.1\r\nHost: a\r\n" % number + LAST + b"\r\n")
            assert data.startswith(b"HTTP/1.1 500 ")
            assert b"Set-Cookie" not in data
    caplog.clear()


async def test_malformed_requests_are_answered_and_the_connection_ends() -> None:
    async with serving(path) as served:
        data = await served.exchange(GET + b"GET / HTTP/1.1\r\n\r\n" + GET)
    assert data.count(b"Date: ") == 2
    assert b"HTTP/1.1 400 Bad Request" in data
    assert LAST in data
    assert data.endswith(b"HTTP/1.1 without a Host header\n")


async def test_the_caller_words_the_answer_to_malformed_requests() -> None:
    def words(error: MalformedMessage, request_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        return 400, [(b"Content-Type", b"application/xml")], f"<Error>{error.status} {len(request_id)}</Error>".encode()

    async with serving(path, on_parse_error=words) as served:
        data = await served.exchange(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n")
    assert data.endswith(b"application/xml\r\nContent-Length: 21\r\nConnection: close\r\n\r\n<Error>505 16</Error>")


async def test_malformed_chunks_reach_the_handler_and_end_the_connection() -> None:
    async with serving(echo) as served:
        data = await served.exchange(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GET)
    assert data.count(b"HTTP/1.1 ") == 1
    assert data.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"MalformedMessage"' in data


async def test_nothing_after_a_malformed_chunk_is_taken_for_a_request() -> None:
    refused = trio.Event()

    async def handler(request: Request, reply: Reply) -> None:
        try:
            await request.body.read(100)
        except FrazilError:
            refused.set()
            raise
        await reply.whole(200, [])

    async with serving(handler) as served, await served.connect() as stream:
        await stream.send_all(b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        await refused.wait()
        await stream.send_all(b"0\r\n\r\n" + GET)  # comes apart from the bytes that were refused
        data = await read_to_end(stream)
    assert data.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in data


async def test_body_cut_short_by_the_client() -> None:
    seen: list[str] = []

    async def handler(request: Request, reply: Reply) -> None:
        try:
            await request.body.read(100)
        except FrazilError as error:
            seen.append(error.code)
            raise

    chunked = b"Transfer-Encoding: chunked\r\n\r\n3\r\n"
    async with serving(handler) as served:
        for head in (b"Content-Length: 10\r\n\r\nabc", chunked + b"abc\r\n", chunked + b"a"):
            async with await served.connect() as stream:
                await stream.send_all(b"PUT / HTTP/1.1\r\nHost: a\r\n" + head)
                await stream.send_eof()
                assert b"BodyIncomplete" in await read_to_end(stream)
    assert seen == ["BodyIncomplete"] * 3


async def test_body_beyond_the_callers_limit() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await request.body.read(4)

    async with serving(handler) as served:
        for head in (b"Content-Length: 5\r\n\r\nabcde", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"):
            data = await served.exchange(b"PUT / HTTP/1.1\r\nHost: a\r\n" + LAST + head)
            assert data.startswith(b"HTTP/1.1 413 ")


async def test_observer_sees_every_request() -> None:
    seen: list[tuple[str, int, int]] = []

    def observe(request: Request, reply: Reply, seconds: float) -> None:
        assert seconds >= 0
        seen.append((request.method, reply.status, reply.sent))

    async with serving(path, observe=observe) as served:
        await served.exchange(b"GET /abc HTTP/1.1\r\nHost: a\r\n" + LAST + b"\r\n")
    assert seen == [("GET", 200, 4)]


async def test_reuse_port_lets_two_sockets_listen() -> None:
    from node.http.server import listen

    first = listen("127.0.0.1", 0, reuse_port=True)
    second = listen("127.0.0.1", first[0].getsockname()[1], reuse_port=True)
    for sock in (*first, *second):
        sock.close()


async def test_nodelay_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    async def handler(request: Request, reply: Reply) -> None:
        seen.append(request.body._transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await reply.whole(204, [])

    async with serving(handler) as served, await served.connect() as stream:
        await stream.send_all(GET)
        assert b"Content-Length" not in await read_until(stream, b"\r\n\r\n")
    assert seen == [1]


async def test_an_error_before_the_first_byte_replaces_the_begun_reply() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        await reply.start(200, [(b"ETag", b"x")], length=None)
        assert not reply.started
        async with trio.open_nursery():
            raise BucketNotFound("in a nursery")

    async with serving(handler) as served:
        data = await served.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n" + LAST + b"\r\n")
    assert data.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert data.endswith(b'{"code":"BucketNotFound","message":"in a nursery"}')
    assert b"ETag" not in data
    assert b"chunked" not in data


async def test_a_bug_in_an_observer_does_not_end_the_server(caplog: pytest.LogCaptureFixture) -> None:
    def observe(request: Request, reply: Reply, seconds: float) -> None:
        raise ZeroDivisionError

    async with serving(path, observe=observe) as served:
        for _ in range(2):
            assert (await served.exchange(GET)).startswith(b"HTTP/1.1 200 OK")
    assert len(caplog.records) == 2
    caplog.clear()


async def test_a_reply_survives_what_was_pipelined_behind_it() -> None:
    async def handler(request: Request, reply: Reply) -> None:
        reply.close = True
        await reply.whole(200, [], b"x" * 100_000)

    async with serving(handler, limits=QUICK) as served:
        for _ in range(5):
            data = await served.exchange(GET * 500)
            assert data.count(b"HTTP/1.1 200") == 1
            assert data.endswith(b"x" * 100_000)
