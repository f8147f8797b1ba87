"""Listings, lookups and open files."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import trio

from fs.attribute import Defaults, file_stat
from fs.connection import Connection
from fs.file import File
from fs.shared import Shared
from fs.spool import SpoolFolder
from fs.tree import Tree
from meta.protocol.folder import BrowsePage, Node, Peek
from meta.protocol.object import Attributes, ObjectRow
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


async def test_a_new_file_that_is_stored_or_removed_while_a_listing_goes_on_shows_once_or_not(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = Bucket()
    store.keep("a", b"old")
    spools = SpoolFolder(tmp_path)
    assert await spools.open()
    shared = Shared(cast(Connection, store), spools, nursery)
    tree = Tree(shared, Defaults(), bucket="b")
    root, stat = tree.table.root, file_stat(ObjectRow("x"), Defaults())
    files: dict[str, File] = {}
    for part in ("closed", "open", "removed", "saved"):
        inode = tree.table.add(root, part.encode(), part, folder=False)
        inode.file = files[part] = File(shared, inode, None, stat)
        tree.table.open(inode)
        await files[part].write(0, part.encode())
    listing = tree.entries(root)
    seen = [(await anext(listing))[0]]
    for part in ("saved", "closed"):
        await files[part].save()
    closed, removed = tree.table.child(root, b"closed"), tree.table.child(root, b"removed")
    assert closed is not None
    assert removed is not None
    await tree.release(closed)
    tree.table.detach(removed)
    seen += [name async for name, _, _ in listing]
    assert sorted(seen) == [b"a", b"closed", b"open", b"saved"]


class Folders(Store):
    """Has one, for which an object stands. Counts who looks."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    async def peek(self, bucket: str, key: str) -> Peek:
        self.looks += 1
        return Peek(None, True, ObjectRow("d/", attributes=Attributes(metadata={"mode": "493", "mtime": "7"})))


@pytest.mark.parametrize(("attr_timeout", "looks"), [(0.0, 3), (60.0, 1)])
async def test_a_folders_attributes_are_looked_up_again_after_attr_timeout_and_show_at_once_what_was_changed_in_it(
    tmp_path: Path, nursery: trio.Nursery, attr_timeout: float, looks: int
) -> None:
    store = Folders()
    tree = Tree(Shared(cast(Connection, store), SpoolFolder(tmp_path), nursery), Defaults(), bucket="b", attr_timeout=attr_timeout)
    inode, stat = await tree.lookup(tree.table.root, b"d")
    assert stat.mtime_ns == 7_000_000_000
    assert await tree.stat(inode) == stat
    inode.touched_ns = 9_000_000_000
    assert (await tree.stat(inode)).mtime_ns == 9_000_000_000
    assert store.looks == looks


async def test_a_prefix_that_nothing_has_is_an_empty_folder_where_it_is_mounted(tmp_path: Path, nursery: trio.Nursery) -> None:
    tree = Tree(Shared(cast(Connection, Bucket()), SpoolFolder(tmp_path), nursery), Defaults(), bucket="b", prefix="p/")
    assert (await tree.stat(tree.table.root)).is_folder
    assert [entry async for entry in tree.entries(tree.table.root)] == []
