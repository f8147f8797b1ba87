"""What reading a chunk needs to know of it, kept for chunks that were opened lately."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

UNITS_CACHE_BYTES_MAX = 1 << 20
"""Unit checksums kept in memory, so that opening a chunk again needs no attribute read and no thread. They can't be stale: the caller's
checksum binds them."""


class Geometry(NamedTuple):
    """What reading a chunk needs to know of it."""

    size: int
    unit_bytes: int
    units: bytes


class UnitsCache:
    """Unit checksums of chunks opened lately: a bounded number of bytes, the least used go first."""

    _ENTRY_BYTES = 300
    """What Python needs per entry besides the checksums, about."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, tuple[bytes, Geometry]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()  # read in the event loop, filled in threads

    def __repr__(self) -> str:
        return f"<UnitsCache entries={len(self._entries)} bytes={self._bytes}>"

    def get(self, chunk: str, checksum: bytes) -> Geometry | None:
        with self._lock:
            entry = self._entries.get(chunk)
            if entry is None or entry[0] != checksum:
                return None
            self._entries.move_to_end(chunk)
            return entry[1]

    def put(self, chunk: str, checksum: bytes, geometry: Geometry) -> None:
        with self._lock:
            old = self._entries.pop(chunk, None)
            if old is not None:
                self._bytes -= len(old[1].units) + self._ENTRY_BYTES
            self._entries[chunk] = (checksum, geometry)
            self._bytes += len(geometry.units) + self._ENTRY_BYTES
            while self._bytes > UNITS_CACHE_BYTES_MAX:
                _, gone = self._entries.popitem(last=False)
                self._bytes -= len(gone[1].units) + self._ENTRY_BYTES
