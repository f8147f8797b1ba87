"""The least that a file system in Python can do: a file that reads as zeros and takes what is written. `python -m benchmarks.zeros DIR`.

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
READ_BYTES_MAX = 1 << 20
TIMEOUT_S = 60.0
_ZEROS = bytes(READ_BYTES_MAX)


class Zeros(pyfuse3.Operations):
    """The calls that reading and writing one file need."""

    enable_writeback_cache = True

    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode)
        entry.st_mode = pyfuse3.ModeT(stat.S_IFDIR | 0o755 if inode == pyfuse3.ROOT_INODE else stat.S_IFREG | 0o644)
        entry.st_nlink = 1
        entry.st_size = 0 if inode == pyfuse3.ROOT_INODE else FILE_BYTES
        entry.entry_timeout = entry.attr_timeout = TIMEOUT_S
        return entry

    async def setattr(self, inode: int, attr: Any, fields: Any, fh: int | None, ctx: Any) -> pyfuse3.EntryAttributes:
        return await self.getattr(inode, ctx)

    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        if name != FILE:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(FILE_INODE, ctx)

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


async def serve(directory: str) -> None:
    pyfuse3.init(Zeros(), directory, {"fsname=zeros", "default_permissions"})
    try:
        await pyfuse3.main()
    finally:
        pyfuse3.close(unmount=True)


if __name__ == "__main__":
    os.umask(0o077)
    trio.run(serve, sys.argv[1])
