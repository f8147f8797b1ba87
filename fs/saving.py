"""How open files become objects: at once, or after they were closed, many together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fs.behind import Behind
from fs.file import File
from fs.gate import Gate
from fs.inode import Inode
from fs.patience import may_help
from fs.tree import Tree
from meta.protocol.object import ObjectRow
from node.errors import FrazilError, ObjectNotFound, Superseded
from store.together import Small

LATE_BYTES_MAX = 1 << 20
"""Files up to here are stored after they were closed, where that is wished."""


TOGETHER_BYTES_ALL_MAX = 8 << 20
"""Of the files that are stored by one call: they lie in memory once more meanwhile."""


class Saving:
    """Of one tree. late: closing a small file doesn't wait for the store."""

    def __init__(self, tree: Tree, gate: Gate, *, late: bool) -> None:
        """gate: closed while files get other names."""
        self._tree, self._gate, self._late = tree, gate, late
        self.behind = Behind(tree.connection, self, tree.shared.debts.owe)

    def __repr__(self) -> str:
        return f"<Saving {self.behind!r}>"

    async def save(self, inode: Inode, *, stated: bool = False) -> None:
        """Makes an open file durable and visible. Raises: what the store raises.

        stated: it is for its attributes that this is asked. Else those of a file whose name stands for another object by now go with it.
        """
        if isinstance(inode.file, File) and inode.file.unsaved and not inode.gone:
            if inode.place in self.behind.removing:
                await self.behind.settle()
            await self.thaw(inode)
            async with self._gate.passing():
                with self.watched():
                    try:
                        await inode.file.save()
                    except (Superseded, ObjectNotFound):
                        if stated or inode.file.rewritten:
                            raise
                        inode.file.forgo()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """While the store is in trouble nothing is left for later: whoever calls is to hear of it."""
        try:
            yield
        except FrazilError as error:
            if may_help(error):
                self.behind.trouble = error
            raise
        else:
            self.behind.trouble = None

    @property
    def leaves(self) -> bool:
        """Whether what can wait is left for later."""
        return self._late and self.behind.trouble is None

    async def thaw(self, *inodes: Inode) -> None:
        """Before the gate, where others would wait for it, too: what a save has to read of a cold object may be hours away."""
        for inode in inodes:
            if isinstance(inode.file, File):
                await inode.file.thaw()

    async def close(self, inode: Inode) -> None:
        """One of its handles is closed: what was written is visible then, or is so in a moment."""
        file = inode.file
        if self.leaves and isinstance(file, File) and file.unsaved and not inode.gone and file.stat.size <= LATE_BYTES_MAX:
            self._tree.table.open(inode)
            await self.behind.save_later(inode)
        else:
            await self.save(inode)

    async def save_late(self, inode: Inode) -> None:
        file = inode.file
        assert isinstance(file, File)
        await self.save(inode)
        while file.unsaved and inode.opened == 1 and not inode.gone:  # cut or restated meanwhile, by who left that to the last holder
            await self.save(inode)

    async def save_together(self, inodes: Sequence[Inode]) -> None:
        """Those that are small, new and at rest, by one request for each bucket. What is not saved then `save_late` saves or tells why."""
        async with self._gate.passing():
            taken: dict[str, list[tuple[File, Small]]] = {}
            room = TOGETHER_BYTES_ALL_MAX
            try:
                for inode in inodes:
                    file = inode.file
                    if not isinstance(file, File) or inode.place in self.behind.removing or not file.lock.take():
                        continue
                    small = file.small() if file.stat.size <= room else None
                    if small is None:
                        file.lock.give_back()
                    else:
                        room -= len(small.data)
                        taken.setdefault(inode.place[0], []).append((file, small))
                for bucket, files in taken.items():
                    await self._put_together(bucket, files)
            finally:
                for files in taken.values():
                    for file, _ in files:
                        file.lock.give_back()

    async def _put_together(self, bucket: str, files: Sequence[tuple[File, Small]]) -> None:
        try:
            rows = await self._tree.connection.put_together(bucket, [small for _, small in files])
        except FrazilError:  # it is asked for one by one, and told
            return
        for (file, _), row in zip(files, rows, strict=True):
            if isinstance(row, ObjectRow):
                await file.stored(row)

    def is_saved(self, inode: Inode) -> bool:
        return not isinstance(inode.file, File) or not inode.file.unsaved or inode.gone

    async def release(self, inode: Inode) -> None:
        await self._tree.release(inode)
