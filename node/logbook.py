"""The last lines of this process's log, kept in memory for operators on other hosts.

    GET /node/1/log      answers msgpack [[at_us, level, text], ...], the oldest first

The call is proved with the namespace's key (node/auth.py); the lines are redacted as the log itself is.
"""

from __future__ import annotations

import logging
from collections import deque

import msgspec

from node.auth import PROOF_HEADER, NamespaceKey, Verifier
from node.errors import PeerUnreachable
from node.http.client import Client
from node.http.message import Request
from node.http.reply import Reply
from node.http.server import Handler
from node.log import ROOT, sentence

LOG = b"/node/1/log"
ASKED = b"/"
"""What callers ask a new connection first, to be told by a refusal what proofs are made of (node/auth.py); the inner may need none."""
LINES_KEPT = 500
LINE_CHARACTERS_MAX = 2_000
LOG_BYTES_MAX = 16 << 20
LOG_S_MAX = 5.0


class Line(msgspec.Struct, frozen=True, array_like=True):
    """level: "info", "warning", "error"."""

    at_us: int
    level: str
    text: str


class Logbook(logging.Handler):
    """Keeps lines from when it is put on the log (`attach`)."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[Line] = deque(maxlen=LINES_KEPT)

    def attach(self) -> None:
        logging.getLogger(ROOT).addHandler(self)

    def detach(self) -> None:
        logging.getLogger(ROOT).removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = sentence(record)
        except Exception:  # noqa: BLE001 - as every handler: a line that can't be written must not end what logged it
            self.handleError(record)
            return
        self.lines.append(Line(round(record.created * 1e6), record.levelname.lower(), text[:LINE_CHARACTERS_MAX]))


LOGBOOK = Logbook()
"""Of this process."""


class LogCall:
    """A handler that answers for the log, and leaves all other calls to the one it stands before."""

    def __init__(self, inner: Handler, key: NamespaceKey) -> None:
        self._inner = inner
        self._verifier = Verifier(key)

    def __repr__(self) -> str:
        return f"<LogCall before {self._inner!r}>"

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Raises: CallNotAuthenticated; what the inner one raises."""
        if request.raw_path == ASKED and PROOF_HEADER not in request.headers:
            self._verifier.verify(request)  # refuses, and says what a proof is for on this connection
        if request.raw_path != LOG or request.method != "GET":
            await self._inner(request, reply)
            return
        self._verifier.verify(request).check_body(b"")
        await reply.whole(200, [(b"content-type", b"application/msgpack")], msgspec.msgpack.encode(tuple(LOGBOOK.lines)))


async def log_of(client: Client, address: str) -> list[Line]:
    """The last lines of the process at the address, the oldest first. Raises: PeerUnreachable, NotFound (it tells no log)."""
    async with await client.request("GET", address, LOG.decode(), timeout_s=LOG_S_MAX) as answer:
        await answer.raise_for_error()
        body = await answer.read(LOG_BYTES_MAX)
    try:
        return msgspec.msgpack.decode(body, type=list[Line])
    except msgspec.DecodeError as error:
        raise PeerUnreachable(f"{address} answered with something else than a log: {error}") from error


async def nothing_else(_request: Request, reply: Reply) -> None:
    """The inner handler of a listener for the log only."""
    await reply.whole(404, [])
