"""The one writer of a base: gathers waiting requests into one SQLite transaction, keeps its changeset, commits. Runs in a Lane's thread.

Order within a transaction: each request in a savepoint of its own, then the header and the changeset, then the peers agree
(`Committer`), then COMMIT. Nobody gets an answer before COMMIT returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import apsw

from meta.commit import Committer, Entry, Header
from meta.connection import APPLICATION_ID, DISK_ERRORS, open_checkpointer, open_writer, sync_folder, translate
from meta.kind import Kind, Transaction, schema
from node.errors import BaseCorrupt, ConfigError, FrazilError

CHANGESETS_MAX = 1_000
CHANGESETS_BYTES_MAX = 4 << 20
"""Changesets kept for peers that lag; a peer further behind gets a snapshot."""
LOG_PAGES_SOFT = 1_000
"""Pages in the write-ahead log (8 MiB) from which a background checkpoint is wished."""
LOG_PAGES_HARD = 16_000
"""Pages (128 MiB) at which the writer itself checkpoints, because nobody else came to do it."""

T = TypeVar("T", bound=Transaction)


@dataclass(slots=True)
class Request(Generic[T]):
    """function(transaction, *arguments): one atomic change."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def settle_log(_transaction: Transaction) -> None:
    """As a request's function: the writer copies the rest of the log into the base before its next transaction."""


class Writer(Generic[T]):
    """Not shared between threads: one call at a time. `log_pages` may be read from anywhere."""

    def __init__(self, path: Path, kind: Kind[T], committer: Committer, now_us: Callable[[], int]) -> None:
        self._path = path
        self._name = path.stem
        self._kind = kind
        self._committer = committer
        self._now_us = now_us
        self._db: apsw.Connection | None = None
        self._header = Header(0, 0)
        self._kept = 0
        self._kept_bytes = 0
        self.log_pages = 0

    def __repr__(self) -> str:
        return f"<Writer {self._path.name} epoch={self._header.epoch} index={self._header.index} log_pages={self.log_pages}>"

    def work(self, requests: list[Request[T]]) -> list[Any]:
        """One result or exception per request. A failing disk fails them all and changes nothing."""
        try:
            db = self._db or self._open()
            if self.log_pages >= LOG_PAGES_HARD or any(request.function is settle_log for request in requests):
                self._checkpoint(db)
            return self._transact(db, requests)
        except (apsw.Error, OSError) as error:
            self._recover(error)
            return [_caused(translate(error, self._path), error) for _ in requests]
        except FrazilError as error:
            self._recover(error)
            return [_caused(type(error)(str(error)), error) for _ in requests]

    def checkpoint(self) -> None:
        """Copies the log into the base while the writer goes on; called in another thread. `settle_log` does what came meanwhile."""
        try:
            connection = open_checkpointer(self._path)
            try:
                connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            finally:
                connection.close()
        except apsw.Error as error:
            raise translate(error, self._path) from error

    def close(self) -> None:
        """Closing the last connection checkpoints; a failure of that loses nothing, for the log stays."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _open(self) -> apsw.Connection:
        db = open_writer(self._path, create=True)
        try:
            self._prepare(db)
            self._load(db)
        except BaseException:
            db.close()
            raise
        db.set_wal_hook(self._count_log)
        self._db = db
        return db

    def _prepare(self, db: apsw.Connection) -> None:
        found = db.execute("PRAGMA user_version").get
        check_format(self._path, self._kind.name, found, self._kind.format)
        if found == 0:
            with db:
                db.execute(schema("base"))
                db.execute(schema(self._kind.name))
                db.execute(f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={self._kind.format}")
            sync_folder(self._path.parent)

    def _load(self, db: apsw.Connection) -> None:
        row = db.execute("SELECT epoch, last FROM header").get
        if row is None:
            raise BaseCorrupt(f"the metadata base {self._path.name} has no header row")
        self._header = Header(*row)
        self._kept, self._kept_bytes = db.execute("SELECT count(*), coalesce(sum(length(changeset)), 0) FROM changesets").get

    def _count_log(self, _db: apsw.Connection, _schema: str, pages: int) -> int:
        self.log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, db: apsw.Connection) -> None:
        total, copied = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if total == copied:
            self.log_pages = 0  # the next transaction writes the log from its begin again

    def _transact(self, db: apsw.Connection, requests: list[Request[T]]) -> list[Any]:
        epoch = self._committer.lead(self._name)
        db.execute("BEGIN IMMEDIATE")
        if db.execute("SELECT epoch, last FROM header").get != (self._header.epoch, self._header.index):
            self._load(db)  # another process wrote, as a command may while nobody serves
        session = apsw.Session(db, "main")
        try:
            for table in self._kind.tables:
                session.attach(table)
            transaction = self._kind.begin(db, self._now_us())
            if len(requests) == 1:
                results = [self._alone(transaction, requests[0])]
                changed = not session.is_empty and not isinstance(results[0], Exception)
            else:
                results = [self._among_others(transaction, request) for request in requests]
                changed = not session.is_empty
            if changed:
                transaction.finish()
                self._append(db, epoch, session.changeset())
        finally:
            session.close()
        db.execute("COMMIT" if changed else "ROLLBACK")
        return results

    @staticmethod
    def _alone(transaction: T, request: Request[T]) -> Any:
        """Without a savepoint (6 us): when it fails, the whole transaction is rolled back."""
        try:
            result = request.function(transaction, *request.arguments)
        except DISK_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - carried to the one who asked, a refusal as well as a bug
            return error
        transaction.accept()
        return result

    @staticmethod
    def _among_others(transaction: T, request: Request[T]) -> Any:
        db = transaction.db
        db.execute("SAVEPOINT request")
        try:
            result = request.function(transaction, *request.arguments)
        except DISK_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            db.execute("ROLLBACK TO request")
            transaction.reject()
            result = error
        else:
            transaction.accept()
        db.execute("RELEASE request")
        return result

    def _append(self, db: apsw.Connection, epoch: int, changeset: bytes) -> None:
        header = Header(epoch, self._header.index + 1)
        db.execute("UPDATE header SET epoch = ?, last = ?", (header.epoch, header.index))
        kept, kept_bytes = self._kept + 1, self._kept_bytes + len(changeset)
        db.execute("INSERT INTO changesets VALUES (?, ?, ?)", (header.index, epoch, changeset))
        while kept > CHANGESETS_MAX or kept_bytes > CHANGESETS_BYTES_MAX:
            oldest = header.index - kept + 1
            kept_bytes -= db.execute("DELETE FROM changesets WHERE entry = ? RETURNING length(changeset)", (oldest,)).get
            kept -= 1
        self._committer.agree(Entry(self._name, self._header, header, changeset))
        self._header, self._kept, self._kept_bytes = header, kept, kept_bytes

    def _recover(self, error: Exception) -> None:
        """After any failure the transaction is rolled back and the connection is opened anew: SQLite and the kernel may disagree now."""
        db, self._db = self._db, None
        if db is None:
            return
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
            db.close()
        except apsw.Error as second:
            error.add_note(f"and closing the base failed as well: {second}")


def check_format(path: Path, kind: str, found: int, known: int) -> None:
    if found > known:
        raise ConfigError(f"{path} is a {kind} base of format {found}; this Frazil knows formats up to {known}: use a newer one")


def _caused(error: FrazilError, cause: Exception) -> FrazilError:
    error.__cause__ = cause
    return error
