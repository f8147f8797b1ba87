"""A base at one peer as replication sees it: meta.peer.Log on SQLite, what other peers read of it, and snapshots.

What changes the base runs between two transactions of its writer. What others read of it runs beside the writer, on what is committed:
the writer of a leader waits for peers, and they may have to read from it first.

A base whose replica turned out damaged is set aside (`NAME.db.damaged`). It has no say in which log is the furthest until a leader has
given it a snapshot: what it acknowledged is forgotten here, and must not be forgotten everywhere.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw
import msgspec
import xxhash

from meta.base import Base
from meta.cluster.promise import Promise
from meta.commit import NOTHING, Entry, Header
from meta.connection import APPLICATION_ID, open_reader, sync_folder, translate
from meta.kind import Kind
from meta.peer import Follower, Standing
from meta.writer import Writer, newest
from node.errors import BaseCorrupt, BaseNotFound
from node.threads import run_blocking

PAGE_ENTRIES_MAX = 500
PAGE_BYTES_MAX = 2 << 20
"""Entries handed over at once; one alone may have ENTRIES_BYTES_MAX."""


class ReplicaLog:
    """Implements meta.peer.Log within a call of the base's writer. A snapshot is the path of a checked file."""

    def __init__(self, writer: Writer[Any], promise: Promise, damaged: Path) -> None:
        self._writer = writer
        self._promise = promise
        self._damaged = damaged

    def standing(self) -> Standing:
        return Standing(self._promise.epoch, self._writer.header)

    def promise(self, epoch: int) -> None:
        self._promise.make(epoch)

    def apply(self, entry: Entry, epoch: int) -> None:
        self._promise.make(epoch)
        self._writer.apply(entry)

    def install(self, snapshot: Path, epoch: int) -> None:
        self._promise.make(epoch)
        self._writer.install(snapshot)
        self._damaged.unlink(missing_ok=True)


class Replica:
    """One base of a set of peers. Made for each call; its state is the base's and the promise's."""

    def __init__(self, base: Base[Any], kind: Kind[Any], promise: Promise) -> None:
        self._base = base
        self._kind = kind
        self._promise = promise
        self._damaged = base.path.with_name(f"{base.path.name}.damaged")

    def __repr__(self) -> str:
        return f"<Replica {self._base!r} {self._promise!r}>"

    @property
    def damaged(self) -> bool:
        """Whether it has no say until it was given a snapshot."""
        return self._damaged.exists()

    async def survey(self, epoch: int) -> Standing:
        """Raises: Fenced; BaseCorrupt while it has no say."""
        if self.damaged:
            raise BaseCorrupt(f"the replica of {self._base.name} was damaged and waits for a snapshot")
        return await self._base.call(self._survey, epoch)

    async def append(self, epoch: int, entry: Entry) -> Standing:
        """Raises: Fenced. A standing of (0, 0) beside its place asks for a snapshot."""
        try:
            return await self._changing(self._append, epoch, entry)
        except BaseCorrupt:
            await self.set_aside()
            return Standing(self._promise.epoch, NOTHING)

    async def install(self, epoch: int, snapshot: Path, header: Header) -> Standing:
        """Raises: Fenced; BaseCorrupt when the snapshot is not what it should be."""
        await run_blocking(check_snapshot, snapshot, self._kind, header)
        return await self._changing(self._install, epoch, snapshot, header)

    async def standing(self, epoch: int) -> Standing:
        """For who catches up in this epoch, damaged or not; one that can't even be opened is set aside. Raises: Fenced."""
        try:
            return await self._base.call(self._survey, epoch)
        except BaseCorrupt:
            await self.set_aside()
            return await self._base.call(self._survey, epoch)

    async def _changing(self, function: Any, *arguments: Any) -> Standing:
        try:
            standing: Standing = await self._base.call(function, *arguments)
            return standing
        finally:
            self._base.memo = None

    def _survey(self, writer: Writer[Any], epoch: int) -> Standing:
        return self._follower(writer).survey(epoch)

    def _append(self, writer: Writer[Any], epoch: int, entry: Entry) -> Standing:
        return self._follower(writer).append(epoch, entry)

    def _install(self, writer: Writer[Any], epoch: int, snapshot: Path, header: Header) -> Standing:
        return self._follower(writer).install(epoch, snapshot, header)

    def _follower(self, writer: Writer[Any]) -> Follower[Path]:
        return Follower(ReplicaLog(writer, self._promise, self._damaged))

    async def set_aside(self) -> None:
        """The damaged original is kept for whoever wants to know how it came."""
        await self._base.call(_set_aside, self._base.path, self._damaged)
        self._base.forget_reader()

    # What others read

    def after(self, header: Header) -> list[Entry] | None:
        """Some entries that follow on `header`, oldest first ([] when it is the last); None when only a snapshot helps.

        The caller has asked `check_source`.
        """
        try:
            return self._base.read(entries_after, self._base.name, header)
        except BaseNotFound:
            return [] if header == NOTHING else None

    def header(self) -> Header:
        try:
            return self._base.read(newest)
        except BaseNotFound:
            return NOTHING

    async def digest(self) -> tuple[Header, str]:
        """Where it stands and a sum of its tables, after a check of the file. Raises: BaseCorrupt, BaseNotFound."""
        return await run_blocking(_digest, self._base.path, self._kind)

    async def copy(self, target: Path) -> Header:
        """A snapshot in a new file. Raises: BaseNotFound, VolumeFull, VolumeSick."""
        return await run_blocking(copy_base, self._base.path, target)


def entries_after(db: apsw.Connection, base: str, header: Header) -> list[Entry] | None:
    """As Replica.after."""
    db.execute("BEGIN")  # one state of the base for all that is read
    try:
        return _following(db, base, header)
    finally:
        db.execute("COMMIT")


def _following(db: apsw.Connection, base: str, header: Header) -> list[Entry] | None:
    if newest(db) == header:
        return []
    if header != NOTHING and db.execute("SELECT epoch FROM entries WHERE entry = ?", (header.index,)).get != header.epoch:
        return None
    found: list[Entry] = []
    size = 0
    for index, epoch, script in db.execute("SELECT entry, epoch, script FROM entries WHERE entry > ? ORDER BY entry", (header.index,)):
        if index != header.index + 1 or script is None or (size and size + len(script) > PAGE_BYTES_MAX):
            break
        following = Header(epoch, index)
        found.append(Entry(base, header, following, script))
        header = following
        size += len(script)
        if len(found) == PAGE_ENTRIES_MAX:
            break
    return found or None


def _digest(path: Path, kind: Kind[Any]) -> tuple[Header, str]:
    hasher = xxhash.xxh3_128()
    db = open_reader(path)
    try:
        db.execute("BEGIN")  # one state of the base for all that is read
        found = db.execute("PRAGMA integrity_check(1)").get
        if found != "ok":
            raise BaseCorrupt(f"{path} is damaged: {found}")
        for table in kind.tables:
            for row in db.execute(f"SELECT * FROM {table}"):  # in the order of its key
                hasher.update(msgspec.msgpack.encode(row))
        return newest(db), str(hasher.hexdigest())
    except apsw.Error as error:
        raise translate(error, path) from error
    finally:
        db.close()


def copy_base(path: Path, target: Path) -> Header:
    """As Replica.copy; blocks."""
    if not path.exists():
        raise BaseNotFound(f"there is no base {path.name}")
    try:
        source = apsw.Connection(str(path), apsw.SQLITE_OPEN_READWRITE)
        copy = apsw.Connection(str(target))
        try:
            source.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            with copy.backup("main", source, "main") as backup:
                backup.step(-1)  # in one go: it reads from one snapshot beside the writer
            copy.execute("PRAGMA journal_mode=DELETE").fetchall()
            return newest(copy)
        finally:
            copy.close()
            source.close()
    except apsw.Error as error:
        raise translate(error, path) from error


def check_snapshot(snapshot: Path, kind: Kind[Any], header: Header) -> None:
    """Raises: BaseCorrupt unless it is a whole base of that kind which ends with `header`."""
    try:
        db = apsw.Connection(str(snapshot), apsw.SQLITE_OPEN_READONLY)
        try:
            if db.execute("PRAGMA application_id").get != APPLICATION_ID or db.execute("PRAGMA user_version").get != kind.format:
                raise BaseCorrupt(f"a snapshot is not a {kind.name} base of format {kind.format}")
            found = db.execute("PRAGMA integrity_check(1)").get
            if found != "ok":
                raise BaseCorrupt(f"a snapshot is damaged: {found}")
            if newest(db) != header:
                raise BaseCorrupt(f"a snapshot ends with {newest(db)}, not with {header}")
        finally:
            db.close()
    except apsw.Error as error:
        raise BaseCorrupt(f"a snapshot is not readable: {error}") from error


def _set_aside(writer: Writer[Any], path: Path, damaged: Path) -> None:
    writer.close()
    os.replace(path, damaged)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    sync_folder(path.parent)
    writer.forget()
