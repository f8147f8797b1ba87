"""The tree of names: what a name stands for, what a folder holds, and the attributes of both.

A name is looked up in the store each time the kernel asks; nothing of it is cached here, for the bases are read from this host's memory
(a lookup costs about 50 us, half of that where names are asked for in their order: meta/vicinity.py) and the kernel has caches of its own.
"""

from __future__ import annotations

import errno
import os
import stat as modes
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from msgspec.structs import replace

from fs.attribute import Defaults, Stat, file_stat, folder_stat
from fs.file import File
from fs.inode import ROOT, UNMARKED, Inode, InodeTable
from fs.name import KEY_BYTES_MAX, Name, NameTooLong, digest_of, parse, show
from fs.shared import Shared
from meta.protocol.folder import FOLDER_END, Node, Peek
from meta.protocol.object import ObjectRow
from node.errors import NotFound

MOVES_MAX = 1_000
"""Folders that this mount moved lately, (bucket, key) before and after: the log of changes tells of them, too."""
LINK_BYTES_MAX = 4_095
"""As PATH_MAX has it."""


Hides = Callable[[str, str, str], bool]
"""(bucket, key, content): whether the object is on its way out and must not be seen."""


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes and files that there is room for in all, and that are left."""

    total: int
    free: int
    inodes_total: int
    inodes_free: int


def failure(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def key_in(folder: Inode, part: str) -> tuple[str, str]:
    """(bucket, key) of what is called so in the folder. Raises: NameTooLong."""
    bucket, prefix = folder.place
    key = prefix + part
    if len(key) * 4 > KEY_BYTES_MAX and len(key.encode()) > KEY_BYTES_MAX:
        raise NameTooLong(f"a key has at most {KEY_BYTES_MAX} bytes")
    return bucket, key


def shows_as_file(row: ObjectRow | None) -> bool:
    """An object whose key ends in a slash is a folder's; only its bytes, if it has any, show as a file in it."""
    return row is not None and (not row.key.endswith(FOLDER_END) or row.size > 0)


def rest_of(key: str, folder: Inode) -> str:
    """What of a key that a listing of the folder showed is below it."""
    return key[len(folder.place[1]) :]


class Tree:
    """All names of one mount.

    bucket, prefix  what its root shows; "" for all buckets
    attr_timeout    seconds for which a folder's attributes are known: the kernel asks for them again whenever something in it was changed
    """

    def __init__(self, shared: Shared, defaults: Defaults, *, bucket: str = "", prefix: str = "", attr_timeout: float = 0.0) -> None:
        self.shared, self.connection = shared, shared.connection
        self.defaults = defaults
        root = Inode(ROOT, None, b"", "", folder=True)
        root.bucket, root.prefix = bucket, prefix
        self.table = InodeTable(root)
        self.hides: Hides = lambda _bucket, _key, _content: False
        self.moves: deque[tuple[str, str]] = deque(maxlen=MOVES_MAX)
        self._began_ns = time.time_ns()
        self._attr_timeout = attr_timeout

    def __repr__(self) -> str:
        return f"<Tree {self.table!r}>"

    def inode(self, number: int) -> Inode:
        """Raises: OSError (ESTALE)."""
        found = self.table.get(number)
        if found is None:
            raise failure(errno.ESTALE)
        return found

    def of_buckets(self, folder: Inode) -> bool:
        """Whether it is the folder of all buckets."""
        return folder is self.table.root and not folder.bucket

    async def lookup(self, parent: Inode, raw: bytes) -> tuple[Inode, Stat]:
        """Raises: OSError (ENOENT), NameTooLong, NameUnusable; as Connection."""
        found = await self.find(parent, raw)
        if found is None:
            raise failure(errno.ENOENT)
        return found

    async def find(self, parent: Inode, raw: bytes) -> tuple[Inode, Stat] | None:
        """None where nothing has the name: most that are made are asked for first. Raises: as lookup, which may be ENOENT, too."""
        child = self.table.child(parent, raw)
        if child is not None and isinstance(child.file, File) and child.file.unsaved:
            return child, child.file.stat
        name = await self.resolve(parent, raw)
        if self.of_buckets(parent):
            settings = await self.connection.settings(name.part)
            return self.place_bucket(settings.bucket, settings.created_us)
        bucket, key = key_in(parent, name.part)
        if self.shared.debts.open:
            await self.shared.debts.settle(bucket, key)
        return self.place(parent, raw, name, self._without_hidden(bucket, await self.connection.peek(bucket, key)))

    async def resolve(self, parent: Inode, raw: bytes) -> Name:
        """The part of the key that a name means. Raises: OSError (ENOENT), NameTooLong, NameUnusable."""
        name = parse(raw)
        if not name.digest:
            return name
        async for node in self.nodes(parent):
            part = rest_of(node.key, parent).removesuffix(FOLDER_END)
            if digest_of(part) == name.digest and show(part, beside=node.shadowed).encode() == raw:
                return Name(part, name.beside)
        raise failure(errno.ENOENT)

    def place(self, parent: Inode, raw: bytes, name: Name, found: Peek) -> tuple[Inode, Stat] | None:
        """The inode for what a name was found to stand for, if it does for anything."""
        row = found.row
        if not shows_as_file(row):
            row = None
        if name.beside and not (row is not None and found.folder):
            return None
        if found.folder and not name.beside:
            return self._place_folder(parent, raw, name.part, found.marker)
        if row is None:
            return None
        return self._place_file(parent, raw, name, row)

    def place_node(self, parent: Inode, rest: str, node: Node) -> tuple[bytes, Inode, Stat]:
        """Name, inode and attributes for what a listing shows. rest: what of its key is below the folder."""
        part = rest.removesuffix(FOLDER_END)
        raw = show(part, beside=node.shadowed).encode()
        child = self.table.child(parent, raw)
        if child is not None and isinstance(child.file, File):
            return raw, child, child.file.stat  # the page may be older than what was saved meanwhile: only a lookup takes its name from it
        if rest.endswith(FOLDER_END):
            return raw, *self._place_folder(parent, raw, part, node.row)
        assert node.row is not None
        return raw, *self._place_file(parent, raw, Name(part, node.shadowed), node.row)

    def place_bucket(self, bucket: str, created_us: int) -> tuple[Inode, Stat]:
        inode, stat = self._place_folder(self.table.root, bucket.encode(), bucket, None)
        inode.bucket = bucket
        return inode, replace(stat, mtime_ns=created_us * 1_000, ctime_ns=created_us * 1_000)

    async def stat(self, inode: Inode) -> Stat:
        """Raises: OSError (ESTALE when the name stands for something else by now); as Connection."""
        if isinstance(inode.file, File):
            return inode.file.stat
        if inode.gone and inode.folder:  # somebody has it open
            return replace(self.folder_stat(inode), links=0)
        if inode.gone:
            raise failure(errno.ESTALE)
        if self.of_buckets(inode):
            return self.folder_stat(inode, None)
        if inode.stated is not None and inode.stated[0] > time.monotonic():
            assert isinstance(inode.stated[1], Stat)
            return _touched(inode, inode.stated[1])
        bucket, key = inode.place
        if not key:
            created_us = (await self.connection.settings(bucket)).created_us
            return replace(self.folder_stat(inode, None), mtime_ns=max(created_us * 1_000, inode.touched_ns), ctime_ns=created_us * 1_000)
        found = await self.connection.peek(bucket, key.removesuffix(FOLDER_END) if inode.folder else key)
        if inode.folder:
            if not found.folder and inode is not self.table.root:  # a prefix is mounted before there is anything, and after
                raise failure(errno.ESTALE)
            return self._know(inode, found.marker)
        if found.row is None or found.row.content != inode.content:
            raise failure(errno.ESTALE)
        return file_stat(found.row, self.defaults)

    async def entries(self, folder: Inode) -> AsyncIterator[tuple[bytes, Inode, Stat]]:
        """Name, inode and attributes of all that the folder holds."""
        if self.shared.debts.open:
            await self.shared.debts.settle()
        if self.of_buckets(folder):
            for bucket in await self.connection.buckets():
                yield bucket.bucket.encode(), *self.place_bucket(bucket.bucket, bucket.created_us)
            return
        shown: set[bytes] = set()
        unsaved = [child.name for child in self.unsaved_in(folder)]  # what is stored while this reads may be behind it already
        prefix = len(folder.place[1])
        async for node in self.nodes(folder):
            entry = self.place_node(folder, node.key[prefix:], node)
            shown.add(entry[0])
            yield entry
        for raw in (*unsaved, *(child.name for child in self.unsaved_in(folder))):
            if raw not in shown:
                shown.add(raw)
                with suppress(NotFound, FileNotFoundError):  # it is gone by now, or called otherwise
                    yield raw, *await self.lookup(folder, raw)

    def unsaved_in(self, folder: Inode) -> list[Inode]:
        """New files in the folder of which nothing is stored yet."""
        if not folder.children:
            return []
        return [child for child in folder.children.values() if isinstance(child.file, File) and child.file.row is None]

    def has_unsaved(self, folder: Inode) -> bool:
        """Whether there are such files in it, or in a folder below that exists through them only."""
        return bool(self.unsaved_in(folder))

    async def marker(self, folder: Inode) -> ObjectRow | None:
        """The object that stands for a folder, if one does."""
        bucket, key = folder.place
        if not key:
            return None
        marker = (await self.connection.peek(bucket, key.removesuffix(FOLDER_END))).marker
        folder.marked = marker is not None
        return marker

    async def stored(self, inode: Inode) -> ObjectRow:
        """The object of a file. Raises: OSError (ESTALE when its name stands for another by now, or for none: the kernel looks again)."""
        bucket, key = inode.place
        if self.shared.debts.open:
            await self.shared.debts.settle(bucket, key)
        try:
            row = await self.connection.row(bucket, key)
        except NotFound as error:
            raise failure(errno.ESTALE) from error
        if row.content != inode.content:
            raise failure(errno.ESTALE)
        return row

    async def open(self, inode: Inode) -> File:
        """The open file, held until `release`. Raises: OSError (ESTALE when the name stands for something else by now)."""
        file = inode.file
        if not isinstance(file, File):
            if inode.gone:
                raise failure(errno.ESTALE)
            row = await self.stored(inode)
            file = inode.file
            if not isinstance(file, File):
                file = inode.file = File(self.shared, inode, row, file_stat(row, self.defaults))
        self.table.open(inode)
        return file

    async def open_anew(self, inode: Inode) -> File:
        """The same for a program that opens it by its name: who has it open may have a version that another client replaced since."""
        file, content = inode.file, inode.content
        if isinstance(file, File) and not file.unsaved and not inode.gone:
            try:
                await self.stored(inode)
            except OSError:
                if not file.unsaved and inode.content == content:  # else it was written here meanwhile
                    raise
        return await self.open(inode)

    async def release(self, inode: Inode) -> None:
        """Undoes one `open`."""
        file = inode.file
        assert isinstance(file, File)
        if inode.opened == 1:
            inode.file = None
            await file.aclose()
        self.table.close(inode)

    async def read_link(self, inode: Inode) -> bytes:
        file = await self.open(inode)
        try:
            return bytes(await file.read(0, LINK_BYTES_MAX))
        finally:
            await self.release(inode)

    async def space(self) -> Space:
        """Of the disks, or of what the mounted bucket's quota leaves of them."""
        volumes = await self.connection.volumes()
        total, free = sum(each.bytes_total for each in volumes), sum(each.bytes_free for each in volumes)
        inodes = sum(each.inodes_free for each in volumes)
        bucket = self.table.root.bucket
        if bucket and (quota := await self.connection.quota(bucket)) is not None:
            total, free = min(total, quota.total), min(free, max(quota.total - quota.used, 0))
        return Space(total, free, inodes + len(self.table), inodes)

    async def nodes(self, folder: Inode, begin: str = "") -> AsyncIterator[Node]:
        """What the folder holds, from a key on."""
        bucket, prefix = folder.place
        while True:
            page = await self.connection.browse(bucket, prefix, begin)
            for node in page.nodes:
                if node.key == prefix and not shows_as_file(node.row):
                    continue
                if node.row is None or not self.hides(bucket, node.key, node.row.content):
                    yield node
            if not page.begin:
                return
            begin = page.begin

    def forget_moves(self, places: Iterable[tuple[str, str]]) -> None:
        for place in places:
            if place in self.moves:
                self.moves.remove(place)

    def _without_hidden(self, bucket: str, found: Peek) -> Peek:
        if found.row is not None and self.hides(bucket, found.row.key, found.row.content):
            return Peek(None, found.folder, found.marker)
        return found

    def _place_folder(self, parent: Inode, raw: bytes, part: str, marker: ObjectRow | None) -> tuple[Inode, Stat]:
        inode = self.table.child(parent, raw)
        if inode is None or not inode.folder:
            inode = self.table.add(parent, raw, part, folder=True)
        stat = self._know(inode, marker)
        inode.marked = marker is not None
        inode.group = stat.gid if stat.mode & modes.S_ISGID else None
        return inode, stat

    def _place_file(self, parent: Inode, raw: bytes, name: Name, row: ObjectRow) -> tuple[Inode, Stat]:
        inode = self.table.child(parent, raw)
        if inode is not None and not inode.folder and isinstance(inode.file, File) and (inode.file.unsaved or inode.content == row.content):
            return inode, inode.file.stat
        if inode is None or inode.folder or inode.content != row.content or (inode.seq and inode.seq != row.seq):
            inode = self.table.add(parent, raw, name.part, folder=False)
            inode.beside, inode.content = name.beside, row.content
        inode.seq = row.seq
        return inode, file_stat(row, self.defaults)

    def folder_stat(self, inode: Inode, marker: ObjectRow | None = None) -> Stat:
        """Of a folder for which that object stands, if any."""
        return _touched(inode, folder_stat(marker, self.defaults, time_ns=self._began_ns))

    def _know(self, inode: Inode, marker: ObjectRow | None) -> Stat:
        """The same, remembered for a while."""
        stat = folder_stat(marker, self.defaults, time_ns=self._began_ns)
        inode.seq = seq_of(marker)
        inode.stated = time.monotonic() + self._attr_timeout, stat
        return _touched(inode, stat)


def seq_of(marker: ObjectRow | None) -> int:
    """As Inode.seq has it."""
    return UNMARKED if marker is None else marker.seq


def _touched(inode: Inode, stat: Stat) -> Stat:
    """What this mount changed in a folder shows in its times."""
    if inode.touched_ns <= stat.mtime_ns:
        return stat
    return replace(stat, mtime_ns=inode.touched_ns, ctime_ns=max(stat.ctime_ns, inode.touched_ns))
