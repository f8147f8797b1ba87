"""The S3 client against servers that misbehave."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from cli import connection
from cli.address import Remote
from cli.body import BytesBody
from cli.client import S3Client
from cli.connection import ATTEMPTS_MAX
from cli.download import Downloader
from cli.meter import SilentMeter
from cli.place import Endpoint
from node import errors

CONTENT = bytes(range(256)) * 400
Answer = Callable[[bytes, trio.SocketStream], Awaitable[None]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BACKOFF_FIRST_S", 0.001)


@asynccontextmanager
async def server(answers: list[Answer]) -> AsyncIterator[tuple[S3Client, list[bytes]]]:
    """Answers request after request by the list; a connection is closed when its answer returns. The requests' heads are kept."""
    heads: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            head = await read_request(stream)
            if head:
                heads.append(head)
                await answers[len(heads) - 1](head, stream)

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        async with S3Client(Endpoint(f"http://127.0.0.1:{port}", "AK", "secret")) as client:
            yield client, heads
        nursery.cancel_scope.cancel()


async def read_request(stream: trio.SocketStream) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some(65_536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    left = int(length[1]) - len(body) if length else 0
    while left > 0:
        left -= len(await stream.receive_some(65_536))
    return head


def reply(status: int, body: bytes = b"", *headers: str, length: int | None = None) -> Answer:
    async def answer(head: bytes, stream: trio.SocketStream) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body) if length is None else length}", "Connection: close", *headers]
        await stream.send_all("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if head.startswith(b"HEAD") else body))

    return answer


async def hang_up(_head: bytes, _stream: trio.SocketStream) -> None:
    return


async def test_a_request_is_tried_again_while_that_can_help() -> None:
    error = b"<Error><Code>SlowDown</Code></Error>"
    async with server([reply(503, error), hang_up, reply(500), reply(200, b"", 'ETag: "e"')]) as (client, heads):
        answer = await client.put("bucket", "k", BytesBody(b"abc"))
        assert answer.etag == "e"
        assert len(heads) == 4
        assert all(b"x-amz-checksum-crc64nvme" in head for head in heads)


async def test_attempts_are_bounded() -> None:
    async with server([hang_up] * 20) as (client, heads):
        with pytest.raises(errors.PeerUnreachable):
            await client.call("GET", "/")
        assert len(heads) == ATTEMPTS_MAX


async def test_what_the_caller_did_wrong_is_not_tried_again() -> None:
    async with server([reply(403, b"<Error><Code>AccessDenied</Code></Error>")]) as (client, heads):
        with pytest.raises(errors.Denied, match="access denied"):
            await client.call("GET", "/")
        assert len(heads) == 1


async def test_nobody_listens() -> None:
    async with S3Client(Endpoint("http://127.0.0.1:1", "AK", "secret")) as client:
        with pytest.raises(errors.PeerUnreachable, match="http://127"):
            await client.call("GET", "/")


# httpcore nests generators that nobody closes when a body is left unread.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_endless_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection.answer, "ANSWER_BYTES_MAX", 1_000)
    async with server([reply(200, b"x" * 5_000)] * ATTEMPTS_MAX) as (client, _):
        with pytest.raises(errors.Unavailable, match="is this an S3 endpoint"):
            await client.call("GET", "/")


def part(start: int, stop: int, total: int = len(CONTENT), cut: int | None = None) -> Answer:
    body = CONTENT[start:stop]
    headers = [f"Content-Range: bytes {start}-{stop - 1}/{total}", 'ETag: "e"']
    return reply(206, body if cut is None else body[:cut], *headers, length=len(body))


async def test_a_download_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    end = len(CONTENT)
    answers = [part(0, end, cut=70_000), part(70_000, end, cut=1_000), hang_up, part(71_000, end)]
    async with server(answers) as (client, heads):
        downloader = Downloader(client, trio.Semaphore(4), SilentMeter())
        await downloader.file(Remote("bucket", "k"), str(tmp_path / "out"), size=end, etag="e", modified=None)
        assert (tmp_path / "out").read_bytes() == CONTENT
        ranges = [re.search(rb"range: bytes=(\d+)-", head) for head in heads]
        assert [int(found[1]) for found in ranges if found] == [0, 70_000, 71_000, 71_000]
        assert all(b'if-match: "e"' in head for head in heads)


async def test_a_stream_goes_on_where_it_broke_off() -> None:
    got = bytearray()
    end = len(CONTENT)
    async with server([part(0, end, cut=10_000), part(10_000, end)]) as (client, _):
        await Downloader(client, trio.Semaphore(4), SilentMeter()).stream(Remote("bucket", "k"), got.extend)
    assert got == CONTENT


async def test_other_bytes_than_were_stored_are_not_kept(tmp_path: Path) -> None:
    headers = ["x-amz-checksum-crc64nvme: AAAAAAAAAAA=", "x-amz-checksum-type: FULL_OBJECT"]
    async with server([reply(206, CONTENT, *headers)]) as (client, _):
        downloader = Downloader(client, trio.Semaphore(4), SilentMeter())
        with pytest.raises(errors.ChecksumMismatch):
            await downloader.file(Remote("bucket", "k"), str(tmp_path / "out"), size=len(CONTENT), etag="", modified=None)
    assert os.listdir(tmp_path) == []


async def test_an_object_that_changes_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    changed = reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")
    async with server([part(0, len(CONTENT), cut=10_000), changed]) as (client, _):
        downloader = Downloader(client, trio.Semaphore(4), SilentMeter())
        with pytest.raises(BaseExceptionGroup) as caught:
            await downloader.file(Remote("bucket", "k"), str(tmp_path / "out"), size=len(CONTENT), etag="e", modified=None)
        assert caught.group_contains(errors.PreconditionFailed)
    assert os.listdir(tmp_path) == []
