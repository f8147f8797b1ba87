"""The least that a file system in Python can do: a file that reads as zeros, and small ones of which nothing is kept but their names.
`python -m benchmarks.zeros DIR`.

What a mount reaches of its rates is what its own work leaves of pyfuse3's and the kernel's.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Any

import pyfuse3
import trio

FILE = b"zeros"
FILE_INODE = pyfuse3.InodeT(2)
FILE_BYTES = 1 << 40
FULL = b"small"
FULL_INODE = pyfuse3.InodeT(3)
"""The folder in which every name is a small file."""
SMALL_BYTES = 4096
READ_BYTES_MAX = 1 << 20
TIMEOUT_S = 60.0
_ZEROS = bytes(READ_BYTES_MAX)


class Zeros(pyfuse3.Operations):
    """The calls that reading and writing one file need, making many, and looking at them."""

    enable_writeback_cache = True

    def __init__(self) -> None:
        super().__init__()
        self._last = int(FULL_INODE)
        self._folders = {int(pyfuse3.ROOT_INODE), int(FULL_INODE)}

    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._entry(inode)

    async def setattr(self, inode: int, attr: Any, fields: Any, fh: int | None, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._entry(inode)

    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        if parent_inode == pyfuse3.ROOT_INODE and name in (FILE, FULL):
            return self._entry(FILE_INODE if name == FILE else FULL_INODE)
        if parent_inode != FULL_INODE:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return self._new()

    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        self._folders.add(self._last + 1)
        return self._new()

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: Any
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        entry = self._new()
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(entry.st_ino)), entry

    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(inode), keep_cache=False)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return _ZEROS[:size]

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return len(buf)

    async def flush(self, fh: int) -> None:
        return

    async def fsync(self, fh: int, datasync: bool) -> None:
        return

    async def release(self, fh: int) -> None:
        return

    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        raise pyfuse3.FUSEError(pyfuse3.ENOATTR)

    def _new(self) -> pyfuse3.EntryAttributes:
        self._last += 1
        return self._entry(self._last)

    def _entry(self, inode: int) -> pyfuse3.EntryAttributes:
        folder = inode in self._folders
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.st_mode = pyfuse3.ModeT(stat.S_IFDIR | 0o755 if folder else stat.S_IFREG | 0o644)
        entry.st_nlink = 1
        entry.st_size = 0 if folder else FILE_BYTES if inode == FILE_INODE else SMALL_BYTES
        entry.entry_timeout = entry.attr_timeout = TIMEOUT_S
        return entry


async def serve(directory: str) -> None:
    pyfuse3.init(Zeros(), directory, {"fsname=zeros", "default_permissions"})
    try:
        await pyfuse3.main()
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    os.umask(0o077)
    trio.run(serve, sys.argv[1])
