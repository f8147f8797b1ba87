"""Whether anything was committed to a base, told from memory: 0.4 us, where a transaction that finds out costs 4.

The connections of all processes to a base share the index of its log. Its header is there twice, written with each commit; a reader of
SQLite compares both with what it saw last, and when all are equal its cached pages are valid. This is the same comparison, from outside.
The memory is asked of SQLite (xShmMap), not mapped anew: closing a descriptor of that file would drop this process's locks on it.

Source: https://www.sqlite.org/walformat.html ("WAL-Index Header"), https://www.sqlite.org/c3ref/io_methods.html
"""

from __future__ import annotations

import ctypes

import apsw

HEADER_BYTES = 48
VERSION = 3_007_000
"""Of the header's format; with another one nothing is told."""
_SALTS = slice(32, 40)
"""Drawn each time the log begins anew. Zero before the first time: only then could an earlier header come back after other commits."""
_REGION_BYTES = 32_768
_XSHMMAP = 13 * ctypes.sizeof(ctypes.c_void_p)
"""Where the method stands in sqlite3_io_methods, behind the version and twelve others."""
_ShmMap = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p))


class LogIndex:
    """Of one open connection. Must not be used after that was closed: the memory is SQLite's."""

    __slots__ = ("_headers", "_state")

    def __init__(self, headers: ctypes.Array[ctypes.c_char]) -> None:
        self._headers = headers
        self._state: bytes | None = None

    def __repr__(self) -> str:
        return f"<LogIndex {'of an unsettled log' if self._state is None else self._state[8:12].hex()}>"

    def state(self) -> bytes | None:
        """The same object as long as nothing is committed, another one afterwards; None while that can't be told."""
        headers: bytes = self._headers.raw
        if headers != self._state:
            settled = headers[:HEADER_BYTES] == headers[HEADER_BYTES:] and headers[_SALTS] != bytes(8)
            self._state = headers if settled else None
        return self._state


def log_index(connection: apsw.Connection) -> LogIndex | None:
    """Of a connection that has read before; None where SQLite doesn't give it."""
    file = ctypes.c_void_p()
    if not connection.filecontrol("main", apsw.SQLITE_FCNTL_FILE_POINTER, ctypes.addressof(file)) or not file.value:
        return None
    methods = ctypes.c_void_p.from_address(file.value).value
    if not methods or ctypes.c_int.from_address(methods).value < 2:
        return None
    address = ctypes.c_void_p()
    shm_map = _ShmMap(ctypes.c_void_p.from_address(methods + _XSHMMAP).value or 0)
    if not shm_map or shm_map(file, 0, _REGION_BYTES, 0, ctypes.byref(address)) != apsw.SQLITE_OK or not address.value:
        return None
    headers = (ctypes.c_char * (2 * HEADER_BYTES)).from_address(address.value)
    return LogIndex(headers) if int.from_bytes(headers.raw[:4], "little") == VERSION else None
