"""The product's own log under the simulator: SQLite, promise and snapshots as files in memory. A crash loses nothing that was committed."""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw

from meta.cluster.promise import Promise
from meta.cluster.replica import ReplicaLog, check_snapshot, copy_base, entries_after
from meta.commit import Entry, Header, LocalCommit
from meta.directory import META1
from meta.kind import Transaction
from meta.peer import Standing
from meta.script import Script
from meta.writer import Writer, newest

_CHANGE = "INSERT INTO opened VALUES (?1, ?2) ON CONFLICT(id) DO UPDATE SET bucket = excluded.bucket"


@dataclass(frozen=True)
class Seen:
    """What a base holds; as State of the simulated disk."""

    header: Header
    values: tuple[tuple[str, str], ...]

    @property
    def table(self) -> dict[str, str]:
        return dict(self.values)


class SqliteLog:
    """Stands in for SimLog. A snapshot is the path of a file, checked before it is installed."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="frazil-sim-", dir="/dev/shm"))
        self._path = self.folder / "base.db"
        self._copies = itertools.count()
        self.installed = 0
        self._open()

    def _open(self) -> None:
        self._writer: Writer[Transaction] = Writer(self._path, META1, "base", LocalCommit(), lambda: 0)
        self._log = ReplicaLog(self._writer, Promise(self.folder / "promise"), self.folder / "damaged")

    def close(self) -> None:
        self._writer.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def state(self) -> Seen:
        if not self._path.exists():
            return Seen(Header(0, 0), ())
        db = apsw.Connection(str(self._path), apsw.SQLITE_OPEN_READWRITE)
        try:
            return Seen(newest(db), tuple(db.execute("SELECT id, bucket FROM opened ORDER BY id")))  # type: ignore[arg-type]
        finally:
            db.close()

    def standing(self) -> Standing:
        return self._log.standing()

    def promise(self, epoch: int) -> None:
        self._log.promise(epoch)

    def apply(self, entry: Entry, epoch: int) -> None:
        self._log.apply(entry, epoch)

    def after(self, header: Header) -> Sequence[Entry] | None:
        if not self._path.exists():
            return [] if header == Header(0, 0) else None
        db = apsw.Connection(str(self._path), apsw.SQLITE_OPEN_READWRITE)
        try:
            return entries_after(db, "base", header)
        finally:
            db.close()

    def copy(self) -> tuple[Path, Header]:
        target = self.folder / f"copy-{next(self._copies)}"
        return target, copy_base(self._path, target)

    def install(self, snapshot: Path, epoch: int) -> None:
        check_snapshot(snapshot, META1, self._header_of(snapshot))
        self._log.install(snapshot, epoch)
        self.installed += 1

    @staticmethod
    def _header_of(snapshot: Path) -> Header:
        db = apsw.Connection(str(snapshot), apsw.SQLITE_OPEN_READONLY)
        try:
            return newest(db)
        finally:
            db.close()

    @staticmethod
    def change(key: str, value: str) -> bytes:
        db = apsw.Connection(":memory:")
        db.execute("CREATE TABLE opened(id TEXT PRIMARY KEY, bucket TEXT NOT NULL) STRICT, WITHOUT ROWID")
        script = Script(db)
        script.write(_CHANGE, (key, value))
        return script.encode()

    def mark(self) -> int:
        return 0

    def sync(self, mark: int) -> None:
        return

    def crash(self, _chance: random.Random) -> None:
        self._writer.close()
        self._open()
