"""Answers from memory through node's HTTP server and nothing else: what our own HTTP costs, without S3, metadata or disks.

`GET /N` answers N bytes. Run as `python -m benchmarks.reference_server PORT` in a process of its own.
"""

from __future__ import annotations

import sys
from functools import lru_cache

import trio

from node.http.message import Request
from node.http.reply import Reply
from node.http.server import listen, serve

HEADERS = ((b"content-type", b"application/octet-stream"), (b"etag", b'"d41d8cd98f00b204e9800998ecf8427e"'))
BODY_BYTES_MAX = 64 * 1024 * 1024


@lru_cache(maxsize=8)
def body_of(size: int) -> bytes:
    return bytes(min(size, BODY_BYTES_MAX))


async def answer(request: Request, reply: Reply) -> None:
    await reply.whole(200, HEADERS, body_of(int(request.raw_path[1:] or b"0")))


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: serve(answer, listen("127.0.0.1", port), name="reference", task_status=task_status))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
