"""What requests leave for somebody outside: events and lines of access logs, each on a durable spool of this host.

The spools' files are made by the first bucket that asks for them; until then nothing here costs anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from meta.spool import Record, Spool
from node.log import get_logger
from node.metrics import counter
from store.afterwork import Bell

EVENTS_MAX = 1_000_000
EVENTS_BYTES_MAX = 1 << 30
"""Bounds of what waits for one destination."""
LINES_MAX = 1_000_000
LINES_BYTES_MAX = 512 << 20
"""Bounds of what waits for the delivery of one bucket's access log."""
FOLDER = "spool"


def topic_of(account: str, webhook: str) -> str:
    """Each account has a queue of its own to each webhook: one that floods it keeps nobody else's events from it."""
    return f"{account}/{webhook}"


log = get_logger("s3.outbox")


async def waiting(home: Path) -> Counter[str]:
    """How many events wait for each webhook, of all accounts. Raises: as meta.spool.Spool.add."""
    channel, found = Outbox(home).events, Counter[str]()
    if channel.used:
        for topic, number in (await channel.spool.topics()).items():
            found[topic.rpartition("/")[2]] += number
        await channel.spool.aclose()
    return found


class Channel:
    """One spool, and the bell that wakes who empties it."""

    def __init__(self, path: Path, *, what: str, number_max: int, bytes_max: int) -> None:
        self.spool = Spool(path, number_max=number_max, bytes_max=bytes_max)
        self.bell = Bell()
        self._path = path
        self._what = what

    def __repr__(self) -> str:
        return f"<Channel {self._what} {self.spool!r}>"

    @property
    def used(self) -> bool:
        """Whether anything was ever put here, by any process of the store."""
        return self._path.exists()

    async def add(self, records: Sequence[Record]) -> None:
        """Durable at return, but for what goes beyond the bounds. Raises: as meta.spool.Spool.add."""
        refused = await self.spool.add(records)
        self.bell.ring()
        if refused:
            counter("s3_outbox_refused", "Records dropped because too many wait.", ("what",)).labels(self._what).inc(refused)
            log.error("records were dropped: too many wait", extra={"what": self._what, "topic": records[0].topic, "count": refused})


class Outbox:
    """home: the store's first directory."""

    def __init__(self, home: Path) -> None:
        self.events = Channel(home / FOLDER / "events.db", what="events", number_max=EVENTS_MAX, bytes_max=EVENTS_BYTES_MAX)
        self.lines = Channel(home / FOLDER / "logs.db", what="log lines", number_max=LINES_MAX, bytes_max=LINES_BYTES_MAX)

    def __repr__(self) -> str:
        return f"<Outbox {self.events!r} {self.lines!r}>"

    async def aclose(self) -> None:
        await self.events.spool.aclose()
        await self.lines.spool.aclose()
