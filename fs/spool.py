"""Where written bytes wait until they are stored: a little memory for each file, then a file on disk. Bounded together for all of a mount.

    FOLDER/lock            held by the process that uses the folder
    FOLDER/<n>.data        bytes, each at its own place; holes where nothing was written
    FOLDER/<n>.head        JSON: what the file was when the data file was made
    FOLDER/<n>.note        a line for each write since, "START STOP", and "CUT SIZE" for each truncation

A process that is killed leaves its files; the next mount of the same place stores what they hold (fs/recovery.py).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from fs.extent import Extents
from node.threads import run_blocking
from rawx.system import punch_range

MEMORY_BYTES_FILE_MAX = 256 << 10
"""Of one file: larger ones go to disk."""
MEMORY_BYTES_MAX = 32 << 20
"""Of all files together."""
SPOOL_BYTES_MAX = 4 << 30
INLINE_BYTES_MAX = 1 << 20
"""Writes into the page cache up to here, which is what the kernel sends at once, are done in the event loop's thread: they take less time
than a hop to another."""
LOCK = "lock"
LOCK_WAIT_S = 20.0
"""How long a new mount waits for one that ends; it may still store what was written."""
LOCK_POLL_S = 0.1
FILE_BYTES_MAX = 5 << 40
"""As S3 has it."""
DATA, HEAD, NOTE = ".data", ".head", ".note"


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a spool file belongs to. content: of the version that the bytes are over, "" for a new object, of whose first `kept` bytes
    count; size: of the file; metadata: as the object is to have it; upload: whose parts have the first `staged` bytes, "" for none;
    upload_key: that it was begun with, before the file was renamed; "": `key`."""

    bucket: str
    key: str
    content: str = ""
    kept: int = 0
    size: int = 0
    metadata: dict[str, str] = {}
    upload: str = ""
    staged: int = 0
    upload_key: str = ""


class SpoolFolder:
    """One mount's. bytes_max: on disk."""

    def __init__(self, path: Path, *, bytes_max: int = SPOOL_BYTES_MAX) -> None:
        self.path = path
        self.bytes_max = bytes_max
        self.used = 0
        self.memory = 0
        self._number = 0
        self._lock = -1

    def __repr__(self) -> str:
        return f"<SpoolFolder {self.path} used={self.used} memory={self.memory}>"

    async def open(self, *, wait_s: float = LOCK_WAIT_S) -> bool:
        """Takes the folder; False when another process has it and keeps it. Raises: OSError."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with trio.move_on_after(wait_s):
            while not _locks(self._lock):  # noqa: ASYNC110 - another process's doing
                await trio.sleep(LOCK_POLL_S)
        if not _locks(self._lock):
            self.close()
            return False
        self._number = max((int(path.stem) for path in self.path.glob("*" + NOTE) if path.stem.isdigit()), default=0)
        return True

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def new_path(self) -> Path:
        self._number += 1
        return self.path / str(self._number)

    def check_room(self, size: int) -> None:
        """Raises: OSError (ENOSPC)."""
        if self.used + size > self.bytes_max:
            raise OSError(errno.ENOSPC, f"the spool is full: {self.used} of {self.bytes_max} bytes")

    def free_bytes(self) -> int:
        return shutil.disk_usage(self.path).free


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Spool:
    """The written bytes of one file, at their places in it."""

    def __init__(self, folder: SpoolFolder) -> None:
        self._folder = folder
        self._memory: bytearray | None = bytearray()
        self._ranges = Extents()  # what was written: recovery must not take the rest of the memory for zeros
        self._path: Path | None = None
        self._data = self._notes = -1
        self._used = 0

    def __repr__(self) -> str:
        return f"<Spool {self._path or 'in memory'} used={self._used}>"

    @property
    def on_disk(self) -> bool:
        return self._data >= 0

    async def write(self, start: int, data: bytes, note: Callable[[], Note]) -> None:
        """note: tells what it is, in case that it goes to disk. Raises: OSError (ENOSPC, EIO)."""
        stop = start + len(data)
        if self._memory is not None:
            growth = max(stop - len(self._memory), 0)
            if stop <= MEMORY_BYTES_FILE_MAX and self._folder.memory + growth <= MEMORY_BYTES_MAX:
                self._folder.memory += growth
                if growth:
                    self._memory.extend(bytes(growth))
                self._memory[start:stop] = data
                self._ranges.add(start, stop)
                return
            self._spill(note())
        growth = sum(end - begin for begin, end in self._ranges.gaps(start, stop))
        self._folder.check_room(growth)
        if len(data) <= INLINE_BYTES_MAX:
            _write_all(self._data, data, start)
        else:
            await run_blocking(_write_all, self._data, data, start)
        os.write(self._notes, b"%d %d\n" % (start, stop))
        self._ranges.add(start, stop)
        self._folder.used += growth
        self._used += growth

    async def read(self, start: int, into: memoryview) -> None:
        """Bytes that were written. Raises: OSError."""
        if self._memory is not None:
            into[:] = memoryview(self._memory)[start : start + len(into)]
        elif len(into) <= INLINE_BYTES_MAX:
            _read_all(self._data, into, start)
        else:
            await run_blocking(_read_all, self._data, into, start)

    def whole(self, size: int) -> bytes | None:
        """The first bytes, if they were all written and are in memory."""
        if self._memory is None or self._ranges.reach(0) < size:
            return None
        return bytes(self._memory[:size])

    def cut(self, size: int) -> None:
        """What is beyond counts as never written; also tells of a file that grew."""
        if self._memory is not None:
            if size < len(self._memory):
                self._ranges.remove(size, len(self._memory))
                self._folder.memory -= len(self._memory) - size
                del self._memory[size:]
        elif self._notes >= 0:
            os.write(self._notes, b"CUT %d\n" % size)
            self._forget(size, FILE_BYTES_MAX)
            os.ftruncate(self._data, min(size, os.fstat(self._data).st_size))

    async def release(self, start: int, stop: int, note: Note) -> None:
        """Of a spool on disk: these bytes are stored elsewhere, which the note tells. Raises: OSError."""
        assert self._path is not None
        self.note(note)
        self._forget(start, stop)
        self._write_notes()
        await run_blocking(punch_range, self._data, start, stop)

    def _forget(self, start: int, stop: int) -> None:
        gone = sum(end - begin for begin, end in self._ranges.within(start, stop))
        self._ranges.remove(start, stop)
        self._folder.used -= gone
        self._used -= gone

    def leave(self) -> None:
        """What is on disk stays there, for the next mount to store."""
        self._folder.used -= self._used
        self._used, self._path = 0, None
        self.clear()

    def note(self, note: Note) -> None:
        """What it is now: of a spool on disk that goes to disk as well."""
        if self._path is not None:
            _replace(self._path.with_suffix(HEAD), msgspec.json.encode(note))

    def clear(self) -> None:
        """All is stored, or nobody wants it."""
        self._folder.memory -= len(self._memory or b"")
        self._folder.used -= self._used
        self._memory, self._used = bytearray(), 0
        self._ranges.clear()
        self._let_go()

    def _let_go(self) -> None:
        """Of the files on disk."""
        for descriptor in (self._data, self._notes):
            if descriptor >= 0:
                os.close(descriptor)
        self._data = self._notes = -1
        path, self._path = self._path, None
        if path is not None:
            for suffix in (NOTE, HEAD, DATA):
                path.with_suffix(suffix).unlink(missing_ok=True)

    def _spill(self, note: Note) -> None:
        memory = self._memory
        assert memory is not None
        self._folder.check_room(self._ranges.bytes)
        try:
            self._make_files(memory, note)
        except BaseException:
            self._let_go()
            raise
        self._folder.memory -= len(memory)
        self._used = self._ranges.bytes
        self._folder.used += self._used
        self._memory = None

    def _make_files(self, memory: bytearray, note: Note) -> None:
        self._path = path = self._folder.new_path()
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._data = os.open(path.with_suffix(DATA), flags, 0o600)
        self.note(note)
        _write_all(self._data, memory, 0)
        self._write_notes()

    def _write_notes(self) -> None:
        """What was written by now, in place of what the file told before."""
        assert self._path is not None
        path = self._path.with_suffix(NOTE)
        _replace(path, b"".join(b"%d %d\n" % each for each in self._ranges))
        if self._notes >= 0:
            os.close(self._notes)
        self._notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(data)
    temporary.replace(path)


def _write_all(descriptor: int, data: bytes | bytearray, start: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, start)
        view, start = view[count:], start + count


def _read_all(descriptor: int, into: memoryview, start: int) -> None:
    """What lies beyond the end reads as zeros, as a hole does."""
    while into:
        count = os.preadv(descriptor, [into], start)
        if not count:
            into[:] = bytes(len(into))
            return
        into, start = into[count:], start + count
