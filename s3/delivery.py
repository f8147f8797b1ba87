"""Hands events over to the operator's webhooks: at least once, each key's in order, for as long as it takes up to EVENT_AGE_S_MAX.

One task for each destination that has events waiting. It takes the oldest, spreads them over LANES by their key, and each lane goes on in
order until one can't be handed over; then the destination rests, longer each time. An event leaves the spool when a 2xx came, so a
process that dies in between hands it over again.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from random import Random

import httpcore
import trio

from meta.spool import Record
from node.errors import FrazilError
from node.log import get_logger
from node.metrics import counter
from s3.outbox import Channel
from store.webhooks import Webhook, Webhooks

POLL_S = 2.0
"""How soon events that another process of the store has left are seen."""
BATCH = 256
LANES = 8
TIMEOUT_S = 10.0
"""Of each step of a call: to connect, to send, to wait for the answer."""
CALL_S_MAX = 30.0
ANSWER_BYTES_MAX = 64 << 10
BACKOFF_FIRST_S = 0.5
BACKOFF_S_MAX = 60.0
REFUSALS_MAX = 5
"""How often a destination may refuse an event with 4xx before it is given up: what is refused that often is refused for good."""
EVENT_AGE_S_MAX = 3 * 86_400.0
_TRY_AGAIN = frozenset({408, 409, 423, 425, 429})
_BROKEN = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.ConnectionNotAvailable,
    OSError,
    UnicodeError,  # of a host name that no resolver takes
)
log = get_logger("s3.delivery")


class Outcome(Enum):
    TAKEN = "taken"
    REFUSED = "refused"
    FAILED = "failed"


class Courier:
    """Runs in one process of a store. now_s: of the clock that dates the records."""

    def __init__(self, channel: Channel, webhooks: Webhooks, *, now_s: Callable[[], float], random: Random) -> None:
        self._channel = channel
        self._webhooks = webhooks
        self._now_s = now_s
        self._random = random
        self._busy: set[str] = set()
        self._refusals: Counter[int] = Counter()
        self._outcomes = counter("s3_events", "Events by what became of them.", ("outcome",))
        self._pool = httpcore.AsyncConnectionPool(max_connections=256, max_keepalive_connections=64, keepalive_expiry=30.0)

    def __repr__(self) -> str:
        return f"<Courier busy={sorted(self._busy)} refusals={sum(self._refusals.values())}>"

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    await self._look(nursery)
                    await self._channel.bell.wait(POLL_S)
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1.0):
                await self._pool.aclose()

    async def _look(self, nursery: trio.Nursery) -> None:
        if not self._channel.used:
            return
        try:
            topics = await self._channel.spool.topics()
        except FrazilError as error:
            log.warning("the events that wait can't be read now", extra={"error": str(error)})
            return
        for topic in topics:
            if topic not in self._busy:
                self._busy.add(topic)
                nursery.start_soon(self._serve, topic)

    async def _serve(self, topic: str) -> None:
        """Until nothing waits for the destination."""
        pause_s = BACKOFF_FIRST_S
        try:
            while records := await self._channel.spool.take(topic, BATCH):
                if await self._deliver(topic, records):
                    pause_s = BACKOFF_FIRST_S
                else:
                    await trio.sleep(pause_s * self._random.uniform(0.5, 1.0))
                    pause_s = min(pause_s * 2, BACKOFF_S_MAX)
        except FrazilError as error:
            log.warning("a destination's events can't be handed over now", extra={"destination": topic, "error": str(error)})
        finally:
            self._busy.discard(topic)

    async def _deliver(self, topic: str, records: Sequence[Record]) -> bool:
        """Whether all were handed over, or given up. Raises: FrazilError."""
        account, _, name = topic.rpartition("/")
        webhook = self._webhooks.find(name)
        if webhook is not None and not webhook.serves(account):
            return await self._give_up(topic, records, "forbidden")
        oldest_us = int((self._now_s() - EVENT_AGE_S_MAX) * 1_000_000)
        gone = [record for record in records if record.at_us < oldest_us]
        if gone:
            await self._give_up(topic, gone, "expired")
        lanes: dict[int, list[Record]] = {}
        for record in records:
            if record.at_us >= oldest_us:
                lanes.setdefault(zlib.crc32(record.key.encode()) % LANES, []).append(record)
        done: list[Record] = []
        if webhook is not None:
            async with trio.open_nursery() as nursery:
                for lane in lanes.values():
                    nursery.start_soon(self._drive, webhook, lane, done)
        elif lanes:
            log.warning("events wait for a webhook that is not registered", extra={"destination": topic})
        if done:
            await self._channel.spool.done(done)
        return len(done) + len(gone) == len(records)

    async def _give_up(self, topic: str, records: Sequence[Record], outcome: str) -> bool:
        """Raises: FrazilError."""
        log.error("events were given up", extra={"destination": topic, "outcome": outcome, "count": len(records)})
        self._outcomes.labels(outcome).inc(len(records))
        await self._channel.spool.done(records)
        return True

    async def _drive(self, webhook: Webhook, lane: Sequence[Record], done: list[Record]) -> None:
        """In order, until one can't be handed over."""
        for record in lane:
            outcome = await self._post(webhook, record)
            if outcome is Outcome.REFUSED:
                self._refusals[record.id] += 1
                if self._refusals[record.id] < REFUSALS_MAX:
                    return
                log.error("an event was given up: its destination refuses it", extra={"destination": webhook.name, "key": record.key})
            if outcome is Outcome.FAILED:
                return
            del self._refusals[record.id]
            self._outcomes.labels(outcome.value).inc()
            done.append(record)

    async def _post(self, webhook: Webhook, record: Record) -> Outcome:
        """One call; redirects are not followed: only the URL that was registered is called."""
        headers = [(b"Content-Type", b"application/json"), (b"User-Agent", b"Frazil")]
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT_S)
        status = 0
        with trio.move_on_after(CALL_S_MAX):
            try:
                async with self._pool.stream(
                    b"POST", webhook.url, headers=headers, content=record.body, extensions={"timeout": timeouts}
                ) as response:
                    received = 0
                    async for piece in response.aiter_stream():
                        received += len(piece)
                        if received > ANSWER_BYTES_MAX:
                            break
                    status = response.status
            except _BROKEN as error:
                log.info("a webhook can't be reached", extra={"destination": webhook.name, "error": f"{type(error).__name__}: {error}"})
                return Outcome.FAILED
        if 200 <= status < 300:
            return Outcome.TAKEN
        log.info("a webhook did not take an event", extra={"destination": webhook.name, "status": status})
        return Outcome.REFUSED if 300 <= status < 500 and status not in _TRY_AGAIN else Outcome.FAILED
