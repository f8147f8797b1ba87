"""Random operations on one file beside the bytes that it must have, in the manner of fsx: reads, writes, maps, sizes, holes, copies.

Source: fsx.c of Apple's and Linux's test suites, whose operations these are.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
from collections import deque
from pathlib import Path

from tests.posix.files import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate

PAGE_BYTES = mmap.PAGESIZE
HISTORY_MAX = 40
"""Operations that are told when one went wrong."""
WEIGHTS = {
    "read": 15,
    "write": 20,
    "append": 5,
    "map_read": 10,
    "map_write": 12,
    "truncate": 6,
    "grow": 3,
    "punch": 4,
    "allocate": 2,
    "copy": 3,
    "sync": 2,
    "reopen": 4,
    "look": 3,
}


class Mismatch(AssertionError):
    """The file is not what was written to it."""


class Fsx:
    """One file under test. Descriptors stay open over operations; `refused` names operations that the file system does not know."""

    def __init__(self, path: Path, seed: str, size_max: int = 256 << 10) -> None:
        self.path, self.size_max = path, size_max
        self.rng = random.Random(seed)
        self.bytes = bytearray()
        self.refused: set[str] = set()
        self.history: deque[str] = deque(maxlen=HISTORY_MAX)
        self.done = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)

    def __enter__(self) -> Fsx:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def run(self, count: int) -> None:
        """Raises: Mismatch, OSError, with the last operations in its notes."""
        names, weights = list(WEIGHTS), list(WEIGHTS.values())
        try:
            for name in self.rng.choices(names, weights, k=count):
                getattr(self, name)()
                self.done += 1
            self.check()
        except Exception as error:
            error.add_note("\n".join(self.history))
            raise

    def check(self) -> None:
        """Size and all bytes, through the open descriptor and a new one."""
        self._same(os.pread(self._descriptor, self.size_max * 2, 0), 0, len(self.bytes), "at the end")
        self._same(self.path.read_bytes(), 0, len(self.bytes), "read anew")

    # Operations

    def read(self) -> None:
        start, stop = self._range()
        self._note("read", start, stop)
        self._same(os.pread(self._descriptor, stop - start, start), start, min(stop, len(self.bytes)), "read")

    def write(self) -> None:
        start, stop = self._range(beyond=True)
        self._note("write", start, stop)
        self._put(start, self._write(start, stop - start))

    def append(self) -> None:
        size = min(self.rng.randrange(1, 20_000), self.size_max - len(self.bytes))
        if size > 0:
            start = len(self.bytes)
            self._note("append", start, start + size)
            self._put(start, self._write(start, size))

    def map_read(self) -> None:
        start, stop = self._inside()
        if stop > start:
            self._note("map_read", start, stop)
            with self._map(start, stop) as (view, base):
                self._same(view[start - base : stop - base], start, stop, "mapped")

    def map_write(self) -> None:
        start, stop = self._inside()
        if stop > start:
            self._note("map_write", start, stop)
            data = self.rng.randbytes(stop - start)
            with self._map(start, stop) as (view, base):
                view[start - base : stop - base] = data
                if self.rng.random() < 0.5:
                    view.flush()
            self._put(start, data)

    def truncate(self) -> None:
        self._resize(self.rng.randrange(len(self.bytes) + 1))

    def grow(self) -> None:
        self._resize(self.rng.randrange(len(self.bytes), self.size_max + 1))

    def punch(self) -> None:
        start, stop = self._inside()
        if stop > start and self._try("punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, start, stop):
            self.bytes[start:stop] = bytes(stop - start)

    def allocate(self) -> None:
        start, stop = self._range(beyond=True)
        if stop > start and self._try("allocate", 0, start, stop):
            self.bytes.extend(bytes(max(stop - len(self.bytes), 0)))

    def copy(self) -> None:
        start, stop = self._inside()
        target = self.rng.randrange(self.size_max)
        size = min(stop - start, self.size_max - target)
        if size <= 0 or (start < target + size and target < start + size):
            return
        self._note("copy", start, start + size, target)
        data = bytes(self.bytes[start : start + size])
        done = 0
        while done < size:
            count = os.copy_file_range(self._descriptor, self._descriptor, size - done, start + done, target + done)
            if count <= 0:
                raise Mismatch(f"copy_file_range copied {count} of {size - done} bytes")
            done += count
        self._put(target, data)

    def sync(self) -> None:
        self._note("sync")
        os.fsync(self._descriptor)

    def reopen(self) -> None:
        self._note("reopen")
        os.close(self._descriptor)
        self._descriptor = os.open(self.path, os.O_RDWR)

    def look(self) -> None:
        self._note("look")
        for size in (os.fstat(self._descriptor).st_size, os.stat(self.path).st_size):
            if size != len(self.bytes):
                raise Mismatch(f"the size is {size} instead of {len(self.bytes)}")

    # What they share

    def _range(self, *, beyond: bool = False) -> tuple[int, int]:
        limit = self.size_max if beyond and self.rng.random() < 0.3 else len(self.bytes)
        start = self.rng.randrange(limit + 1)
        if self.rng.random() < 0.2:
            start = start // PAGE_BYTES * PAGE_BYTES
        size = self.rng.choice((1, 100, PAGE_BYTES, 10_000, 65_536))
        return start, min(start + self.rng.randrange(1, size + 1), self.size_max)

    def _inside(self) -> tuple[int, int]:
        start, stop = self._range()
        return start, min(stop, len(self.bytes))

    def _write(self, start: int, size: int) -> bytes:
        data = self.rng.randbytes(max(size, 0))
        if os.pwrite(self._descriptor, data, start) != len(data):
            raise Mismatch("a write was short")
        return data

    def _put(self, start: int, data: bytes) -> None:
        if data:
            self.bytes.extend(bytes(max(start - len(self.bytes), 0)))
            self.bytes[start : start + len(data)] = data

    def _resize(self, size: int) -> None:
        self._note("size", size)
        os.ftruncate(self._descriptor, size)
        del self.bytes[size:]
        self.bytes.extend(bytes(size - len(self.bytes)))

    def _try(self, name: str, mode: int, start: int, stop: int) -> bool:
        if name in self.refused:
            return False
        self._note(name, start, stop)
        try:
            fallocate(self._descriptor, mode, start, stop - start)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            self.refused.add(name)
            return False
        return True

    def _map(self, start: int, stop: int) -> _Mapped:
        base = start // PAGE_BYTES * PAGE_BYTES
        return _Mapped(self._descriptor, base, stop)

    def _same(self, got: bytes, start: int, stop: int, how: str) -> None:
        wanted = self.bytes[start : max(stop, start)]
        if got == wanted:
            return
        at = next((at for at, (one, other) in enumerate(zip(got, wanted, strict=False)) if one != other), min(len(got), len(wanted)))
        raise Mismatch(f"{how}: {len(got)} bytes from {start}, {len(wanted)} wanted, the first difference at {start + at}")

    def _note(self, name: str, *numbers: int) -> None:
        self.history.append(f"{self.done} {name} {' '.join(map(str, numbers))} (size {len(self.bytes)})")


class _Mapped:
    """A shared map of [base, stop) and where it begins."""

    def __init__(self, descriptor: int, base: int, stop: int) -> None:
        self.view = mmap.mmap(descriptor, stop - base, offset=base)
        self.base = base

    def __enter__(self) -> tuple[mmap.mmap, int]:
        return self.view, self.base

    def __exit__(self, *_: object) -> None:
        self.view.close()
