"""The HTTP service of one conscience instance, and what it keeps over a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import trio

from meta.conscience.board import Board
from meta.conscience.client import ask
from meta.conscience.protocol import API, REPORT, REPORT_BYTES_MAX, SERVICES, Heard, Listing, Registration, Report
from node.auth import NamespaceKey, Verifier
from node.clock import Clock
from node.errors import FrazilError, InvalidArgument, NotFound
from node.files import write_durably
from node.http.client import Client
from node.http.message import Request
from node.http.reply import Reply
from node.log import get_logger
from node.threads import run_blocking

KEEP_PERIOD_S = 30.0
"""How often the list of known services is written, when it changed."""
LEARN_AGAIN_S = 10.0
MSGPACK = (b"content-type", b"application/msgpack")
_log = get_logger("conscience")


class ConscienceService:
    """Handler for node.http.server.serve, which words the errors that leave it."""

    def __init__(self, path: Path, key: NamespaceKey, clock: Clock) -> None:
        """path: file that keeps which services there are; what can't be read of it is learnt anew within seconds."""
        self.board = Board(_load(path), now=clock.monotonic())
        self._path = path
        self._clock = clock
        self._begun = clock.monotonic()
        self._verifier = Verifier(key)

    def __repr__(self) -> str:
        return f"<ConscienceService {self.board!r}>"

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Raises: CallNotAuthenticated, NotFound, InvalidArgument, BodyTooLarge, Busy."""
        proof = self._verifier.verify(request)
        body = await request.body.read(REPORT_BYTES_MAX)
        proof.check_body(body)
        if request.method == "POST" and request.target == REPORT:
            answer: object = self._take(body)
        elif request.method == "GET" and request.target == SERVICES:
            answer = self.listing()
        else:
            raise NotFound(f"{API.decode()} has no such call")
        await reply.whole(200, [MSGPACK], msgspec.msgpack.encode(answer))

    def _take(self, body: bytes) -> Heard:
        try:
            report = msgspec.msgpack.decode(body, type=Report)
        except msgspec.DecodeError as error:
            raise InvalidArgument(f"the report is not readable: {error}") from error
        now = self._clock.monotonic()
        for registration in report.services:
            self.board.report(registration, now)
        return Heard(self._clock.now_us())

    def listing(self) -> Listing:
        now = self._clock.monotonic()
        return Listing(self.board.services(now), now - self._begun)

    async def learn(self, client: Client, others: Callable[[], Sequence[str]]) -> None:
        """Asks other instances, once, which services there are: a new one would know nothing of the dead."""
        while addresses := others():
            for address in addresses:
                try:
                    listing = await ask(client, address)
                except FrazilError as error:
                    _log.debug("another conscience does not answer", extra={"address": address, "error": str(error)})
                    continue
                self.board.learn([each.registration for each in listing.services], self._clock.monotonic())
                return
            await trio.sleep(LEARN_AGAIN_S)

    async def keep(self) -> None:
        """Writes which services there are, for ever."""
        kept: list[Registration] = []
        while True:
            await trio.sleep(KEEP_PERIOD_S)
            known = self.board.known()
            if known != kept:
                try:
                    await run_blocking(write_durably, self._path, msgspec.json.encode(known))
                    kept = known
                except (FrazilError, OSError) as error:
                    _log.warning("the list of services can't be kept", extra={"path": str(self._path), "error": str(error)})


def _load(path: Path) -> list[Registration]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Registration])
    except (OSError, msgspec.DecodeError):
        return []
