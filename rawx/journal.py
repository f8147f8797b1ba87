"""The chunks that came lately, for the question after a crash: which of them did the metadata never hear of?

Each open volume object appends to its own file `journal/<pid>-<random>` and holds a lock on it as long as it lives. Lines: `+<chunk>`
before a chunk becomes visible, `-<chunk>` when it was settled. Never synced: it is for killed processes, whose page cache survives;
what a power cut takes of it, the scrub by chunks finds. A torn last line has no newline and is ignored. On a disk that takes no file now
(read-only, out of inodes) it begins with the first chunk that is noted: what lies there is read and deleted all the same.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import threading
import time
from collections.abc import Iterable

from rawx.attributes import FILE_MODE, write_all_bytes

JOURNAL_FOLDER = "journal"
JOURNAL_CHUNKS_MAX = 65_536
"""Unsettled chunks kept per file; older ones are dropped: their metadata was committed or given up long ago, else the scrub finds them."""
RECENT_MAX = 100_000
"""Told at once; whoever settles those is told the next."""
TEMPORARY_KEPT_S = 600.0
"""A name with a dot (a journal being begun, the file of a probe) is some living process's until it is this old."""
_JOURNAL_BYTES_MAX = 8 << 20
"""A file of this size is rewritten with what is unsettled."""


_TAKES_NO_FILE = (errno.EROFS, errno.ENOSPC, errno.EDQUOT)
_TORN_END = b"!\n"
"""Makes a torn last line one of no meaning."""
_LINE = re.compile(rb"^([+-])([0-9a-f]{32,64})\n", re.MULTILINE)


class Journal:
    """One process's journal and, for questions, those that dead processes left. Thread-safe."""

    def __init__(self, root: int) -> None:
        """Raises: OSError."""
        try:
            os.mkdir(JOURNAL_FOLDER, 0o750, dir_fd=root)
        except FileExistsError:
            pass
        self._folder = os.open(JOURNAL_FOLDER, os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
        self._lock = threading.Lock()
        self._own, self._descriptor, self._bytes = "", -1, 0
        self.began_ns = 0
        """When the volume was opened, on the file system's clock; 0 while no file could be made there."""
        try:
            self._own, self._descriptor = self._begin(b"")
            self.began_ns = os.fstat(self._descriptor).st_ctime_ns
        except OSError as error:
            if error.errno not in _TAKES_NO_FILE:
                os.close(self._folder)
                raise
        self._torn = False

    def __repr__(self) -> str:
        return f"<Journal {self._own} bytes={self._bytes}>"

    def _begin(self, content: bytes) -> tuple[str, int]:
        """A new file, locked before it has a name: nobody can take it for a dead process's."""
        name = f"{os.getpid()}-{os.urandom(6).hex()}"
        temporary = f".{name}"
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, FILE_MODE, dir_fd=self._folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # another process may look at it just now, for microseconds
            write_all_bytes(descriptor, content)
            os.rename(temporary, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        except OSError:
            os.close(descriptor)
            raise
        return name, descriptor

    def add(self, chunks: Iterable[str]) -> None:
        """Raises: OSError."""
        lines = "".join([f"+{chunk}\n" for chunk in chunks]).encode()
        with self._lock:
            if self._descriptor < 0:
                self._own, self._descriptor = self._begin(b"")
        self._append(lines)

    def settle(self, chunks: Iterable[str]) -> None:
        """Takes chunks off, whichever process noted them. Raises: OSError."""
        settled = set(chunks)
        for name in self._left_by_dead():
            noted = _parse(self._read(name)).keys()
            if noted <= settled:
                self._unlink(name)
            elif settled & noted:
                self._append_to_dead(name, settled & noted)
        self._append(_settling(settled))

    def recent(self) -> list[str]:
        """Chunks noted and not settled, by this process and by dead ones; what living others note is still on its way. Raises: OSError."""
        with self._lock:
            content = [self._read(name) for name in self._left_by_dead()] + [self._read(self._own)]
        return list(_parse(b"".join(part[: part.rfind(b"\n") + 1] for part in content)))[:RECENT_MAX]

    def drop(self, chunks: Iterable[str]) -> None:
        """Takes off what this process noted. Raises: OSError."""
        self._append(_settling(chunks))

    def begun(self) -> set[str]:
        """Chunks noted and not settled by processes that live, this one among them. Raises: OSError."""
        with self._lock:
            dead = set(self._left_by_dead())
            names = [name for name in os.listdir(self._folder) if name not in dead and not name.startswith(".")]
            return {chunk for name in names for chunk in _parse(self._read(name))}

    def left(self) -> set[str]:
        """Chunks that dead processes noted, and nobody settled. Raises: OSError."""
        with self._lock:
            return {chunk for name in self._left_by_dead() for chunk in _parse(self._read(name))}

    def noted(self) -> set[str]:
        """Chunks noted and not settled, by whichever process. Raises: OSError."""
        found: set[str] = set()
        with self._lock:
            for name in os.listdir(self._folder):
                if not name.startswith("."):
                    found.update(_parse(self._read(name)))
        return found

    def close(self) -> None:
        """Ends it; the file stays for the next one to ask, unless nothing in it is unsettled. Also when the disk is gone."""
        try:
            if not _parse(self._read(self._own)):
                os.unlink(self._own, dir_fd=self._folder)
        except OSError:  # the file stays, if there still is one
            pass
        finally:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            os.close(self._folder)

    def _unlink(self, name: str) -> None:
        try:
            os.unlink(name, dir_fd=self._folder)
        except FileNotFoundError:  # another process settled the same
            pass

    def _append_to_dead(self, name: str, settled: set[str]) -> None:
        descriptor = os.open(name, os.O_WRONLY | os.O_APPEND, dir_fd=self._folder)
        try:
            write_all_bytes(descriptor, _TORN_END + _settling(settled))
        finally:
            os.close(descriptor)

    def _append(self, lines: bytes) -> None:
        with self._lock:
            if self._descriptor < 0:  # nothing was noted here that could be settled
                return
            if self._bytes + len(lines) > _JOURNAL_BYTES_MAX:
                self._rewrite()
            if self._torn:
                lines = _TORN_END + lines
            self._torn = True  # unless all of it is written
            write_all_bytes(self._descriptor, lines)
            self._torn = False
            self._bytes += len(lines)

    def _rewrite(self) -> None:
        old, descriptor = self._own, self._descriptor
        remaining = list(_parse(self._read(old)))[-JOURNAL_CHUNKS_MAX:]
        content = "".join([f"+{chunk}\n" for chunk in remaining]).encode()
        self._own, self._descriptor = self._begin(content)
        self._bytes = len(content)
        os.unlink(old, dir_fd=self._folder)
        os.close(descriptor)

    def _left_by_dead(self) -> list[str]:
        found = []
        for name in sorted(os.listdir(self._folder)):
            if name == self._own:
                continue
            try:
                descriptor = os.open(name, os.O_RDONLY, dir_fd=self._folder)
            except FileNotFoundError:  # its owner rewrote it, or another asked and emptied it
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            else:
                if name.startswith("."):  # empty, or a copy of what its old file says
                    if time.time_ns() - os.fstat(descriptor).st_ctime_ns > TEMPORARY_KEPT_S * 1e9:
                        self._unlink(name)
                else:
                    found.append(name)
            finally:
                os.close(descriptor)
        return found

    def _read(self, name: str) -> bytes:
        try:
            descriptor = os.open(name, os.O_RDONLY, dir_fd=self._folder)
        except FileNotFoundError:
            return b""
        with open(descriptor, "rb") as file:
            return file.read(2 * _JOURNAL_BYTES_MAX)


def _settling(chunks: Iterable[str]) -> bytes:
    return "".join([f"-{chunk}\n" for chunk in chunks]).encode()


def _parse(content: bytes) -> dict[str, None]:
    """Unsettled chunks in order of arrival; lines of no meaning are torn ones."""
    unsettled: dict[str, None] = {}
    for sign, chunk in _LINE.findall(content):
        if sign == b"+":
            unsettled[chunk.decode()] = None
        else:
            unsettled.pop(chunk.decode(), None)
    return unsettled
