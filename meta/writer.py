"""The one writer of a base: gathers waiting requests into one SQLite transaction, keeps its script, commits. Runs in a Lane's thread.

Order within a transaction: the requests, then the entry with their script, then COMMIT, and beside it the peers agree (`Committer`). Nobody
gets an answer before both are done. Requests check first and change then, so a refusal rarely has anything to undo: when one does, the
transaction is begun again with a savepoint around each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import apsw
import msgspec

from meta.attempt import Attempt, Trace, answer_of, answered
from meta.commit import Committer, Entry, Header
from meta.connection import APPLICATION_ID, DISK_ERRORS, make_file, open_checkpointer, open_writer, sync_folder, translate
from meta.kind import Kind, Transaction, blank, schema
from meta.script import run as run_script
from node.errors import ConfigError, Forgotten, FrazilError

ENTRIES_MAX = 10_000
ENTRIES_BYTES_MAX = 4 << 20
"""Entries kept for peers that lag and for who follows the changes; a peer further behind gets a snapshot."""
ENTRIES_TRIMMED_TO = 7 / 8
"""Share of both that is left when either is reached, so that one transaction in hundreds does the trimming."""
LOG_PAGES_SOFT = 1_000
"""Pages in the write-ahead log (8 MiB) from which a background checkpoint is wished."""
LOG_PAGES_HARD = 16_000
"""Pages (128 MiB) at which the writer itself checkpoints, because nobody else came to do it."""

T = TypeVar("T", bound=Transaction)


@dataclass(slots=True)
class Request(Generic[T]):
    """function(transaction, *arguments): one atomic change. attempt: the client's call that it is, where that may be made again."""

    plain: ClassVar[bool] = True
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    attempt: Attempt | None = None

    def make(self, transaction: T) -> Any:
        """Raises: Forgotten; what the function raises."""
        attempt = self.attempt
        if attempt is None or attempt.again is None:
            return self.function(transaction, *self.arguments)
        found = answered(transaction.db, attempt)
        if isinstance(found, msgspec.Raw):
            return found
        if found is Trace.LOST and not attempt.harmless:
            raise Forgotten("whether the call was carried out is not known: too much was written since")
        transaction.unmade = found is Trace.NONE
        try:
            return self.function(transaction, *self.arguments)
        finally:
            transaction.unmade = False


@dataclass(slots=True)
class Call(Generic[T]):
    """function(writer, *arguments): between two transactions."""

    plain: ClassVar[bool] = False
    function: Callable[..., Any]
    arguments: tuple[Any, ...] = ()


def settle_log(writer: Writer[Any]) -> None:
    """As a call's function: copies the rest of the write-ahead log into the base."""
    writer.settle()


class Writer(Generic[T]):
    """Not shared between threads: one call at a time. `log_pages` may be read from anywhere."""

    def __init__(self, path: Path, kind: Kind[T], name: str, committer: Committer, now_us: Callable[[], int]) -> None:
        """name: the base's, by which the committer knows it."""
        self._path = path
        self._name = name
        self._kind = kind
        self._committer = committer
        self._now_us = now_us
        self._db: apsw.Connection | None = None
        self._transaction: T
        self._header = Header(0, 0)
        self._foreign = False  # the last transaction was another's, applied here
        self._kept = 0
        self._kept_bytes = 0
        self.log_pages = 0

    def __repr__(self) -> str:
        return f"<Writer {self._path.name} epoch={self._header.epoch} index={self._header.index} log_pages={self.log_pages}>"

    def work(self, requests: list[Request[T] | Call[T]]) -> list[Any]:
        """One result or exception per request; calls and transactions in their order."""
        if all(request.plain for request in requests):
            return self._guarded(self._transact, requests)
        results: list[Any] = []
        for plain, run in groupby(requests, key=lambda request: request.plain):
            together = list(run)
            if plain:
                results += self._guarded(self._transact, together)
            else:
                for call in together:
                    results += self._guarded(self._call, [call])
        return results

    def _guarded(self, work: Callable[[list[Any]], list[Any]], requests: list[Any]) -> list[Any]:
        """A failing disk fails all of a batch and changes nothing."""
        try:
            return work(requests)
        except (apsw.Error, OSError) as error:
            self._recover(error)
            return [_caused(translate(error, self._path), error) for _ in requests]
        except FrazilError as error:
            self._recover(error)
            return [_caused(type(error)(str(error)), error) for _ in requests]
        except AssertionError as bug:
            self._recover(bug)
            raise

    def _call(self, calls: list[Call[T]]) -> list[Any]:
        assert len(calls) == 1  # each fails for itself
        return [calls[0].function(self, *calls[0].arguments)]

    def settle(self) -> None:
        """In a call."""
        self._checkpoint(self._db or self._open())

    @property
    def header(self) -> Header:
        """In a call. Of a base that was never made: (0, 0)."""
        if self._db is None and self._path.exists():
            self._open()
        return self._header

    def apply(self, entry: Entry) -> None:
        """In a call: another leader's transaction, which follows on the last one here.

        Raises: BaseCorrupt when its changes come out otherwise.
        """
        db = self._db or self._open()
        db.execute("BEGIN IMMEDIATE")
        found = newest(db)
        assert found == entry.previous == self._header, (found, entry.previous, self._header)
        if entry.script:
            run_script(db, entry.script)
        self._keep(db, entry.header, entry.script)
        self._sync(db)
        self._header = entry.header
        self._foreign = True

    def install(self, snapshot: Path) -> None:
        """In a call: the base becomes a copy of the snapshot, at once and wholly for its readers. The caller has checked the snapshot."""
        db = self._db or self._open()
        source = apsw.Connection(str(snapshot), apsw.SQLITE_OPEN_READONLY)
        try:
            with db.backup("main", source, "main") as backup:
                backup.step(-1)
        finally:
            source.close()
        self._load(db)
        self._foreign = True

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

    def forget(self) -> None:
        """In a call: the file is another one, or gone."""
        self._header, self._kept, self._kept_bytes = Header(0, 0), 0, 0

    def close(self) -> None:
        """Closing the last connection checkpoints; a failure of that loses nothing, for the log stays."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _open(self) -> apsw.Connection:
        if not self._path.exists():
            make_file(self._path, blank(self._kind.name, self._kind.format))
        db = open_writer(self._path, create=True)
        try:
            self._prepare(db)
            self._load(db)
        except BaseException:
            db.close()
            raise
        db.set_wal_hook(self._count_log)
        self._transaction = self._kind.transaction(db)
        self._transaction.begin(0, afresh=True)
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
        self._header = newest(db)
        self._kept, self._kept_bytes = db.execute("SELECT count(*), coalesce(sum(length(script)), 0) FROM entries").get

    def _count_log(self, _db: apsw.Connection, _schema: str, pages: int) -> int:
        self.log_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self, db: apsw.Connection) -> None:
        total, copied = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if total == copied:
            self.log_pages = 0  # the next transaction writes the log from its begin again

    def _transact(self, requests: list[Request[T]]) -> list[Any]:
        db = self._db or self._open()
        if self.log_pages >= LOG_PAGES_HARD:
            self._checkpoint(db)
        epoch = self._committer.lead(self._name)
        transaction = self._begin(db)
        results = self._try_all(transaction, requests)
        if results is None:
            db.execute("ROLLBACK")
            transaction = self._begin(db, afresh=True)
            results = [self._in_savepoint(transaction, request) for request in requests]
        if transaction.script.empty:
            db.execute("ROLLBACK")
            self._committer.lead(self._name)  # no peer will say whether another wrote meanwhile what these requests should have seen
            return results
        transaction.finish()
        transaction.script.calls = [
            (request.attempt.number, answer_of(result))
            for request, result in zip(requests, results, strict=True)
            if request.attempt is not None and not isinstance(result, (Exception, msgspec.Raw))
        ]
        assert transaction.script.complete, "a change went past the script"
        self._commit(db, epoch, transaction.script.encode())
        return results

    def _begin(self, db: apsw.Connection, *, afresh: bool = False) -> T:
        db.execute("BEGIN IMMEDIATE")
        if self._foreign or newest(db) != self._header:
            self._load(db)  # another leader wrote; or another process, as a command may while nobody serves
            self._foreign = False
            afresh = True
        self._transaction.begin(self._now_us(), afresh=afresh)
        return self._transaction

    @staticmethod
    def _try_all(transaction: T, requests: list[Request[T]]) -> list[Any] | None:
        """None when one was refused after it had changed something: all must be undone and done again with savepoints (6 us each)."""
        results: list[Any] = []
        for request in requests:
            mark = transaction.script.mark()
            try:
                result = request.make(transaction)
            except DISK_ERRORS:
                raise
            except Exception as error:  # noqa: BLE001 - carried to the one who asked, a refusal as well as a bug
                if transaction.script.mark() != mark:
                    return None
                transaction.reject()
                result = error
            else:
                transaction.accept()
            results.append(result)
        return results

    @staticmethod
    def _in_savepoint(transaction: T, request: Request[T]) -> Any:
        db, script = transaction.db, transaction.script
        mark = script.mark()
        db.execute("SAVEPOINT request")
        try:
            result = request.make(transaction)
        except DISK_ERRORS:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            db.execute("ROLLBACK TO request")
            script.cut(mark)
            transaction.reject()
            result = error
        else:
            transaction.accept()
        db.execute("RELEASE request")
        return result

    def _commit(self, db: apsw.Connection, epoch: int, script: bytes) -> None:
        header = Header(epoch, self._header.index + 1)
        entry = Entry(self._name, self._header, header, script)
        self._keep(db, header, script)
        self._committer.agree(entry, partial(self._sync, db))
        self._header = header

    def _sync(self, db: apsw.Connection) -> None:
        began_s = time.monotonic()
        db.execute("COMMIT")
        self._committer.took(time.monotonic() - began_s)

    def _keep(self, db: apsw.Connection, header: Header, script: bytes) -> None:
        kept = len(script) <= ENTRIES_BYTES_MAX
        db.execute("INSERT INTO entries VALUES (?, ?, ?)", (header.index, header.epoch, script if kept else None))
        self._kept += 1
        self._kept_bytes += len(script) if kept else 0
        if self._kept > ENTRIES_MAX or self._kept_bytes > ENTRIES_BYTES_MAX or not kept:
            self._trim(db, kept=kept)

    def _trim(self, db: apsw.Connection, *, kept: bool) -> None:
        """Deletes the oldest entries; all but the newest when that one was not kept, for nobody could go on behind them."""
        number, size = (ENTRIES_MAX * ENTRIES_TRIMMED_TO, ENTRIES_BYTES_MAX * ENTRIES_TRIMMED_TO) if kept else (1, 0)
        last = 0
        for entry, length in db.execute("SELECT entry, coalesce(length(script), 0) FROM entries ORDER BY entry"):
            if self._kept == 1 or (self._kept <= number and self._kept_bytes <= size):
                break
            last = entry
            self._kept -= 1
            self._kept_bytes -= length
        db.execute("DELETE FROM entries WHERE entry <= ?", (last,))

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


def newest(db: apsw.Connection) -> Header:
    """Where the base stands, by its newest entry."""
    entry, epoch = db.execute("SELECT entry, epoch FROM entries ORDER BY entry DESC LIMIT 1").get or (0, 0)
    return Header(epoch, entry)


def check_format(path: Path, kind: str, found: int, known: int) -> None:
    """Raises: ConfigError."""
    if found > known:
        raise ConfigError(f"{path} is a {kind} base of format {found}; this Frazil knows format {known}: use a newer one")
    if 0 < found < known:
        raise ConfigError(f"{path} is a {kind} base of format {found}, from before the first release; this Frazil knows format {known}")


def _caused(error: FrazilError, cause: Exception) -> FrazilError:
    error.__cause__ = cause
    return error
