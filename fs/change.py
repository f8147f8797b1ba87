"""What changes names and attributes: create, remove, move, link, restate. Each is one transaction of the store's metadata.

The store is asked first and the tree of inodes follows, so what fails changes nothing. A folder that only exists through what lies in it
gets an object of its own before the last of that leaves it: it is a folder until somebody removes it.
"""

from __future__ import annotations

import errno
import stat as modes
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import msgspec
from msgspec.structs import replace

from fs.attribute import (
    FOLDER_BYTES,
    FOLDER_TYPE,
    METADATA_BYTES_MAX,
    Stat,
    folder_stat,
    metadata_bytes,
    with_stat,
    with_xattrs,
    xattrs_of,
)
from fs.connection import ABSENT
from fs.file import File
from fs.gate import Gate
from fs.inode import Inode, below
from fs.name import Name
from fs.saving import Saving
from fs.tree import Tree, failure, key_in
from meta.protocol.folder import FOLDER_END
from meta.protocol.object import NO_CONDITION, Attributes, ObjectRow
from node.errors import FrazilError, NotFound
from store.source import BytesSource

LAST = 2
"""So many nodes in a folder are more than the one that leaves."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes something."""

    uid: int
    gid: int


class Changes:
    """Of one tree.

    buckets    whether folders of the root, which are buckets, may be made and removed
    exclusive  a file that is created exclusively is stored at once, if no other mount or client was first
    late       closing a small file and removing one doesn't wait for the store
    """

    def __init__(self, tree: Tree, *, buckets: bool, exclusive: bool = False, late: bool = False) -> None:
        self._tree = tree
        self._buckets, self._exclusive, self._late = buckets, exclusive, late
        self._gate = Gate()
        self.saving = Saving(tree, self._gate, late=late)
        self.behind = self.saving.behind
        tree.hides = self.behind.hides

    def __repr__(self) -> str:
        return f"<Changes {self._tree!r} {self._gate!r}>"

    # Making

    async def create(self, parent: Inode, raw: bytes, mode: int, caller: Caller, *, exclusive: bool) -> tuple[Inode, File]:
        """A new file, open; nothing of it is stored yet. Raises: OSError (EEXIST where there is one and it is exclusive)."""
        found = await self._find(parent, raw)
        if found is not None:
            if exclusive:
                raise failure(errno.EEXIST)
            if found[0].folder:
                raise failure(errno.EISDIR)
            return found[0], await self._tree.open(found[0])
        name = await self._new_name(parent, raw)
        inode = self._tree.table.add(parent, raw, name.part, folder=False)
        inode.file = file = File(self._tree.shared, inode, None, self._new_stat(parent, modes.S_IFREG | modes.S_IMODE(mode), caller))
        self._tree.table.open(inode)
        if exclusive and self._exclusive:
            try:
                await file.claim()
            except BaseException:
                self._gone(inode)
                await self._tree.release(inode)
                raise
        touch(parent)
        return inode, file

    async def make_node(self, parent: Inode, raw: bytes, mode: int, rdev: int, caller: Caller, data: bytes = b"") -> tuple[Inode, Stat]:
        """A file that is stored at once: empty, a pipe, a device; or a symbolic link with its target as bytes. Raises: OSError (EEXIST)."""
        if await self._find(parent, raw) is not None:
            raise failure(errno.EEXIST)
        name = await self._new_name(parent, raw)
        await self.behind.settle()
        stat = replace(self._new_stat(parent, mode, caller), rdev=rdev, size=len(data))
        attributes = Attributes(type="application/octet-stream", metadata=with_stat({}, stat))
        bucket, key = key_in(parent, name.part)
        async with self._gate.passing():
            row = await self._tree.connection.put(bucket, key, lambda: BytesSource(data), attributes, condition=ABSENT)
            inode = self._tree.table.add(parent, raw, name.part, folder=False)
            inode.content = row.content
        touch(parent)
        return inode, stat

    async def make_folder(self, parent: Inode, raw: bytes, mode: int, caller: Caller) -> tuple[Inode, Stat]:
        """Raises: OSError (EEXIST, EPERM)."""
        if await self._find(parent, raw) is not None:
            raise failure(errno.EEXIST)
        name = await self._new_name(parent, raw)
        if self._tree.of_buckets(parent):
            self._check_buckets()
            settings = await self._tree.connection.make_bucket(name.part)
            return self._tree.place_bucket(settings.bucket, settings.created_us)
        permissions = modes.S_IMODE(mode) | (modes.S_ISGID if parent.group is not None else 0)
        stat = self._new_stat(parent, modes.S_IFDIR | permissions, caller)
        await self.behind.settle()
        bucket, key = key_in(parent, name.part + FOLDER_END)
        async with self._gate.passing():
            marker = await self._put_marker(bucket, key, stat, fresh=True)
            inode = self._tree.table.add(parent, raw, name.part, folder=True)
            inode.seq = marker.seq
        inode.marked, inode.group = True, stat.gid if permissions & modes.S_ISGID else None
        touch(parent)
        return inode, replace(stat, size=FOLDER_BYTES, links=2)

    # Removing

    async def unlink(self, parent: Inode, raw: bytes) -> None:
        """Raises: OSError (ENOENT, EISDIR)."""
        inode, _ = await self._tree.lookup(parent, raw)
        if inode.folder:
            raise failure(errno.EISDIR)
        # A folder above may be on its way to another key, and a save may be under way.
        async with self._gate.passing(), inode.file.lock if isinstance(inode.file, File) else nullcontext():
            await self._keep_folder(parent)
            await self._vacate(inode)
            stored = inode.covers if isinstance(inode.file, File) and inode.file.row is None else inode.content
            if stored:
                if self.saving.leaves:
                    await self.behind.remove_later(*inode.place, stored)
                else:
                    with self.saving.watched():
                        await self._tree.connection.remove(*inode.place)
            self._gone(inode)
        touch(parent)

    async def rmdir(self, parent: Inode, raw: bytes) -> None:
        """Raises: OSError (ENOENT, ENOTDIR, EPERM, ENOTEMPTY)."""
        inode, _ = await self._tree.lookup(parent, raw)
        if not inode.folder:
            raise failure(errno.ENOTDIR)
        if self._tree.has_unsaved(inode):
            raise failure(errno.ENOTEMPTY)
        await self.behind.settle()
        await self._settle_others(inode)
        async with self._gate.passing():
            bucket, key = inode.place
            if not key:
                self._check_buckets()
                await self._tree.connection.remove_bucket(bucket)
            else:
                await self._keep_folder(parent)
                await self._tree.connection.remove_folder(bucket, key)
            self._gone(inode)
        touch(parent)

    # Moving

    async def rename(self, parent: Inode, raw: bytes, new_parent: Inode, new_raw: bytes, *, replace: bool) -> None:
        """Raises: OSError (ENOENT, EEXIST, EXDEV, EISDIR, ENOTDIR, ENOTEMPTY, EINVAL)."""
        inode, _ = await self._tree.lookup(parent, raw)
        found = await self._find(new_parent, new_raw)
        self._check_move(inode, new_parent)
        if found is not None:
            there = found[0]
            if there is inode:
                return
            if not replace:
                raise failure(errno.EEXIST)
            if there.folder is not inode.folder:
                raise failure(errno.EISDIR if there.folder else errno.ENOTDIR)
            if there.folder and self._tree.has_unsaved(there):
                raise failure(errno.ENOTEMPTY)
            name = Name(there.part, there.beside)
        else:
            name = await self._new_name(new_parent, new_raw)
        await self.saving.thaw(inode)
        await self._settle_others(inode)
        async with self._gate.closed():
            await self.behind.settle()
            await self._move(inode, parent, new_parent, new_raw, name, found and found[0], replace=replace)
        touch(parent)
        touch(new_parent)

    async def _move(
        self, inode: Inode, parent: Inode, new_parent: Inode, new_raw: bytes, name: Name, there: Inode | None, *, replace: bool
    ) -> None:
        if isinstance(inode.file, File) and inode.file.row is None and self._late and replace and not inode.covers:
            if there is not None:  # its object is replaced when this file is saved, or goes with this file
                await self._vacate(there)
                inode.covers = there.content or there.covers
                self._gone(there)
            self._tree.table.move(inode, new_parent, new_raw, name.part, beside=name.beside)
            inode.file.moved()
            return
        if isinstance(inode.file, File) and inode.file.unsaved:
            await inode.file.save()
        if there is not None:
            await self._vacate(there)
        if new_parent is not parent:
            await self._keep_folder(parent)
        bucket, key = inode.place
        _, new_key = key_in(new_parent, name.part + (FOLDER_END if inode.folder else ""))
        own: tuple[tuple[str, str], ...] = ((bucket, key), (bucket, new_key)) if inode.folder else ()
        self._tree.moves.extend(own)
        try:
            await self._tree.connection.move(bucket, key, new_key, replace=replace)
        except FrazilError:  # it may have happened all the same: then it is as if another had done it
            self._tree.forget_moves(own)
            raise
        if there is not None:
            self._gone(there)
        self._tree.table.move(inode, new_parent, new_raw, name.part, beside=name.beside)
        _tell_moved(inode)

    async def exchange(self, parent: Inode, raw: bytes, new_parent: Inode, new_raw: bytes) -> None:
        """Raises: OSError (ENOENT, EXDEV, EINVAL)."""
        one, _ = await self._tree.lookup(parent, raw)
        other, _ = await self._tree.lookup(new_parent, new_raw)
        if one is other:
            return
        self._check_move(one, new_parent)
        self._check_move(other, parent)
        await self.saving.thaw(one, other)
        await self._settle_others(one, other)
        async with self._gate.closed():
            await self.behind.settle()
            for inode in (one, other):
                if isinstance(inode.file, File) and inode.file.unsaved:
                    await inode.file.save()
            await self._tree.connection.exchange(one.place[0], one.place[1], other.place[1])
            self._tree.table.exchange(one, other)
            for inode in (one, other):
                _tell_moved(inode)
        touch(parent)
        touch(new_parent)

    async def _settle_others(self, *inodes: Inode) -> None:
        """Of a folder all is stored that other mounts owe of what is in it: a look at its name tells of nothing below."""
        debts = self._tree.shared.debts
        if debts.open and any(inode.folder for inode in inodes):
            await debts.settle()

    def _check_move(self, inode: Inode, new_parent: Inode) -> None:
        bucket, key = inode.place
        if self._tree.of_buckets(new_parent) or not key:
            raise failure(errno.EPERM)
        if new_parent.place[0] != bucket:
            raise failure(errno.EXDEV)
        if inode.folder and new_parent.place[1].startswith(key):
            raise failure(errno.EINVAL)

    # Attributes

    async def restate(self, inode: Inode, change: Callable[[Stat], Stat]) -> Stat:
        """Changes what `stat` shows of it, but not its size. Raises: OSError (ESTALE, EPERM)."""
        return await self._restate(inode, change, lambda metadata: metadata)

    async def xattrs(self, inode: Inode) -> dict[str, bytes]:
        row = await self.row(inode)
        if isinstance(inode.file, File):
            return xattrs_of(inode.file.attributes.metadata)
        return xattrs_of(row.attributes.metadata) if row is not None else {}

    async def ask_restore(self, inode: Inode, tier: str) -> None:
        row = await self.row(inode)
        if row is None or inode.folder:
            raise failure(errno.EINVAL)
        await self._tree.shared.cold.ask(inode.place[0], row, tier)

    async def set_xattr(self, inode: Inode, name: str, value: bytes | None) -> None:
        """value None: removed. Raises: OSError (ENODATA, ENOSPC, ESTALE)."""
        if value is None and name not in await self.xattrs(inode):
            raise failure(errno.ENODATA)

        def change(metadata: dict[str, str]) -> dict[str, str]:
            xattrs = xattrs_of(metadata)
            if value is None:
                xattrs.pop(name, None)
            else:
                xattrs[name] = value
            changed = with_xattrs(metadata, xattrs)
            if value is not None and metadata_bytes(changed) > METADATA_BYTES_MAX:
                raise failure(errno.ENOSPC)
            return changed

        await self._restate(inode, lambda stat: replace(stat, ctime_ns=time.time_ns()), change)

    async def _restate(self, inode: Inode, change: Callable[[Stat], Stat], rename: Callable[[dict[str, str]], dict[str, str]]) -> Stat:
        if isinstance(inode.file, File):
            file = inode.file
            self._tree.table.open(inode)  # else a save that ends meanwhile takes the open file away
            try:
                if not await file.restate(change, rename) and not inode.gone:
                    await self.saving.save(inode, stated=True)
            finally:
                await self._tree.release(inode)
            return file.stat
        stat = change(await self._tree.stat(inode))
        row = await self.row(inode)
        if inode.folder and row is None:
            return await self._restate_folder(inode, stat, rename)
        assert row is not None
        describe = partial(_restated, stat=stat, rename=rename)
        async with self._gate.passing():
            row = await self._tree.connection.change(inode.place[0], row, describe)
        inode.seq = row.seq
        if inode.folder:
            inode.group = stat.gid if stat.mode & modes.S_ISGID else None
            inode.touched_ns, inode.stated = 0, None  # the object says when, from here on
        return stat

    async def _restate_folder(self, inode: Inode, stat: Stat, rename: Callable[[dict[str, str]], dict[str, str]]) -> Stat:
        """Of a folder for which no object stands: it gets one."""
        bucket, key = inode.place
        if not key:
            return await self._restate_bucket(inode, stat, rename)
        async with self._gate.passing():
            inode.seq = (await self._put_marker(bucket, key, stat, rename(with_stat({}, stat)))).seq
        inode.marked, inode.touched_ns, inode.stated = True, 0, None
        return stat

    async def _restate_bucket(self, inode: Inode, stat: Stat, rename: Callable[[dict[str, str]], dict[str, str]]) -> Stat:
        """Its attributes are the mount's: they may be set to what they are (as cp and rsync do), its times until the mount forgets it."""
        now = await self._tree.stat(inode)
        if (stat.mode, stat.uid, stat.gid) != (now.mode, now.uid, now.gid) or rename({}):
            raise failure(errno.EPERM)
        inode.touched_ns = stat.mtime_ns
        return await self._tree.stat(inode)

    async def row(self, inode: Inode) -> ObjectRow | None:
        """What stands for it in the store; None for a folder without an object. Raises: OSError (ESTALE)."""
        if isinstance(inode.file, File):
            return inode.file.row
        if inode.gone:
            raise failure(errno.ESTALE)
        if inode.folder:
            return await self._tree.marker(inode)
        return await self._tree.stored(inode)

    # What they share

    async def _find(self, parent: Inode, raw: bytes) -> tuple[Inode, Stat] | None:
        try:
            return await self._tree.find(parent, raw)
        except NotFound:
            return None
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return None

    async def _new_name(self, parent: Inode, raw: bytes) -> Name:
        """Raises: OSError (EINVAL for a name that only a key of that kind can have, EPERM where buckets are), NameTooLong."""
        name = await self._tree.resolve(parent, raw)
        if name.beside or (not name.part and not self._tree.of_buckets(parent)):
            raise failure(errno.EINVAL)
        if self._tree.of_buckets(parent):
            self._check_buckets()
        key_in(parent, name.part + FOLDER_END)
        return name

    def _check_buckets(self) -> None:
        if not self._buckets:
            raise failure(errno.EPERM)

    def _new_stat(self, parent: Inode, mode: int, caller: Caller) -> Stat:
        now = time.time_ns()
        return Stat(mode, caller.uid, caller.gid if parent.group is None else parent.group, 0, now, now, now)

    async def _put_marker(
        self, bucket: str, key: str, stat: Stat, metadata: dict[str, str] | None = None, *, fresh: bool = False
    ) -> ObjectRow:
        attributes = Attributes(type=FOLDER_TYPE, metadata=metadata if metadata is not None else with_stat({}, stat))
        condition = ABSENT if fresh else NO_CONDITION
        return await self._tree.connection.put(bucket, key, lambda: BytesSource(b""), attributes, condition=condition)

    async def _keep_folder(self, folder: Inode) -> None:
        """Before something leaves it: the folder stays though it be empty then."""
        bucket, key = folder.place
        if not key or folder.marked or folder is self._tree.table.root:
            return
        nodes = (await self._tree.connection.browse(bucket, key, limit=LAST)).nodes
        marked = bool(nodes) and nodes[0].key == key
        if len(nodes) == LAST and not marked and not self._late:  # of removals that wait nothing is known here
            return
        if not marked:
            folder.seq = (await self._put_marker(bucket, key, folder_stat(None, self._tree.defaults, time_ns=time.time_ns()))).seq
        folder.marked = True

    async def _vacate(self, inode: Inode) -> None:
        """Before its name goes: whoever has it open keeps its bytes."""
        if isinstance(inode.file, File):
            await inode.file.hold()

    def _gone(self, inode: Inode) -> None:
        self._tree.table.detach(inode)
        if isinstance(inode.file, File):
            inode.file.stat = replace(inode.file.stat, links=0, ctime_ns=time.time_ns())


def _restated(attributes: Attributes, *, stat: Stat, rename: Callable[[dict[str, str]], dict[str, str]]) -> Attributes:
    return msgspec.structs.replace(attributes, metadata=with_stat(rename(attributes.metadata), stat))


def _tell_moved(inode: Inode) -> None:
    for each in below(inode):
        if isinstance(each.file, File):
            each.file.moved()


def touch(folder: Inode) -> None:
    folder.touched_ns = time.time_ns()
