"""What a gateway answers the balancer that asks for its health, and why. Asking costs nothing: what it knows is looked at each second."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import trio

from meta.cluster.routing import RoutedMeta
from meta.conscience.board import SILENT_S_MAX
from meta.conscience.protocol import Service
from node.errors import FrazilError
from node.http.message import Request
from node.http.reply import Reply
from node.http.server import Handler
from node.log import get_logger
from node.metrics import serve_metrics

HEALTH_PATH = b"/health"
LOOK_S = 1.0
PROBE_S = 2.0
"""A gateway that had no answer of a leader of the directory for so long asks it for something small, and waits so long for it."""
SILENCE_S = 6.0
"""Without an answer for so long it is cut off, and says so in its registration: three probes."""
CUT_OFF_S = 8.0
"""When another has not been for so long meanwhile, it has itself passed over. What all lose they lose within a few seconds of each other,
and tell it each second: so an election, or a ZooKeeper that is away, takes no gateway out."""
_TEXT = [(b"Content-Type", b"text/plain")]
_log = get_logger("node")


@dataclass(slots=True)
class Outlook:
    """Decides whether the balancer is to pass this gateway over. Pure."""

    silent: str = ""
    """The set of peers whose leader has been silent."""
    alone: bool = False
    """Whether no other gateway would take what this one refuses: then it refuses nothing."""
    locked: bool = False
    _since: float | None = None
    _now: float = 0.0

    def look(self, now: float, *, oldest: tuple[str, float], locked: bool, others: bool) -> None:
        """oldest: the set whose leader answered the longest ago, and when; locked: by an operator, to take nothing new; others: whether
        another gateway is well."""
        self.silent = oldest[0] if now - oldest[1] > SILENCE_S else ""
        self.alone, self.locked, self._now = not others, locked, now
        if not self.silent or self.alone:
            self._since = None
        elif self._since is None:
            self._since = now

    @property
    def problem(self) -> str:
        """For its registration."""
        return f"no leader of {self.silent} answers it" if self.silent else ""

    @property
    def refusal(self) -> str:
        """Why the balancer is to pass it over, "" when it is not."""
        if self.locked and not self.alone:
            return "draining: an operator locked it"
        if self._since is not None and self._now - self._since >= CUT_OFF_S:
            return f"cut off: {self.problem}"
        return ""


async def keep_looking(outlook: Outlook, meta: RoutedMeta, services: Callable[[], Iterable[Service]], own: str) -> None:
    """For ever. services: those of all gateways as the conscience tells them; own: the id of this one."""
    told, begun = "", trio.current_time()
    while True:
        await _probe(meta)
        known = list(services())
        outlook.look(
            trio.current_time(),
            oldest=meta.oldest_answer(begun),
            locked=any(each.id == own and _is_locked(each) for each in known),
            others=any(each.id != own and _takes(each) for each in known),
        )
        if outlook.refusal != told:
            told = outlook.refusal
            _log.warning("balancers are told %s", f"to pass this gateway over: {told}" if told else "to use this gateway again")
        await trio.sleep(LOOK_S)


async def _probe(meta: RoutedMeta) -> None:
    with trio.move_on_after(PROBE_S):
        try:
            await meta.probe(trio.current_time() - PROBE_S)
        except FrazilError as error:
            _log.debug("the metadata does not answer", extra={"error": str(error)})


def _is_locked(gateway: Service) -> bool:
    return gateway.locked and not gateway.place


def _takes(gateway: Service) -> bool:
    registration = gateway.registration
    return gateway.silent_s <= SILENT_S_MAX and not (registration.problem or registration.draining or _is_locked(gateway))


def health_handler(drain: trio.Event, outlook: Outlook) -> Handler:
    """For balancers and Prometheus: says nothing that a stranger may not know."""

    async def handle(request: Request, reply: Reply) -> None:
        if request.raw_path == HEALTH_PATH and request.method in ("GET", "HEAD"):
            refusal = "draining" if drain.is_set() else outlook.refusal
            await reply.whole(503 if refusal else 200, _TEXT, f"{refusal or 'ok'}\n".encode())
        elif request.raw_path == b"/metrics":
            await serve_metrics(request, reply)
        else:
            await reply.whole(404, [])

    return handle
