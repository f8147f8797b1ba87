"""What others change is told to the kernel; what this mount changed itself is not."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import trio

from fs.attribute import Defaults, file_stat
from fs.connection import Connection
from fs.file import File
from fs.follower import Follower
from fs.inode import INODES_MAX, Inode
from fs.name import show
from fs.shared import Shared
from fs.spool import SpoolFolder
from fs.tree import Tree
from meta.protocol.folder import ChangedKey, Changes, Peek
from meta.protocol.object import ObjectRow


class Store:
    """Answers with what `rows` and `log` say."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.log: list[ChangedKey] = []
        self.lost = False
        self.marked = 0
        self.looked_at: list[str] = []

    async def changes(self, bucket: str, after: int) -> Changes:
        return Changes(len(self.log), self.log[after:] if after >= 0 else [], self.lost and after >= 0)

    async def peek(self, bucket: str, key: str) -> Peek:
        self.looked_at.append(key)
        content = self.rows.get(key)
        folder = any(each.startswith(key + "/") for each in self.rows)
        marker = ObjectRow(key + "/", seq=self.marked) if self.marked and key == "a" else None
        return Peek(None if content is None else ObjectRow(key, content=content, seq=1), folder, marker)


class Mount:
    """A tree of the files a/x, a/y and b that the kernel knows."""

    def __init__(self) -> None:
        self.store = Store()
        self.told: list[tuple[int, bytes]] = []
        shared = cast(Shared, type("Shared", (), {"connection": cast(Connection, self.store)})())
        self.tree = Tree(shared, Defaults(), bucket="b")
        self.follower = Follower(self.tree, lambda number, name: self.told.append((number, name)))
        root = self.tree.table.root
        self.folder = self.add(root, "a", folder=True)
        self.x, self.y, self.file = self.add(self.folder, "x"), self.add(self.folder, "y"), self.add(root, "b")
        self.store.rows = {"a/x": "cx", "a/y": "cy", "b": "cb"}

    def add(self, parent: Inode, part: str, *, folder: bool = False) -> Inode:
        inode = self.tree.table.add(parent, part.encode(), part, folder=folder)
        inode.lookups, inode.content = 1, "" if folder else f"c{part}"
        return inode

    async def heard(self) -> list[bytes]:
        """The names that the kernel is told after one more look."""
        await self.follower.follow(self.tree.table.root)
        told, self.follower._told = self.follower._told, []
        return [name for _, name in told]


async def test_a_replaced_and_a_removed_object_are_told_and_own_changes_are_not() -> None:
    mount = Mount()
    assert await mount.heard() == []
    mount.store.rows |= {"a/x": "another"}
    del mount.store.rows["b"]
    mount.store.log += [ChangedKey("a/x"), ChangedKey("a/y"), ChangedKey("b"), ChangedKey("new/one")]
    assert sorted(await mount.heard()) == [b"b", b"x"]
    assert await mount.heard() == []


async def test_a_file_beside_a_folder_of_its_name_that_another_replaced_is_told() -> None:
    mount = Mount()
    await mount.heard()
    beside = mount.tree.table.add(mount.tree.table.root, show("a", beside=True).encode(), "a", folder=False)
    beside.beside, beside.content, beside.lookups = True, "ca", 1
    mount.store.rows |= {"a": "ca"}
    mount.store.log.append(ChangedKey("a"))
    assert await mount.heard() == []
    mount.store.rows |= {"a": "another"}
    mount.store.log.append(ChangedKey("a"))
    assert await mount.heard() == [beside.name]


async def test_of_a_file_that_is_there_no_folder_is_looked_at() -> None:
    mount = Mount()
    await mount.heard()
    mount.folder.seq = 0  # as after a move
    mount.store.log.append(ChangedKey("a/x"))
    assert await mount.heard() == []
    assert mount.store.looked_at[-1] == "a", "its attributes were not known"
    mount.store.looked_at.clear()
    mount.store.log.append(ChangedKey("a/x"))
    assert await mount.heard() == []
    assert mount.store.looked_at == ["a/x"]


async def test_an_open_file_that_another_replaced_is_told_unless_it_was_written_to(tmp_path: Path, nursery: trio.Nursery) -> None:
    mount = Mount()
    await mount.heard()
    spools = SpoolFolder(tmp_path)
    for inode in (mount.x, mount.y):
        row = ObjectRow(inode.part, content=inode.content)
        inode.file = File(Shared(cast(Connection, mount.store), spools, nursery), inode, row, file_stat(row, Defaults()))
    assert isinstance(mount.y.file, File)
    await mount.y.file.write(0, b"written")
    mount.store.rows |= {"a/x": "another", "a/y": "another"}
    mount.store.log += [ChangedKey("a/x"), ChangedKey("a/y")]
    assert await mount.heard() == [b"x"]


async def test_a_folder_that_is_gone_with_its_last_object_is_told() -> None:
    mount = Mount()
    await mount.heard()
    mount.store.rows = {"b": "cb"}
    mount.store.log += [ChangedKey("a/x"), ChangedKey("a/y")]
    assert set(await mount.heard()) == {b"x", b"y", b"a"}


async def test_a_folder_whose_attributes_others_changed_keeps_its_name() -> None:
    mount = Mount()
    await mount.heard()
    for seq, told in ((7, [b""]), (8, [b""]), (8, [])):
        mount.store.marked = seq
        mount.store.log.append(ChangedKey("a/"))
        mount.folder.stated = (9.0, None)
        assert await mount.heard() == told
        assert (mount.folder.stated is None) == bool(told)


async def test_what_changed_between_the_first_lookups_and_the_first_look_at_the_log_is_told() -> None:
    mount = Mount()
    mount.store.rows |= {"a/x": "another"}
    assert await mount.heard() == [b"x"]


async def test_a_log_that_was_cut_makes_everything_doubtful() -> None:
    mount = Mount()
    await mount.heard()
    mount.store.lost = True
    assert set(await mount.heard()) == {b"a", b"x", b"y", b"b"}


async def test_a_folder_that_this_mount_moved_is_not_told() -> None:
    mount = Mount()
    await mount.heard()
    mount.tree.moves.append(("b", "a/"))
    mount.store.log.append(ChangedKey("a/", folder=True))
    assert await mount.heard() == []
    mount.store.log.append(ChangedKey("a/", folder=True))
    assert set(await mount.heard()) == {b"x", b"y"}


def test_beyond_the_limit_the_oldest_unused_are_let_go() -> None:
    mount = Mount()
    mount.tree.table.open(mount.x)
    for number in range(INODES_MAX):
        mount.tree.table.add(mount.tree.table.root, b"%d" % number, str(number), folder=False).lookups = number % 2
    mount.follower.forget_oldest()
    told = [name for _, name in mount.follower._told]
    assert b"y" in told
    assert b"x" not in told
    assert len(mount.tree.table) < INODES_MAX
