"""A base: one SQLite file with one writer and reads beside it.

Reads run in the event loop's thread on a connection of their own: a point read costs about 10 us, a thread hop would cost 200.
Writes wait in a Lane and share transactions. A write is visible to every read that begins after it returned.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import apsw

from meta.attempt import current
from meta.commit import Committer
from meta.connection import DISK_ERRORS, open_reader, sync_folder, translate
from meta.kind import Kind, Transaction
from meta.logindex import LogIndex, log_index
from meta.writer import LOG_PAGES_SOFT, Call, Request, Writer, check_format, settle_log
from node.errors import BaseNotFound
from node.lane import Job, Lane
from node.threads import run_blocking

BATCH_MAX = 256
"""Requests in one transaction: bounds what one commit holds back and how long it takes (about 10 ms)."""

T = TypeVar("T", bound=Transaction)
P = ParamSpec("P")
R = TypeVar("R")


class Base(Generic[T]):
    """Used from one event loop. `pending` writes keep it from being closed; reads never span an await.

    memo   what its owner remembers of it between two changes; only where no other process writes the file
    """

    def __init__(
        self,
        path: Path,
        kind: Kind[T],
        name: str,
        *,
        committer: Committer,
        now_us: Callable[[], int],
        log_grown: Callable[[Base[T]], None],
    ) -> None:
        """log_grown(base) is called when the write-ahead log wants a checkpoint: `checkpoint` is then to be awaited by some task."""
        self.path = path
        self.name = name
        self.pending = 0
        self.memo: Any = None
        self._kind = kind
        self._writer = Writer(path, kind, name, committer, now_us)
        self._lane: Lane[Request[T] | Call[T], Any] = Lane(self._writer.work, batch_max=BATCH_MAX)
        self._log_grown = log_grown
        self._checkpoint_wished = False
        self._reader: apsw.Connection | None = None
        self._index: LogIndex | None = None
        self._inode = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<Base {self.path.name} pending={self.pending} closed={self._closed} {self._writer!r}>"

    def read(self, function: Callable[Concatenate[apsw.Connection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """function(connection, ...) now, in this thread. For one snapshot over several statements it begins a transaction itself.

        Raises: BaseNotFound, BaseCorrupt, VolumeSick, Busy; what the function raises.
        """
        try:
            return function(self._reader or self._open_reader(), *args, **kwargs)
        except DISK_ERRORS as error:
            self.forget_reader()
            raise translate(error, self.path) from error

    def state(self) -> bytes | None:
        """The same object as long as no process commits anything, and never again another time; None when that can't be told."""
        return self._index.state() if self._index is not None else None

    async def write(self, function: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """function(transaction, ...) within the next transaction; durable at return. Makes the base where it is missing.

        Raises: VolumeFull, VolumeSick, VolumeReadOnly, BaseCorrupt, Busy, NotLeader; what the function raises.
        """
        with self.job(function, *args, **kwargs) as job:
            result: R = await self._lane.submit(job.request)
        return result

    def job(self, function: Callable[Concatenate[T, P], R], *args: P.args, **kwargs: P.kwargs) -> Underway:
        """The same for a relay; the base stays open until the block is left. Raises: BaseNotFound."""
        assert not kwargs  # arguments cross to the writer by place
        if self._closed:
            raise BaseNotFound(f"the base {self.path.name} is closed")
        attempt = current.get()
        if attempt is not None and attempt.base != self.name:  # what a call writes beside does no harm when it is repeated
            attempt = None
        return Underway(self, Job(self._lane, Request(function, args, attempt)))

    async def call(self, function: Callable[Concatenate[Writer[T], P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """function(writer, ...) between two transactions, in the writer's thread. Raises: as write."""
        assert not kwargs
        if self._closed:
            raise BaseNotFound(f"the base {self.path.name} is closed")
        with Underway(self, Job(self._lane, Call(function, args))) as job:
            result: R = await self._lane.submit(job.request)
        return result

    def look_at_log(self) -> None:
        """After a write."""
        if self._writer.log_pages >= LOG_PAGES_SOFT and not self._checkpoint_wished:
            self._checkpoint_wished = True
            self._log_grown(self)

    async def make(self) -> None:
        """Makes the file where it is missing, so that it can be read. Raises: as write."""
        await self.write(_nothing)

    async def checkpoint(self) -> None:
        """Copies the log into the file: the bulk while writes go on, the rest between two transactions, so that the log begins anew.

        Raises: as write, without consequence for what is stored.
        """
        if self._closed:  # which checkpointed it
            return
        self.pending += 1
        try:
            await run_blocking(self._writer.checkpoint)
            await self._lane.submit(Call(settle_log))
        finally:
            self.pending -= 1
            self._checkpoint_wished = False

    async def aclose(self) -> None:
        """Only without pending writes."""
        assert self.pending == 0, self
        self._closed = True
        self.forget_reader()
        try:
            await run_blocking(self._writer.close)
        except DISK_ERRORS as error:
            raise translate(error, self.path) from error

    def replaced(self) -> bool:
        """Whether the file under the base's name is not the one that is open."""
        if self._reader is None:
            return False
        try:
            return os.stat(self.path).st_ino != self._inode
        except FileNotFoundError:
            return True

    def unlink(self) -> None:
        """Deletes the files of a closed base. Raises: VolumeSick and the other leaves of `translate`."""
        assert self._closed, self
        try:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            sync_folder(self.path.parent)
        except OSError as error:
            raise translate(error, self.path) from error

    def _open_reader(self) -> apsw.Connection:
        if self._closed:
            raise BaseNotFound(f"the base {self.path.name} is closed")
        reader = open_reader(self.path)
        found = reader.execute("PRAGMA user_version").get
        if found == 0:  # made but not filled: its first transaction never committed
            reader.close()
            raise BaseNotFound(f"there is no base {self.path.name}")
        check_format(self.path, self._kind.name, found, self._kind.format)
        self._inode = os.stat(self.path).st_ino
        self._reader = reader
        self._index = log_index(reader)
        return reader

    def forget_reader(self) -> None:
        """The next read opens the file that has the name then."""
        reader, self._reader = self._reader, None
        self._index = None
        if reader is not None:
            reader.close(True)


class Underway:
    """A write that is on its way, as a context."""

    __slots__ = ("_base", "_job")

    def __init__(self, base: Base[Any], job: Job) -> None:
        self._base = base
        self._job = job

    def __enter__(self) -> Job:
        self._base.pending += 1
        return self._job

    def __exit__(self, *_: object) -> None:
        self._base.pending -= 1
        self._base.look_at_log()


def _nothing(_transaction: Transaction) -> None:
    return
