"""An open folder: what its reader was shown, and where it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from fs.attribute import Stat
from fs.inode import Inode
from fs.tree import Tree
from node.errors import NotFound

DOTS = 2
"""The numbers that "." and ".." have; those of what the folder holds follow."""
Entry = tuple[bytes, Inode, Stat]


class Listing:
    """Of one handle. An entry keeps the number that it was read with first: a reader that goes back (seekdir, or a buffer that was too
    small for what the kernel had asked for) is shown those behind that are still there, none twice, whatever was made and removed."""

    def __init__(self, tree: Tree, folder: Inode) -> None:
        self.folder = folder
        self._tree = tree
        self._names: list[bytes] = []
        self._rest: AsyncIterator[Entry] | None = None

    def __repr__(self) -> str:
        return f"<Listing {self.folder!r} read={len(self._names)}>"

    def rewind(self) -> None:
        """As if it were opened now."""
        self._names, self._rest = [], None

    async def after(self, number: int) -> tuple[int, Entry] | None:
        """The next entry that is there, with its number. Raises: as Tree.entries."""
        place = number - DOTS
        while place < len(self._names):
            name = self._names[place]
            place += 1
            with suppress(NotFound, FileNotFoundError):
                return place + DOTS, (name, *await self._tree.lookup(self.folder, name))
        while (entry := await self._read()) is not None:
            if len(self._names) > place:
                return len(self._names) + DOTS, entry
        return None

    async def _read(self) -> Entry | None:
        """One that was not read before. After an error the folder is read anew."""
        if self._rest is None:
            self._rest = self._others(frozenset(self._names))
        try:
            entry = await anext(self._rest, None)
        except BaseException:
            self._rest = None
            raise
        if entry is not None:
            self._names.append(entry[0])
        return entry

    async def _others(self, known: frozenset[bytes]) -> AsyncIterator[Entry]:
        async for entry in self._tree.entries(self.folder):
            if entry[0] not in known:
                yield entry
