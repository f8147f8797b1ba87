"""Tells the kernel what other clients change, so that it may keep names for long; and asks it to forget names when it knows too many.

The log of a bucket's changes is read a few times a second from this host's memory, or each second from the bucket's leader; own changes
are in it, too, and are known by their contents. What a mount doesn't know the kernel doesn't either, so only the inodes that are here are
looked at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import islice

import trio

from fs.file import File
from fs.inode import INODES_MAX, Inode, below
from fs.name import show
from fs.tree import Tree, seq_of
from meta.protocol.folder import FOLDER_END, ChangedKey
from node.errors import FrazilError, NotFound
from node.threads import run_blocking

PERIOD_S = 0.25
PERIOD_DISTANT_S = 1.0
"""Where each look at a bucket's log is a call to another host."""
FORGET_TO = 0.9
"""Share of INODES_MAX that is left when it was reached."""
Invalidate = Callable[[int, bytes], None]
"""(number of the folder, name): the kernel is to ask again for it; name b"": for the attributes of that number.
May block while the kernel works on the name. Raises: OSError."""


class Follower:
    """Of one mount."""

    def __init__(self, tree: Tree, invalidate: Invalidate, period_s: float = PERIOD_S) -> None:
        self.invalidated = 0
        self._tree, self._invalidate, self._period_s = tree, invalidate, period_s
        self._entries: dict[str, int] = {}
        self._told: list[tuple[int, bytes]] = []

    def __repr__(self) -> str:
        return f"<Follower buckets={len(self._entries)} invalidated={self.invalidated}>"

    async def run(self) -> None:
        """For ever. A store that doesn't answer is asked again the next time."""
        while True:
            await trio.sleep(self._period_s)
            self.forget_oldest()
            for top in self._tops():
                with contextlib.suppress(FrazilError):
                    await self.follow(top)
            if self._told:
                told, self._told = self._told, []
                await run_blocking(self._tell_kernel, told)  # not abandoned: it must have returned before the mount ends

    def forget_oldest(self) -> None:
        """Beyond INODES_MAX the kernel is asked to let go of those it has known longest and that nobody uses."""
        table = self._tree.table
        if len(table) <= INODES_MAX:
            return
        unused = (inode for inode in table.oldest() if not inode.opened and not inode.children and inode.parent is not None)
        for inode in list(islice(unused, len(table) - int(INODES_MAX * FORGET_TO))):
            if inode.lookups:
                self._tell(inode)
            else:
                table.drop(inode)

    async def follow(self, top: Inode) -> None:
        """Reads what changed in a bucket since the last time."""
        bucket = top.bucket
        seen = self._entries.get(bucket)
        changes = await self._tree.connection.changes(bucket, seen if seen is not None else -1)
        self._entries[bucket] = changes.entry
        if seen is None:
            await self._look_at_all(top)
            return
        if changes.lost:
            self._tell_all(top)
            return
        for change in dict.fromkeys(changes.keys):
            await self._look_at(top, change)

    async def _look_at_all(self, top: Inode) -> None:
        """What was looked up before the log was may have changed since."""
        for inode in list(below(top)):
            if inode is not top and not inode.gone and await self._is_other(inode):
                self._tell(inode)

    def _tops(self) -> list[Inode]:
        """The folders of buckets that are known."""
        root = self._tree.table.root
        return [root] if root.bucket else [child for child in (root.children or {}).values() if child.bucket]

    async def _look_at(self, top: Inode, change: ChangedKey) -> None:
        if not change.key.startswith(top.prefix):
            return
        if change.folder and (top.bucket, change.key) in self._tree.moves:
            self._tree.moves.remove((top.bucket, change.key))
            return
        rest = change.key[len(top.prefix) :]
        for inode in reversed(list(self._way(top, rest))):
            if change.folder and inode.folder and inode.place[1] == change.key:
                self._tell_all(inode)
            if await self._is_other(inode):
                self._tell(inode)
            elif change.key.startswith(inode.place[1]) if inode.folder else _is_known(inode.parent):
                return  # what is there has all folders above it

    def _way(self, top: Inode, rest: str) -> Iterator[Inode]:
        """The inodes known of what a key leads through, outermost first."""
        inode = top
        parts = rest.split(FOLDER_END)
        for place, part in enumerate(parts):
            if place and place == len(parts) - 1 and not part:
                return
            children = inode.children or {}
            shadowed, child = (children.get(show(part, beside=beside).encode()) for beside in (True, False))
            if shadowed is not None:
                yield shadowed
            if child is None:
                return
            yield child
            inode = child

    async def _is_other(self, inode: Inode) -> bool:
        """Whether the name stands for something else than the kernel thinks."""
        bucket, key = inode.place
        try:
            found = await self._tree.connection.peek(bucket, key.removesuffix(FOLDER_END) if inode.folder else key)
        except NotFound:
            return True
        if inode.folder:
            self._compare(inode, seq_of(found.marker))
            return not found.folder
        if isinstance(inode.file, File) and inode.file.unsaved:
            return False
        row = found.row
        if row is None or row.content != inode.content or (found.folder and not inode.beside):
            return True
        if inode.file is not None:
            return False
        if not inode.seq:
            inode.seq = row.seq
        return inode.seq != row.seq

    def _compare(self, folder: Inode, seq: int) -> None:
        """Where others changed its attributes the kernel is to ask for those only: somebody may be working in the folder."""
        if folder.seq not in (0, seq):
            folder.stated = None
            self.invalidated += 1
            self._told.append((folder.number, b""))
        folder.seq = seq

    def _tell_all(self, folder: Inode) -> None:
        """Of all that is known below it."""
        for inode in below(folder):
            if inode is not folder:
                self._tell(inode)

    def _tell(self, inode: Inode) -> None:
        assert inode.parent is not None
        self.invalidated += 1
        self._told.append((inode.parent.number, inode.name))

    def _tell_kernel(self, told: list[tuple[int, bytes]]) -> None:
        for number, name in told:
            with contextlib.suppress(OSError):  # it has forgotten the name already
                self._invalidate(number, name)


def _is_known(folder: Inode | None) -> bool:
    """Whether a change of its attributes would be seen: those that it had are known."""
    return folder is None or folder.seq != 0
