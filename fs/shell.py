"""The mount as pyfuse3 calls it: numbers and structures in and out, errors into errno. Nothing is decided here."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import pyfuse3
import trio

from fs.attribute import Stat
from fs.errno import to_errno
from fs.file import File
from fs.inode import Inode
from fs.option import MountOptions
from fs.tree import Tree
from node.errors import FrazilError
from node.log import get_logger

BLOCK_BYTES = 4096
STAT_BLOCK_BYTES = 512
NAME_BYTES_MAX = 255
T = TypeVar("T")
P = ParamSpec("P")
log = get_logger("fs")


def translated(call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A handler whose deliberate errors are answered as errno; a bug is logged and answered with EIO, for the mount must go on."""

    @wraps(call)
    async def handler(*arguments: P.args, **named: P.kwargs) -> T:
        try:
            return await call(*arguments, **named)
        except (FrazilError, OSError, ValueError) as error:
            number = to_errno(error)
            if number == errno.EIO:
                log.error("%s failed: %s", call.__name__, error)
            raise pyfuse3.FUSEError(number) from error
        except pyfuse3.FUSEError:
            raise
        except Exception as error:
            log.exception("%s stopped by an internal error", call.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from error

    return handler


class _Listing:
    """An open folder: where its listing is. Entries are numbered from 3 on, behind "." and ".."."""

    def __init__(self, inode: Inode) -> None:
        self.inode = inode
        self.at = 0
        self.entries: AsyncIterator[tuple[bytes, Inode, Stat]] | None = None
        self.held: tuple[bytes, Inode, Stat] | None = None


class Operations(pyfuse3.Operations):
    """Handlers in the order of the kernel's own list. ctx: who asks."""

    supports_dot_lookup = False

    def __init__(self, tree: Tree, options: MountOptions, nursery: trio.Nursery) -> None:
        super().__init__()
        self.enable_writeback_cache = options.writeback
        self._tree, self._options = tree, options
        self._handles: dict[int, Inode | _Listing] = {}
        self._next_handle = 0

    # Names

    @translated
    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        inode, stat = await self._tree.lookup(self._tree.inode(parent_inode), name)
        inode.lookups += 1
        return self._entry(inode, stat)

    def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:  # type: ignore[override]
        self._tree.table.forget(inode_list)

    @translated
    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        found = self._tree.inode(inode)
        return self._entry(found, await self._tree.stat(found))

    @translated
    async def readlink(self, inode: int, ctx: Any) -> bytes:
        return await self._tree.read_link(self._tree.inode(inode))

    # Folders

    @translated
    async def opendir(self, inode: int, ctx: Any) -> pyfuse3.FileHandleT:
        folder = self._tree.inode(inode)
        self._tree.table.open(folder)
        return self._new_handle(_Listing(folder))

    @translated
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        listing = self._handles[fh]
        assert isinstance(listing, _Listing)
        if start_id < 2:
            for at, name in ((1, b"."), (2, b"..")):
                inode = listing.inode if at == 1 else listing.inode.parent or listing.inode
                if at > start_id and not pyfuse3.readdir_reply(token, name, self._entry(inode, self._tree.folder_stat(inode)), at):
                    return
            start_id = 2
        if listing.at != start_id or listing.entries is None:
            await self._rewind(listing, start_id)
        assert listing.entries is not None
        while (entry := listing.held or await anext(listing.entries, None)) is not None:
            name, inode, stat = entry
            if not pyfuse3.readdir_reply(token, name, self._entry(inode, stat), listing.at + 1):
                listing.held = entry
                return
            inode.lookups += 1
            listing.held = None
            listing.at += 1

    async def _rewind(self, listing: _Listing, start_id: int) -> None:
        """Begins anew, at the entry that the reader wants to go on with."""
        listing.entries, listing.held, listing.at = self._tree.entries(listing.inode), None, 2
        while listing.at < start_id and await anext(listing.entries, None) is not None:
            listing.at += 1
        listing.at = start_id

    @translated
    async def releasedir(self, fh: int) -> None:
        listing = self._handles.pop(fh)
        assert isinstance(listing, _Listing)
        self._tree.table.close(listing.inode)

    # Files

    @translated
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        found = self._tree.inode(inode)
        await self._tree.open(found)
        return pyfuse3.FileInfo(fh=self._new_handle(found), keep_cache=True)

    @translated
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return await self._file(fh).read(off, size)  # type: ignore[return-value]  # pyfuse3 takes any buffer

    @translated
    async def release(self, fh: int) -> None:
        inode = self._handles.pop(fh)
        assert isinstance(inode, Inode)
        await self._tree.release(inode)

    @translated
    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        return await self._statfs()

    async def _statfs(self) -> pyfuse3.StatvfsData:
        space = await self._tree.space()
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = BLOCK_BYTES
        data.f_blocks = space.total // BLOCK_BYTES
        data.f_bfree = data.f_bavail = space.free // BLOCK_BYTES
        data.f_files = space.inodes_total
        data.f_ffree = data.f_favail = space.inodes_free
        data.f_namemax = NAME_BYTES_MAX
        return data

    def _file(self, fh: int) -> File:
        inode = self._handles[fh]
        assert isinstance(inode, Inode)
        assert isinstance(inode.file, File)
        return inode.file

    def _new_handle(self, what: Inode | _Listing) -> pyfuse3.FileHandleT:
        self._next_handle += 1
        self._handles[self._next_handle] = what
        return pyfuse3.FileHandleT(self._next_handle)

    def _entry(self, inode: Inode, stat: Stat) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = pyfuse3.InodeT(inode.number)
        entry.entry_timeout = self._options.entry_timeout
        entry.attr_timeout = self._options.attr_timeout
        entry.st_mode = pyfuse3.ModeT(stat.mode)
        entry.st_nlink = stat.links
        entry.st_uid = stat.uid
        entry.st_gid = stat.gid
        entry.st_rdev = stat.rdev
        entry.st_size = stat.size
        entry.st_blksize = BLOCK_BYTES
        entry.st_blocks = -(-stat.size // STAT_BLOCK_BYTES)
        entry.st_atime_ns = stat.atime_ns
        entry.st_mtime_ns = stat.mtime_ns
        entry.st_ctime_ns = stat.ctime_ns
        return entry
