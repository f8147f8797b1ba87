"""A server on loopback and a client that sends exactly the bytes it is told."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio

from node.http.limits import Limits
from node.http.message import Request
from node.http.reply import Reply
from node.http.server import Handler, listen, serve

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
QUICK = Limits(
    header_timeout_s=0.15,
    idle_timeout_s=0.15,
    body_idle_timeout_s=0.15,
    body_rate_min=100_000,
    body_rate_grace_s=0.1,
    send_timeout_s=0.15,
    linger_s=0.1,
    sweep_s=0.02,
    drain_timeout_s=0.3,
    drain_bytes_max=10_000,
)


async def echo(request: Request, reply: Reply) -> None:
    """Answers with what came."""
    await reply.whole(200, [], await request.body.read(1 << 30))


async def path(request: Request, reply: Reply) -> None:
    """Answers with the path, without reading the body."""
    await reply.whole(200, [], request.raw_path)


class Served:
    def __init__(self, port: int, drain: trio.Event) -> None:
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self.drain = drain
        self.ended = trio.Event()

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def exchange(self, data: bytes) -> bytes:
        """Sends `data`, returns all that comes until the server ends the connection."""
        async with await self.connect() as stream:
            await stream.send_all(data)
            return await read_to_end(stream)


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    with trio.fail_after(5):
        try:
            while data := await stream.receive_some(65536):
                received += data
        except trio.BrokenResourceError:
            received += b"<RESET>"
    return received


async def read_until(stream: trio.abc.ReceiveStream, mark: bytes) -> bytes:
    received = b""
    with trio.fail_after(5):
        while mark not in received:
            data = await stream.receive_some(65536)
            assert data, received
            received += data
    return received


@asynccontextmanager
async def serving(handler: Handler, *, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Served]:
    listeners = listen("127.0.0.1", 0)
    served = Served(listeners[0].getsockname()[1], options.setdefault("drain", trio.Event()))

    async def run(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await serve(handler, listeners, tls=tls, task_status=task_status, **options)
        served.ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(run))
        with trio.fail_after(10):
            yield served
        nursery.cancel_scope.cancel()
