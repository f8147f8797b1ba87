"""Listings, lookups and open files."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import trio

from fs.attribute import Defaults
from fs.connection import Connection
from fs.file import Shared
from fs.spool import SpoolFolder
from fs.tree import Tree
from meta.protocol.folder import BrowsePage, Node, Peek
from tests.unit.fs.test_recovery import Store


class Bucket(Store):
    """As a folder without folders in it."""

    async def browse(self, bucket: str, prefix: str, begin: str = "") -> BrowsePage:
        return BrowsePage([Node(key, row) for key, row in sorted(self.rows.items())])

    async def peek(self, bucket: str, key: str) -> Peek:
        return Peek(self.rows.get(key))


async def test_a_listing_that_began_before_a_save_doesnt_part_the_open_file_from_its_name(tmp_path: Path, nursery: trio.Nursery) -> None:
    store = Bucket()
    for key in ("a", "z"):
        store.keep(key, b"old")
    spools = SpoolFolder(tmp_path)
    assert await spools.open()
    tree = Tree(Shared(cast(Connection, store), spools, nursery), Defaults(), bucket="b")
    root = tree.table.root
    listing = tree.entries(root)
    assert (await anext(listing))[0] == b"a"
    inode, _ = await tree.lookup(root, b"z")
    file = await tree.open(inode)
    await file.write(0, b"new")
    await file.save()
    name, shown, stat = await anext(listing)
    assert await anext(listing, None) is None
    assert (name, shown) == (b"z", inode)
    assert stat == file.stat
    await file.write(3, b" and more")
    await file.save()
    assert store.data("z") == b"new and more"
    await tree.release(inode)
    spools.close()
