"""The inodes that the kernel knows: a tree of names with lookup counts. Pure.

Theory of operation. An inode is here while the kernel holds lookups of it, while it is open, or while one below it is here. It names no
object by itself: its key follows from the names on the way up, so moving a folder is one change. `content` is what the name stood
for when it was looked up; a name that by then stands for another content gets a new inode, as if the file had been replaced by rename(2):
the kernel trusts its own sizes and times of an inode while it caches writes, so what another client wrote can't come into the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

ROOT = 1
UNMARKED = -1
INODES_MAX = 120_000
"""Beyond these the kernel is asked to forget the oldest: about 650 bytes each."""


class Inode:
    """One name. key part: `part`; beside: a file beside a folder of that name; content: id of the object's, "" of a folder.

    folder    whether it is one
    bucket    of a bucket's top folder and of the root of a mount of one bucket: the bucket's name; else ""
    prefix    of the root of a mount of a prefix: the prefix; else ""
    seq       of the object's row when it was looked up, of a folder that of the object that stands for it or UNMARKED; 0 when not known
    touched_ns   when this mount last changed what is in the folder
    stated    of a folder: until when its attributes need not be looked up again, by the monotonic clock, and which they are
    marked    an object is known to stand for the folder;  group: the group that what is made in it gets, None: its maker's
    file      its open state (fs/file.py), None while nobody has it open
    covers    of a file of which nothing is stored yet: the content of the object whose name a rename gave it, "" for none
    gone      the name was removed or replaced: only open files still use it
    """

    __slots__ = (
        "beside",
        "bucket",
        "children",
        "content",
        "covers",
        "file",
        "folder",
        "gone",
        "group",
        "lookups",
        "marked",
        "name",
        "number",
        "opened",
        "parent",
        "part",
        "prefix",
        "seq",
        "stated",
        "touched_ns",
    )

    def __init__(self, number: int, parent: Inode | None, name: bytes, part: str, *, folder: bool) -> None:
        self.number = number
        self.parent = parent
        self.name = name
        self.part = part
        self.folder = folder
        self.beside = False
        self.bucket = ""
        self.prefix = ""
        self.content = ""
        self.covers = ""
        self.seq = 0
        self.touched_ns = 0
        self.stated: tuple[float, object] | None = None
        self.gone = False
        self.group: int | None = None
        self.marked = False
        self.lookups = 0
        self.opened = 0
        self.file: object = None
        self.children: dict[bytes, Inode] | None = None

    def __repr__(self) -> str:
        return f"<Inode {self.number} {self.name!r} lookups={self.lookups} opened={self.opened}{' gone' if self.gone else ''}>"

    @property
    def place(self) -> tuple[str, str]:
        """(bucket, key); a folder's key ends in "/" or is ""; ("", "") for the root of all buckets."""
        parts: list[str] = []
        at = self
        while not at.bucket and at.parent is not None:
            parts.append(at.part)
            at = at.parent
        key = at.prefix + "/".join(reversed(parts))
        return at.bucket, key + "/" if self.folder and parts else key


class InodeTable:
    """All inodes of a mount."""

    def __init__(self, root: Inode) -> None:
        self.root = root
        root.lookups = 1
        self._by_number: dict[int, Inode] = {root.number: root}
        self._next = root.number

    def __repr__(self) -> str:
        return f"<InodeTable {len(self._by_number)}>"

    def __len__(self) -> int:
        return len(self._by_number)

    def oldest(self) -> Iterator[Inode]:
        """All, those first that are known longest. To be read before the table is changed again."""
        return iter(self._by_number.values())

    def get(self, number: int) -> Inode | None:
        return self._by_number.get(number)

    def child(self, parent: Inode, name: bytes) -> Inode | None:
        return parent.children.get(name) if parent.children else None

    def add(self, parent: Inode, name: bytes, part: str, *, folder: bool) -> Inode:
        """A new inode under that name; one that was there is gone."""
        old = self.child(parent, name)
        if old is not None:
            self.detach(old)
        self._next += 1
        inode = Inode(self._next, parent, name, part, folder=folder)
        self._by_number[inode.number] = inode
        if parent.children is None:
            parent.children = {}
        parent.children[name] = inode
        return inode

    def detach(self, inode: Inode) -> None:
        """Its name is taken from it. It stays for who has it open; its parent is kept while it is here."""
        inode.gone = True
        parent = inode.parent
        if parent is not None and parent.children is not None and parent.children.get(inode.name) is inode:
            del parent.children[inode.name]
        self._drop_unused(inode)

    def move(self, inode: Inode, parent: Inode, name: bytes, part: str, *, beside: bool = False) -> None:
        """Gives it another name; an inode that had it is gone."""
        there = self.child(parent, name)
        if there is inode:
            return
        if there is not None:
            self.detach(there)
        old = inode.parent
        assert old is not None
        if old.children is not None and old.children.get(inode.name) is inode:
            del old.children[inode.name]
        inode.parent, inode.name, inode.part, inode.beside = parent, name, part, beside
        if parent.children is None:
            parent.children = {}
        parent.children[name] = inode
        _renumbered(inode)
        self._drop_unused(old)

    def exchange(self, one: Inode, other: Inode) -> None:
        """Each gets the other's name."""
        for inode in (one, other):
            assert inode.parent is not None
            if inode.parent.children is not None:
                inode.parent.children.pop(inode.name, None)
        one_place = one.parent, one.name, one.part, one.beside
        one.parent, one.name, one.part, one.beside = other.parent, other.name, other.part, other.beside
        other.parent, other.name, other.part, other.beside = one_place
        for inode in (one, other):
            assert inode.parent is not None
            if inode.parent.children is None:
                inode.parent.children = {}
            inode.parent.children[inode.name] = inode
            _renumbered(inode)

    def forget(self, numbers: Iterable[tuple[int, int]]) -> None:
        """The kernel lets go of so many lookups of each."""
        for number, lookups in numbers:
            inode = self._by_number.get(number)
            if inode is not None and number != self.root.number:
                inode.lookups = max(inode.lookups - lookups, 0)
                self._drop_unused(inode)

    def drop(self, inode: Inode) -> None:
        """Takes it out if nobody holds it: a listing placed it, and its reader went elsewhere."""
        self._drop_unused(inode)

    def open(self, inode: Inode) -> None:
        inode.opened += 1

    def close(self, inode: Inode) -> None:
        inode.opened -= 1
        self._drop_unused(inode)

    def _drop_unused(self, inode: Inode | None) -> None:
        """Takes out what nobody holds, and then what was only here for it."""
        while inode is not None and not inode.lookups and not inode.opened and not inode.children and inode is not self.root:
            if self._by_number.pop(inode.number, None) is None:
                return
            parent = inode.parent
            if parent is not None and parent.children is not None and parent.children.get(inode.name) is inode:
                del parent.children[inode.name]
            inode = parent


def below(inode: Inode) -> Iterator[Inode]:
    """It, and all that is known in it."""
    waiting = [inode]
    while waiting:
        inode = waiting.pop()
        yield inode
        if inode.children:
            waiting.extend(inode.children.values())


def _renumbered(inode: Inode) -> None:
    """Moving it gave the rows of all that is in it new numbers, which are not known here."""
    for each in below(inode):
        each.seq = 0
