"""The mount as pyfuse3 calls it: numbers and structures in and out, errors into errno. Nothing is decided here."""

from __future__ import annotations

import errno
import os
import stat as modes
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import pyfuse3
import trio
from msgspec.structs import replace

from fs import virtual
from fs.attribute import Stat
from fs.change import Caller, Changes
from fs.errno import to_errno
from fs.file import File, without_privileges
from fs.inlet import stepping
from fs.inode import INODES_MAX, Inode
from fs.listing import DOTS, Listing
from fs.option import MountOptions
from fs.spool import MEMORY_BYTES_MAX
from fs.tree import Tree, failure
from node.errors import FrazilError
from node.log import get_logger

BLOCK_BYTES = 4096
STAT_BLOCK_BYTES = 512
NAME_BYTES_MAX = 255
XATTR_PREFIX = b"user."
T = TypeVar("T")
P = ParamSpec("P")
log = get_logger("fs")
calls: Counter[str] = Counter()
"""Requests of the kernel in this process, by name: a process has one mount."""


def translated(call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A handler whose deliberate errors are answered as errno; a bug is logged and answered with EIO, for the mount must go on."""

    @wraps(call)
    async def handler(*arguments: P.args, **named: P.kwargs) -> T:
        calls[call.__name__] += 1
        try:
            return await stepping(call(*arguments, **named))
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


def _nothing() -> pyfuse3.EntryAttributes:
    """ENOENT as a lookup may answer it, without an error on the way: number 0, and not to be remembered."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(0)
    entry.entry_timeout = 0.0
    return entry


def _caller(ctx: Any) -> Caller:
    return Caller(ctx.uid, ctx.gid)


class Operations(pyfuse3.Operations):
    """Handlers in the order of the kernel's own list. ctx: who asks. begun: the kernel was answered its first request."""

    supports_dot_lookup = False

    def __init__(self, tree: Tree, changes: Changes, options: MountOptions) -> None:
        super().__init__()
        self.enable_writeback_cache = options.writeback
        self._tree, self._changes, self._options = tree, changes, options
        self._handles: dict[int, Inode | Listing] = {}
        self._next_handle = 0
        self._trusted: set[int] = set()  # handles that root opened: a write doesn't say whose it is
        self.begun = trio.Event()

    def init(self) -> None:
        """Called while the first request is answered, in the same turn of the loop."""
        self.begun.set()

    # Names

    @translated
    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        found = await self._tree.find(self._tree.inode(parent_inode), name)
        return self._looked_up(*found) if found is not None else _nothing()

    def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:  # type: ignore[override]
        self._tree.table.forget(inode_list)

    @translated
    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        found = self._tree.inode(inode)
        return self._entry(found, await self._tree.stat(found))

    @translated
    async def readlink(self, inode: int, ctx: Any) -> bytes:
        return await self._tree.read_link(self._tree.inode(inode))

    @translated
    async def setattr(
        self, inode: int, attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields, fh: int | None, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        found = self._tree.inode(inode)
        if fields.update_size:
            await self._truncate(found, attr.st_size, trusted=ctx.uid == 0)

        def change(stat: Stat) -> Stat:
            mode = stat.mode
            if fields.update_mode:
                mode = modes.S_IFMT(mode) | modes.S_IMODE(attr.st_mode)
            elif (fields.update_uid or fields.update_gid) and not stat.is_folder:
                mode = without_privileges(mode)
            return replace(
                stat,
                mode=mode,
                uid=attr.st_uid if fields.update_uid else stat.uid,
                gid=attr.st_gid if fields.update_gid else stat.gid,
                atime_ns=attr.st_atime_ns if fields.update_atime else stat.atime_ns,
                mtime_ns=attr.st_mtime_ns if fields.update_mtime else stat.mtime_ns,
                ctime_ns=attr.st_ctime_ns if fields.update_ctime else time.time_ns(),
            )

        stated = (
            fields.update_mode
            or fields.update_uid
            or fields.update_gid
            or fields.update_atime
            or fields.update_mtime
            or fields.update_ctime
        )
        stat = await self._changes.restate(found, change) if stated else await self._tree.stat(found)
        return self._entry(found, stat)

    async def _truncate(self, inode: Inode, size: int, *, trusted: bool) -> None:
        """Of a file that nobody has open, at once; else with what else was written."""
        file = await self._tree.open(inode)
        try:
            await file.truncate(size, trusted=trusted)
            if inode.opened == 1:
                await self._changes.saving.save(inode)
        finally:
            await self._tree.release(inode)

    @translated
    async def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._looked_up(*await self._changes.make_node(self._tree.inode(parent_inode), name, mode, rdev, _caller(ctx)))

    @translated
    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        mode = modes.S_IFLNK | 0o777
        return self._looked_up(*await self._changes.make_node(self._tree.inode(parent_inode), name, mode, 0, _caller(ctx), target))

    @translated
    async def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        raise failure(errno.EPERM)

    @translated
    async def unlink(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        await self._changes.unlink(self._tree.inode(parent_inode), name)

    @translated
    async def rename(self, parent_inode_old: int, name_old: bytes, parent_inode_new: int, name_new: bytes, flags: int, ctx: Any) -> None:
        old, new = self._tree.inode(parent_inode_old), self._tree.inode(parent_inode_new)
        if flags & ~(pyfuse3.RENAME_EXCHANGE | pyfuse3.RENAME_NOREPLACE):
            raise failure(errno.EINVAL)
        if flags & pyfuse3.RENAME_EXCHANGE:
            await self._changes.exchange(old, name_old, new, name_new)
        else:
            await self._changes.rename(old, name_old, new, name_new, replace=not flags & pyfuse3.RENAME_NOREPLACE)

    # Extended attributes

    @translated
    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        if not name.startswith(XATTR_PREFIX):  # ls asks for two such of each file, unless one says that there are none here
            raise pyfuse3.FUSEError(errno.EOPNOTSUPP)
        if name.startswith(virtual.PREFIX.encode()):
            return await virtual.get(self._changes, self._tree, self._tree.inode(inode), name.decode(), self.stats())
        found = (await self._changes.xattrs(self._tree.inode(inode))).get(name.decode())
        if found is None:
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        return found

    @translated
    async def listxattr(self, inode: int, ctx: Any) -> list[bytes]:
        return [name.encode() for name in await self._changes.xattrs(self._tree.inode(inode))]

    @translated
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: Any) -> None:
        if not name.startswith(XATTR_PREFIX):
            raise failure(errno.EOPNOTSUPP)
        if name.startswith(virtual.PREFIX.encode()):
            await virtual.set_(self._changes, self._tree.inode(inode), name.decode(), value)
            return
        await self._changes.set_xattr(self._tree.inode(inode), name.decode(), value)

    @translated
    async def removexattr(self, inode: int, name: bytes, ctx: Any) -> None:
        if not name.startswith(XATTR_PREFIX):
            raise pyfuse3.FUSEError(pyfuse3.ENOATTR)
        await self._changes.set_xattr(self._tree.inode(inode), name.decode(), None)

    # Folders

    @translated
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._looked_up(*await self._changes.make_folder(self._tree.inode(parent_inode), name, mode, _caller(ctx)))

    @translated
    async def rmdir(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        await self._changes.rmdir(self._tree.inode(parent_inode), name)

    @translated
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Each change of a name was durable when it was answered, but for what waits behind."""
        await self._changes.behind.drain()
        self._changes.behind.check()

    @translated
    async def opendir(self, inode: int, ctx: Any) -> pyfuse3.FileHandleT:
        folder = self._tree.inode(inode)
        self._tree.table.open(folder)
        return self._new_handle(Listing(self._tree, folder))

    @translated
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        listing = self._listing(fh)
        if not start_id:
            listing.rewind()
        folder = listing.folder
        for number, name, inode in ((1, b".", folder), (DOTS, b"..", folder.parent or folder)):
            if number > start_id and not pyfuse3.readdir_reply(token, name, self._entry(inode, self._tree.folder_stat(inode)), number):
                return
        at = max(start_id, DOTS)
        while (found := await listing.after(at)) is not None:
            at, (name, inode, stat) = found
            if not pyfuse3.readdir_reply(token, name, self._entry(inode, stat), at):
                return
            inode.lookups += 1

    @translated
    async def releasedir(self, fh: int) -> None:
        listing = self._listing(fh)
        del self._handles[fh]
        self._tree.table.close(listing.folder)

    # Files

    @translated
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        found = self._tree.inode(inode)
        file = await self._tree.open_anew(found)
        if flags & os.O_TRUNC and file.stat.size:
            await file.truncate(0, trusted=ctx.uid == 0)
        return pyfuse3.FileInfo(fh=self._new_handle(found, trusted=ctx.uid == 0), keep_cache=True)

    @translated
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: Any
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        parent = self._tree.inode(parent_inode)
        inode, file = await self._changes.create(parent, name, mode, _caller(ctx), exclusive=bool(flags & os.O_EXCL))
        if flags & os.O_TRUNC and file.stat.size:
            await file.truncate(0, trusted=ctx.uid == 0)
        return pyfuse3.FileInfo(fh=self._new_handle(inode, trusted=ctx.uid == 0), keep_cache=True), self._looked_up(inode, file.stat)

    @translated
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return await self._file(fh).read(off, size)  # type: ignore[return-value]  # pyfuse3 takes any buffer

    @translated
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._file(fh).write(off, buf, trusted=fh in self._trusted)

    @translated
    async def flush(self, fh: int) -> None:
        await self._changes.saving.close(self._inode(fh))

    @translated
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._changes.saving.save(self._inode(fh))
        self._changes.behind.check()

    @translated
    async def release(self, fh: int) -> None:
        inode = self._inode(fh)
        del self._handles[fh]
        self._trusted.discard(fh)
        try:
            if inode.opened == 1:
                await self._changes.saving.save(inode)
        finally:
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

    def stats(self) -> virtual.Stats:
        """What the mount does, by name."""
        shared, behind = self._tree.shared, self._changes.behind
        return {
            "pid": os.getpid(),
            "inodes": len(self._tree.table),
            "inodes_max": INODES_MAX,
            "open": len(self._handles),
            "read_ahead_bytes": shared.budget.used,
            "read_ahead_bytes_max": shared.budget.bytes_max,
            "spool_memory_bytes": shared.spools.memory,
            "spool_memory_bytes_max": MEMORY_BYTES_MAX,
            "spool_bytes": shared.spools.used,
            "spool_bytes_max": shared.spools.bytes_max,
            "waiting": behind.pending,
            "failed": behind.failures,
            **{f"calls_{name}": count for name, count in sorted(calls.items())},
        }

    def _inode(self, fh: int) -> Inode:
        inode = self._handles[fh]
        assert isinstance(inode, Inode)
        return inode

    def _listing(self, fh: int) -> Listing:
        listing = self._handles[fh]
        assert isinstance(listing, Listing)
        return listing

    def _file(self, fh: int) -> File:
        file = self._inode(fh).file
        assert isinstance(file, File)
        return file

    def _looked_up(self, inode: Inode, stat: Stat) -> pyfuse3.EntryAttributes:
        inode.lookups += 1
        return self._entry(inode, stat)

    def _new_handle(self, what: Inode | Listing, *, trusted: bool = False) -> pyfuse3.FileHandleT:
        self._next_handle += 1
        if trusted:
            self._trusted.add(self._next_handle)
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
        if stat.rdev:
            entry.st_rdev = stat.rdev
        entry.st_size = stat.size
        entry.st_blksize = BLOCK_BYTES
        entry.st_blocks = -(-stat.size // STAT_BLOCK_BYTES)
        entry.st_atime_ns = stat.atime_ns
        entry.st_mtime_ns = stat.mtime_ns
        entry.st_ctime_ns = stat.ctime_ns
        return entry
