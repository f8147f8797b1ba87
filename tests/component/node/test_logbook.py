"""The last lines of a process's log, told to whoever holds the namespace's key, in front of any service."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from node.auth import KEY_BYTES, NamespaceKey
from node.errors import CallNotAuthenticated
from node.http.client import Client
from node.http.message import Request
from node.http.reply import Reply
from node.http.server import listen_unix, serve
from node.log import get_logger
from node.logbook import LINE_CHARACTERS_MAX, LINES_KEPT, LOGBOOK, LogCall, log_of

KEY = NamespaceKey(bytes(KEY_BYTES))
log = get_logger("test")


async def without_proof(_request: Request, reply: Reply) -> None:
    await reply.whole(200, [], b"served")


@asynccontextmanager
async def served(tmp_path: Path) -> AsyncIterator[str]:
    logger = logging.getLogger("frazil")
    level, propagates = logger.level, logger.propagate
    logger.setLevel("INFO")
    logger.propagate = False
    LOGBOOK.lines.clear()
    LOGBOOK.attach()
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, LogCall(without_proof, KEY), [listen_unix(str(tmp_path / "socket"))], name="test"))
            yield f"unix:{tmp_path}/socket"
            nursery.cancel_scope.cancel()
    finally:
        LOGBOOK.detach()
        logger.setLevel(level)
        logger.propagate = propagates


async def test_lines_are_told_with_their_fields_and_without_secrets(tmp_path: Path) -> None:
    async with served(tmp_path) as address, Client(key=KEY) as client:
        log.info("a volume is away", extra={"volume": "0a11", "secret": "s3cr3t"})
        log.warning("signature=abcdef is wrong")
        log.debug("nobody reads this")
        lines = await log_of(client, address)
        assert [(line.level, line.text) for line in lines] == [
            ("info", "a volume is away volume=0a11 secret=[redacted]"),
            ("warning", "signature=[redacted] is wrong"),
        ]
        async with await client.request("GET", address, "/health") as answer:
            assert await answer.read(100) == b"served"


async def test_without_the_key_nothing_is_told(tmp_path: Path) -> None:
    async with served(tmp_path) as address:
        log.info("secret plans")
        for key in (None, NamespaceKey(b"x" * KEY_BYTES)):
            async with Client(key=key) as client:
                with pytest.raises(CallNotAuthenticated):
                    await log_of(client, address)


async def test_the_last_lines_are_kept_and_long_ones_cut(tmp_path: Path) -> None:
    async with served(tmp_path) as address, Client(key=KEY) as client:
        for number in range(LINES_KEPT + 5):
            log.info("%d %s", number, "x" * LINE_CHARACTERS_MAX)
        lines = await log_of(client, address)
        assert (len(lines), lines[0].text[:2], len(lines[0].text)) == (LINES_KEPT, "5 ", LINE_CHARACTERS_MAX)
