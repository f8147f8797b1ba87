"""The process behind FaultyImage: a FUSE file system of one file, which is an image with faults.

python -m tests.support.faulty BACKING MOUNT CONTROL
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pyfuse3
import trio

FILE_INODE = pyfuse3.ROOT_INODE + 1
NAME = b"disk"
BLOCK_BYTES = 4096


class FaultyFile(pyfuse3.Operations):
    """One file, its bytes in `backing`, its faults in `control` (JSON), looked at for every call."""

    def __init__(self, backing: Path, control: Path) -> None:
        super().__init__()
        self._file = os.open(backing, os.O_RDWR)
        self._control = control

    def _faults(self) -> dict[str, Any]:
        faults: dict[str, Any] = json.loads(self._control.read_text())
        return faults

    async def getattr(self, inode: int, ctx: object = None) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_mode = (stat.S_IFDIR | 0o755) if inode == pyfuse3.ROOT_INODE else (stat.S_IFREG | 0o600)
        entry.st_nlink = 1
        entry.st_size = 0 if inode == pyfuse3.ROOT_INODE else os.fstat(self._file).st_size
        entry.st_blksize = 4096
        return entry

    async def lookup(self, parent_inode: int, name: bytes, ctx: object = None) -> pyfuse3.EntryAttributes:
        if name != NAME:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(FILE_INODE)

    async def setattr(self, inode: int, attr: object, fields: object, fh: object, ctx: object) -> pyfuse3.EntryAttributes:
        return await self.getattr(inode)

    async def open(self, inode: int, flags: int, ctx: object) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=FILE_INODE, direct_io=True)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        faults = self._faults()
        await trio.sleep(faults["delay_s"])
        data = os.pread(self._file, size, off)
        if faults["read"] and bytes.fromhex(faults["needle"]) in data:
            raise pyfuse3.FUSEError(getattr(errno, faults["read"]))
        return data

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        faults = self._faults()
        await trio.sleep(faults["delay_s"])
        if faults["write"]:
            raise pyfuse3.FUSEError(getattr(errno, faults["write"]))
        if faults["drop"]:
            return self._drop(off, buf, bytes.fromhex(faults["drop"]))
        return os.pwrite(self._file, buf, off)

    def _drop(self, off: int, buf: bytes, needle: bytes) -> int:
        """Blocks that hold the needle are acknowledged and forgotten."""
        for at in range(0, len(buf), BLOCK_BYTES):
            block = buf[at : at + BLOCK_BYTES]
            if needle not in block:
                os.pwrite(self._file, block, off + at)
        return len(buf)

    async def fsync(self, fh: int, datasync: bool) -> None:
        faults = self._faults()
        await trio.sleep(faults["delay_s"])
        if faults["sync"]:
            raise pyfuse3.FUSEError(getattr(errno, faults["sync"]))

    async def release(self, fh: int) -> None:
        return None


def main(backing: str, mount: str, control: str) -> None:
    options = set(pyfuse3.default_options) - {"default_permissions"} | {"fsname=frazil-test"}
    pyfuse3.init(FaultyFile(Path(backing), Path(control)), mount, options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
