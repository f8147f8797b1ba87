"""SQLite connections as every base wants them, and SQLite's complaints in Frazil's words. The only module that knows pragmas."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import apsw

from node.errors import BaseCorrupt, BaseNotFound, Busy, ConfigError, FrazilError, VolumeFull, VolumeReadOnly, VolumeSick

APPLICATION_ID = 0x46525A4C
"""`FRZL` in the file's header: file(1) and we tell a base from another SQLite file."""
PAGE_BYTES = 8192
"""A clustered row may fill a quarter of a page before it overflows (2,030 bytes here): rows of ordinary objects stay whole; see README."""
CACHE_KIB = 4096
"""Page cache of one connection at the most."""
HEAP_BYTES_MAX = 32 << 20
"""All of SQLite's memory in this process: beyond it connections reuse their cached pages instead of taking more (a soft limit)."""
BUSY_WRITER_MS = 5_000
"""Only a second opener (a base being closed, a maintenance command) ever holds the lock against the one writer."""
BUSY_READER_MS = 1_000
"""WAL readers never wait for writers; this covers recovery of the log after a crash by another process."""
STATEMENTS_CACHED = 200
SMALL_LOG_PAGES = 500
"""Pages of a small base's write-ahead log after which SQLite copies them into the file."""

_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX
DISK_ERRORS = (
    apsw.FullError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.ProtocolError,
    OSError,
)
"""The world's fault: they end the whole transaction. All other complaints of SQLite are our bugs and concern one request."""


def limit_memory() -> None:
    """Once per process; many open bases then share HEAP_BYTES_MAX."""
    apsw.soft_heap_limit(HEAP_BYTES_MAX)


def make_file(path: Path, content: bytes) -> None:
    """A base as a whole, or none. Its name is durable with the first commit: SQLite syncs the folder for the log. Blocks on the disk.

    A log that is there is of an earlier base of that name, whose removal was broken off: SQLite would put its pages into this one.
    Raises: the leaves of `translate`.
    """
    new = path.with_name(f".{path.name}.new")
    try:
        _make_folder(path.parent)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        with open(descriptor, "wb", buffering=0) as file:
            file.write(content)
            os.fdatasync(descriptor)
        os.rename(new, path)
    except OSError as error:
        raise translate(error, path) from error


def open_writer(path: Path, *, create: bool) -> apsw.Connection:
    """A connection that may write: WAL, synchronous=FULL, no checkpoint of its own accord. Blocks on the disk.

    Raises: BaseNotFound; VolumeSick and the other leaves of `translate`.
    """
    if create:
        _make_folder(path.parent)
    elif not path.exists():
        raise BaseNotFound(f"there is no base {path.name}")
    try:
        connection = apsw.Connection(str(path), _FLAGS | apsw.SQLITE_OPEN_CREATE, statementcachesize=STATEMENTS_CACHED)
        try:
            connection.set_busy_timeout(BUSY_WRITER_MS)
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            mode = connection.execute("PRAGMA journal_mode=WAL").get
            if mode != "wal":
                raise ConfigError(f"the file system of {path} does not support SQLite's WAL (it answered {mode!r})")
            _configure(connection)
            for pragma in ("synchronous=FULL", "wal_autocheckpoint=0", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
        except BaseException:
            connection.close()
            raise
    except apsw.Error as error:
        raise translate(error, path) from error
    return connection


def open_formatted(path: Path, sql: str, version: int) -> apsw.Connection:
    """A writer of a small base, made from `sql` when it is new; SQLite copies its log into the file by itself. Blocks on the disk.

    Raises: ConfigError when the base has another version; as open_writer, OSError.
    """
    db = open_writer(path, create=True)
    try:
        db.wal_autocheckpoint(SMALL_LOG_PAGES)
        db.execute("BEGIN IMMEDIATE")  # two processes may begin at once
        found = db.execute("PRAGMA user_version").get
        if found == 0:
            db.execute(sql)
            db.execute(f"PRAGMA user_version={version}")
        elif found != version:
            raise ConfigError(f"{path} has format {found}, this Frazil knows {version}")
        db.execute("COMMIT")
    except BaseException:
        db.close(True)
        raise
    return db


def open_reader(path: Path) -> apsw.Connection:
    """A connection that only reads; sees every commit of any process of this host. Never checkpoints.

    Raises: BaseNotFound; the leaves of `translate`.
    """
    if not path.exists():
        raise BaseNotFound(f"there is no base {path.name}")
    try:
        connection = apsw.Connection(str(path), _FLAGS, statementcachesize=STATEMENTS_CACHED)
        try:
            connection.set_busy_timeout(BUSY_READER_MS)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            _configure(connection)
            connection.execute("PRAGMA query_only=ON")
        except BaseException:
            connection.close()
            raise
    except apsw.Error as error:
        raise translate(error, path) from error
    return connection


def open_checkpointer(path: Path) -> apsw.Connection:
    """A short-lived connection that copies the log into the file while the writer goes on."""
    connection = apsw.Connection(str(path), _FLAGS)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _configure(connection: apsw.Connection) -> None:
    # No mmap: an I/O error under a mapping is a SIGBUS that kills the process, under pread it is an exception.
    for pragma in ("mmap_size=0", f"cache_size=-{CACHE_KIB}", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    # Without this guarantee SQLite prepares a statement anew whenever a bound value changes, in case the value would change the plan:
    # a point read of a row costs 19 us then, and 4 us with it.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)


def _make_folder(folder: Path) -> None:
    """Creates missing folders durably: SQLite syncs the folder of its file, nobody else those above."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(mode=0o700, exist_ok=True)
        sync_folder(new.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def translate(error: apsw.Error | OSError, path: Path) -> FrazilError:
    """What SQLite's or the kernel's complaint means to the caller."""
    name = path.name
    match error:
        case apsw.FullError():
            return VolumeFull(f"no space for the metadata base {name}")
        case apsw.CorruptError() | apsw.NotADBError():
            return BaseCorrupt(f"the metadata base {name} is damaged: {error}")
        case apsw.ReadOnlyError():
            return VolumeReadOnly(f"the metadata base {name} can't be written: {error}")
        case apsw.BusyError() | apsw.LockedError():
            return Busy(f"the metadata base {name} is locked by another process")
        case apsw.NoMemError():
            return Busy(f"no memory for the metadata base {name}")
    if getattr(error, "extendedresult", 0) & 0xFF == apsw.SQLITE_FULL or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
        return VolumeFull(f"no space for the metadata base {name}")
    return VolumeSick(f"the metadata base {name} can't be used: {error}")
