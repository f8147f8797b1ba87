"""What a process knows of the services: asked of any conscience instance, remembered when none answers, kept on disk over a restart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import trio

from meta.conscience.board import SILENT_S_MAX
from meta.conscience.protocol import LISTING_BYTES_MAX, REPORT, SERVICES, Heard, Listing, Registration, Report, Service
from node.errors import FrazilError, PeerUnreachable
from node.files import write_durably
from node.http.client import Client
from node.log import get_logger
from node.threads import run_blocking

PERIOD_S = 1.0
"""How often a process reports its services and asks for all."""
CALL_TIMEOUT_S = 2.0
KEEP_PERIOD_S = 30.0
Addresses = Callable[[], Sequence[str]]
_log = get_logger("conscience")


def merge(known: dict[str, Service], listing: Listing) -> dict[str, Service]:
    """The listing's services. One that began just now hasn't heard of all yet: what it lacks or only remembers stays as it was known."""
    if listing.age_s >= 2 * SILENT_S_MAX:
        return {each.id: each for each in listing.services}
    found = dict(known)
    for each in listing.services:
        if each.silent_s <= SILENT_S_MAX or each.id not in known:
            found[each.id] = each
    return found


async def ask(client: Client, address: str) -> Listing:
    """What the instance there knows. Raises: Unavailable."""
    async with await client.request("GET", address, SERVICES, timeout_s=CALL_TIMEOUT_S) as response:
        await response.raise_for_error()
        try:
            return msgspec.msgpack.decode(await response.read(LISTING_BYTES_MAX), type=Listing)
        except msgspec.DecodeError as error:
            raise PeerUnreachable(f"{address} answers something else than a list of services") from error


class Directory:
    """The services of the namespace as last heard. `listeners` are called, without an await, when something was heard."""

    def __init__(self, client: Client, addresses: Addresses, *, cache: Path) -> None:
        """addresses: of the conscience instances, as they are now; cache: file that keeps what is known."""
        self._client = client
        self._addresses = addresses
        self._cache = cache
        self._turn = 0
        self._heard_at: float | None = None
        self.listeners: list[Callable[[], None]] = []
        self.services: dict[str, Service] = _load(cache)

    def __repr__(self) -> str:
        return f"<Directory services={len(self.services)} age_s={self.age_s():.0f}>"

    def of_kind(self, kind: str) -> list[Service]:
        return [each for each in self.services.values() if each.registration.kind == kind]

    def age_s(self) -> float:
        """Seconds since any instance answered; infinite when none did."""
        return float("inf") if self._heard_at is None else trio.current_time() - self._heard_at

    async def refresh(self) -> bool:
        """Asks the instances in turn, beginning with the one that answered last, until one answers; whether one did."""
        addresses = self._addresses()
        for step in range(len(addresses)):
            at = (self._turn + step) % len(addresses)
            try:
                listing = await ask(self._client, addresses[at])
            except FrazilError as error:
                _log.debug("a conscience does not answer", extra={"address": addresses[at], "error": str(error)})
                continue
            self._turn = at
            self._heard_at = trio.current_time()
            self.services = merge(self.services, listing)
            for listener in self.listeners:
                listener()
            return True
        return False

    async def watch(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keeps the list young, for ever. Started once somebody answered or everybody was asked."""
        kept_at, told = -KEEP_PERIOD_S, False
        await self.refresh()
        task_status.started()
        while True:
            await trio.sleep(PERIOD_S)
            answered = await self.refresh()
            if answered == told:
                told = not answered
                _log.warning("no conscience answers; what was known of the services stands" if told else "a conscience answers again")
            if answered and trio.current_time() - kept_at >= KEEP_PERIOD_S:
                kept_at = trio.current_time()
                await self._keep()

    async def _keep(self) -> None:
        try:
            await run_blocking(write_durably, self._cache, msgspec.json.encode(list(self.services.values())))
        except OSError as error:
            _log.warning("the list of services can't be kept", extra={"path": str(self._cache), "error": str(error)})


class Agent:
    """Reports the services of this process to every conscience instance."""

    def __init__(self, client: Client, addresses: Addresses, collect: Callable[[], Sequence[Registration]]) -> None:
        """collect: the services as they are now; quick, called once in each period."""
        self._client = client
        self._addresses = addresses
        self._collect = collect
        self.heard_dates: Callable[[Sequence[int]], None] = lambda _: None
        """Told what date the instances say it is."""

    async def run(self) -> None:
        """For ever; an instance that doesn't answer costs nothing but its own time-out."""
        while True:
            with trio.move_on_after(PERIOD_S + CALL_TIMEOUT_S):
                await self.report()
            await trio.sleep(PERIOD_S)

    async def report(self) -> int:
        """To all side by side; how many took it."""
        body = msgspec.msgpack.encode(Report(tuple(self._collect())))
        dates: list[int] = []
        async with trio.open_nursery() as nursery:
            for address in self._addresses():
                nursery.start_soon(self._send, address, body, dates)
        self.heard_dates(dates)
        return len(dates)

    async def _send(self, address: str, body: bytes, dates: list[int]) -> None:
        try:
            async with await self._client.request("POST", address, REPORT, body=body, timeout_s=CALL_TIMEOUT_S) as response:
                await response.raise_for_error()
                dates.append(msgspec.msgpack.decode(await response.read(1024), type=Heard).now_us)
        except (FrazilError, msgspec.DecodeError) as error:
            _log.debug("a conscience takes no report", extra={"address": address, "error": str(error)})


def _load(path: Path) -> dict[str, Service]:
    try:
        return {each.id: each for each in msgspec.json.decode(path.read_bytes(), type=list[Service])}
    except (OSError, msgspec.DecodeError):
        return {}
