"""A worker's memory: chunks, disks and jobs in one SQLite file. Each method is one transaction, durable at return.

The steps of a chunk, and what a kill between any two leaves:

    wanted   a freeze job. Nothing on the disk, or a copy that the next try finds there.
    sent     the copy is synced and compared; no job. Emptied, or marked when somebody wants it hot: needs no disk, so any start goes on.
    cold     the file is empty.
    filled   the bytes are back and durable; emptied after until_us.
    stray    the file vanished, and nobody had said that it would: a volume that was wiped looks the same as a chunk that was moved. So the
             copy stays until the metadata was asked.
    lost     the file is empty and says so, and no disk has the bytes whole: until the store has made the chunk anew elsewhere. What is left
             of it stays on its disk as long.

A thaw job makes cold into filled. A chunk is forgotten in the same transaction that notes the deletion of its copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar, cast

import apsw
import msgspec

from glacier.backlog import Kind
from glacier.protocol import BusReport
from meta.connection import DISK_ERRORS, open_formatted, translate
from node.errors import ConfigError
from node.lane import Lane
from node.threads import run_blocking

T = TypeVar("T")
FORMAT = 1
BATCH_MAX = 256
_SCHEMA = Path(__file__).with_name("ledger.sql")

WANTED, SENT, COLD, FILLED, STRAY, LOST = "wanted", "sent", "cold", "filled", "stray", "lost"
ON_DISK = frozenset({SENT, COLD, FILLED})
"""Whole on its disk, and known from its file."""
CHECKED = ON_DISK | {LOST}
"""Read again when all of a disk is to be: what could not be read may be another time."""
THAW, FREEZE, DELETE, CHECK = "thaw", "freeze", "delete", "check"
"""Of a job. CHECK: in no ledger, for which chunks are due follows from when they were read last."""
READ, MELT, MOVE = "read", "melt", "move"


class Entry(msgspec.Struct, frozen=True):
    """A row of `chunks`."""

    volume: str
    chunk: str
    state: str
    disk: int
    also: int
    size: int
    bucket: str
    key: str
    content: str
    metachunk: int
    until_us: int
    verified_us: int


class Task(msgspec.Struct, frozen=True):
    """A row of `jobs`."""

    id: int
    task: str
    kind: Kind
    disk: int
    volume: str
    chunk: str
    size: int
    at_us: int
    purpose: str = ""
    tries: int = 0
    problem: str = ""


class DiskRow(msgspec.Struct, frozen=True):
    disk: int
    total: int
    stored: int
    closed: str


_ENTRY = "volume, chunk, state, disk, also, size, bucket, key, content, metachunk, until_us, verified_us"
_TASK = "id, task, kind, disk, volume, chunk, size, at_us, purpose, tries, problem"
_HERE = "volume = ? AND chunk = ?"
_VOLUMES = """
WITH RECURSIVE each(volume) AS (
    SELECT MIN(volume) FROM chunks
    UNION ALL SELECT (SELECT MIN(volume) FROM chunks WHERE volume > each.volume) FROM each WHERE volume IS NOT NULL
)
SELECT volume FROM each WHERE volume IS NOT NULL
"""
"""A seek for each, not a look at every chunk."""
_AMONG = "+volume IN (SELECT value FROM json_each(?))"
"""The plus: not by the primary key, which would read all chunks of these volumes."""


class Book:
    """The statements, within a transaction of the caller's."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def entry(self, volume: str, chunk: str) -> Entry | None:
        row = self._db.execute(f"SELECT {_ENTRY} FROM chunks WHERE {_HERE}", (volume, chunk)).fetchone()
        return None if row is None else Entry(*row)

    def put(self, entry: Entry) -> None:
        values = msgspec.structs.astuple(entry)
        self._db.execute(f"INSERT OR REPLACE INTO chunks({_ENTRY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def forget(self, entry: Entry) -> None:
        self._db.execute(f"DELETE FROM chunks WHERE {_HERE}", (entry.volume, entry.chunk))

    def ask(self, task: Task) -> Task:
        """The job as it is now: of one that waits already the first time and the most urgent kind stay."""
        row = self._db.execute(
            f"SELECT {_TASK} FROM jobs WHERE {_HERE} AND task = ? AND disk = ?", (task.volume, task.chunk, task.task, task.disk)
        ).fetchone()
        if row is not None:
            old = _task(row)
            task = msgspec.structs.replace(task, id=old.id, at_us=old.at_us, kind=min(old.kind, task.kind))
        values = msgspec.structs.astuple(msgspec.structs.replace(task, id=task.id or None))
        self._db.execute(f"INSERT OR REPLACE INTO jobs({_TASK}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        return task if task.id else msgspec.structs.replace(task, id=self._db.last_insert_rowid())

    def named(self, chunk: str) -> list[Entry]:
        """On whatever volume."""
        return [Entry(*row) for row in self._db.execute(f"SELECT {_ENTRY} FROM chunks WHERE chunk = ?", (chunk,))]

    def is_leaving(self, chunk: str, disk: int) -> bool:
        """Whether its deletion from a disk waits."""
        query = "SELECT 1 FROM jobs WHERE chunk = ? AND disk = ? AND task = 'delete'"
        return self._db.execute(query, (chunk, disk)).get is not None

    def tasks_of(self, volume: str, chunk: str) -> list[Task]:
        return [_task(row) for row in self._db.execute(f"SELECT {_TASK} FROM jobs WHERE {_HERE}", (volume, chunk))]

    def done(self, number: int) -> None:
        self._db.execute("DELETE FROM jobs WHERE id = ?", (number,))

    def failed(self, number: int, problem: str) -> Task | None:
        row = self._db.execute(
            f"UPDATE jobs SET tries = tries + 1, problem = ? WHERE id = ? RETURNING {_TASK}", (problem, number)
        ).fetchone()
        return None if row is None else _task(row)

    def kin(self, entry: Entry) -> list[Entry]:
        """The other chunks of its metachunk."""
        query = f"SELECT {_ENTRY} FROM chunks WHERE content = ? AND metachunk = ? AND NOT ({_HERE})"
        values = (entry.content, entry.metachunk, entry.volume, entry.chunk)
        return [Entry(*row) for row in self._db.execute(query, values)]

    def sent(self, disk: int, size: int) -> None:
        change = "INSERT INTO disks VALUES (?, 0, ?, '') ON CONFLICT DO UPDATE SET stored = stored + excluded.stored"
        self._db.execute(change, (disk, size))

    def close_disk(self, disk: int, why: str) -> None:
        self._db.execute("INSERT INTO disks VALUES (?, 0, 0, ?) ON CONFLICT DO UPDATE SET closed = excluded.closed", (disk, why))

    def reopen_disk(self, disk: int, used: int) -> None:
        self._db.execute("UPDATE disks SET closed = '', stored = ? WHERE disk = ?", (used, disk))

    def measured(self, disk: int, total: int) -> None:
        self._db.execute("INSERT INTO disks VALUES (?, ?, 0, '') ON CONFLICT DO UPDATE SET total = excluded.total", (disk, total))


class Ledger:
    """Used from one event loop; the file belongs to one worker."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: apsw.Connection | None = None
        self._lane: Lane[Callable[[apsw.Connection], object], object] = Lane(self._transact, batch_max=BATCH_MAX)

    def __repr__(self) -> str:
        return f"<Ledger {self._path.name} {self._lane!r}>"

    async def write(self, change: Callable[[Book], T]) -> T:
        """All of `change`, or nothing. Raises: VolumeFull, VolumeSick, VolumeReadOnly, BaseCorrupt, Busy; what `change` raises."""
        return cast(T, await self._lane.submit(lambda db: change(Book(db))))

    async def bus(self) -> BusReport | None:
        """What the freezer told last; None before the first time."""
        found = await self._read(lambda db: db.execute("SELECT value FROM bus").get)
        return None if found is None else msgspec.json.decode(cast(str, found), type=BusReport)

    async def set_bus(self, report: BusReport) -> None:
        """Raises: ConfigError when this is another bus's ledger."""
        known = await self.bus()
        if known is not None and (known.board, known.bus) != (report.board, report.bus):
            raise ConfigError(f"{self._path} is the ledger of {known.board}/{known.bus}, the freezer says {report.board}/{report.bus}")
        value = msgspec.json.encode(report).decode()
        await self._lane.submit(lambda db: db.execute("INSERT OR REPLACE INTO bus VALUES (1, ?)", (value,)).fetchall())

    async def tasks(self) -> list[Task]:
        """All that waits, in the order of asking."""
        return await self._read(lambda db: [_task(row) for row in db.execute(f"SELECT {_TASK} FROM jobs ORDER BY at_us, id")])

    async def disks(self) -> list[DiskRow]:
        return await self._read(
            lambda db: [DiskRow(*row) for row in db.execute("SELECT disk, total, stored, closed FROM disks ORDER BY disk")]
        )

    async def usage(self) -> dict[int, tuple[int, int]]:
        """Bytes and chunks of each disk, what is on its way there included."""
        query = "SELECT disk, SUM(size), COUNT(*) FROM chunks WHERE disk >= 0 GROUP BY disk"
        return await self._read(lambda db: {disk: (size, count) for disk, size, count in db.execute(query)})

    async def to_tidy(self, now_us: int, limit: int, volumes: Iterable[str]) -> list[Entry]:
        """Chunks of these whose files hold bytes that nobody asked to keep, or that are on a cold disk without their files saying so."""
        query = (
            f"SELECT {_ENTRY} FROM chunks WHERE state IN ('sent', 'filled') AND (until_us <= ? OR state = 'sent') AND {_AMONG}"
            " ORDER BY until_us LIMIT ?"
        )
        values = (now_us, _json(volumes), limit)
        return await self._read(lambda db: [Entry(*row) for row in db.execute(query, values)])

    async def to_verify(self, disk: int, before_us: int, limit: int, volumes: Iterable[str]) -> list[Entry]:
        """The chunks of a disk, and of these volumes, that were not verified since, longest first."""
        query = (
            f"SELECT {_ENTRY} FROM chunks WHERE disk = ? AND verified_us < ? AND state IN ('sent', 'cold', 'filled') AND {_AMONG}"
            " ORDER BY verified_us LIMIT ?"
        )
        values = (disk, before_us, _json(volumes), limit)
        return await self._read(lambda db: [Entry(*row) for row in db.execute(query, values)])

    async def on_disk(self, disk: int) -> list[Entry]:
        return await self._read(lambda db: [Entry(*row) for row in db.execute(f"SELECT {_ENTRY} FROM chunks WHERE disk = ?", (disk,))])

    async def strays(self, after: tuple[str, str], limit: int, absent: Iterable[str] = ()) -> list[Entry]:
        """absent: volumes of which all chunks are told."""
        begin = f"SELECT {_ENTRY} FROM chunks WHERE (volume, chunk) > (?, ?) AND"
        end = "ORDER BY volume, chunk LIMIT ?"

        def query(db: apsw.Connection) -> list[Entry]:
            found = [Entry(*row) for row in db.execute(f"{begin} state IN ('stray', 'lost') {end}", (*after, limit))]
            for volume in absent:
                found += [Entry(*row) for row in db.execute(f"{begin} volume = ? {end}", (*after, volume, limit))]
            unique = {(entry.volume, entry.chunk): entry for entry in found}
            return [unique[key] for key in sorted(unique)[:limit]]

        return await self._read(query)

    async def volumes(self) -> list[str]:
        """Those that chunks are of; of strays nobody knows."""
        return await self._read(lambda db: [row[0] for row in db.execute(_VOLUMES) if row[0]])

    async def strays_count(self) -> int:
        return await self._read(lambda db: int(db.execute("SELECT COUNT(*) FROM chunks WHERE state IN ('stray', 'lost')").get or 0))

    async def oldest_us(self) -> int:
        """When the chunk that waits longest for it was verified; 0 when there is none."""
        query = "SELECT MIN(verified_us) FROM chunks WHERE state IN ('sent', 'cold', 'filled')"
        return await self._read(lambda db: int(db.execute(query).get or 0))

    async def aclose(self) -> None:
        await run_blocking(self._close)

    async def _read(self, query: Callable[[apsw.Connection], T]) -> T:
        return cast(T, await self._lane.submit(query))

    def _transact(self, requests: list[Callable[[apsw.Connection], object]]) -> list[object]:
        """All requests in one transaction; each within a savepoint of its own, so that a refused one harms no other."""
        try:
            db = self._db = self._db or open_formatted(self._path, _SCHEMA.read_text(encoding="utf-8"), FORMAT)
            results: list[object] = []
            with db:
                for request in requests:
                    try:
                        with db:
                            results.append(request(db))
                    except DISK_ERRORS:
                        raise
                    except Exception as error:  # noqa: BLE001 - it goes to whoever asked
                        results.append(error)
        except DISK_ERRORS as error:
            self._close()
            raise translate(error, self._path) from error
        return results

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close(True)


def _json(texts: Iterable[str]) -> str:
    return msgspec.json.encode(list(texts)).decode()


def _task(row: Sequence[object]) -> Task:
    values = list(row)
    values[2] = Kind(cast(int, values[2]))
    return Task(*values)  # type: ignore[arg-type]
