"""Changes of names while others are under way."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import trio
from msgspec.structs import replace

from fs.attribute import Defaults
from fs.change import Caller, Changes
from fs.connection import Connection
from fs.recovery import recover
from fs.shared import Shared
from fs.spool import MEMORY_BYTES_FILE_MAX, SpoolFolder
from fs.tree import Tree
from meta.protocol.folder import BrowsePage, Node, Peek
from meta.protocol.object import ObjectRow
from node.errors import FolderNotEmpty, ObjectNotFound
from store.debts import Debts
from tests.unit.fs.test_recovery import Store

LARGE = bytes(range(256)) * (MEMORY_BYTES_FILE_MAX // 256 + 1)
"""Its spool is on disk."""


class Folders(Store):
    """A move waits until it may; a removal is told of before it takes place."""

    def __init__(self) -> None:
        super().__init__()
        self.move_asked, self.may_move, self.moved = trio.Event(), trio.Event(), trio.Event()

    async def peek(self, bucket: str, key: str) -> Peek:
        return Peek(self.rows.get(key), any(each.startswith(key + "/") for each in self.rows), self.rows.get(key + "/"))

    async def browse(self, bucket: str, prefix: str, begin: str = "", limit: int = 9) -> BrowsePage:
        return BrowsePage([Node(key, row) for key, row in sorted(self.rows.items()) if key.startswith(prefix)])

    async def move(self, bucket: str, source: str, target: str, *, replace: bool) -> None:
        self.move_asked.set()
        await self.may_move.wait()
        for key in [key for key in self.rows if key.startswith(source)]:
            new = target + key[len(source) :]
            self.rows[new] = ObjectRow(new, size=self.rows[key].size, content=self.rows.pop(key).content)
        self.moved.set()

    async def remove(self, bucket: str, key: str) -> None:
        await self.moved.wait()
        self.rows.pop(key, None)

    async def remove_many(self, bucket: str, contents: Mapping[str, str]) -> dict[str, str]:
        for key, content in contents.items():
            if key in self.rows and self.rows[key].content == content:
                del self.rows[key]
        return {}

    async def remove_folder(self, bucket: str, prefix: str) -> None:
        if any(key.startswith(prefix) and key != prefix for key in self.rows):
            raise FolderNotEmpty(prefix)
        del self.rows[prefix]

    async def change(self, bucket: str, row: ObjectRow, describe: object) -> ObjectRow:
        if row.key not in self.rows:
            raise ObjectNotFound(row.key)
        return self.rows[row.key]


@asynccontextmanager
async def mounted(
    store: Store, path: Path, *, cold: str = "error", late: bool = False, debts: Debts | None = None
) -> AsyncIterator[tuple[Tree, Changes]]:
    spools = SpoolFolder(path)
    assert await spools.open()
    async with trio.open_nursery() as nursery:
        tree = Tree(Shared(cast(Connection, store), spools, nursery, cold=cold, debts=debts), Defaults(), bucket="b")
        changes = Changes(tree, buckets=False, late=late)
        await nursery.start(changes.behind.run)
        yield tree, changes
        nursery.cancel_scope.cancel()
    spools.close()


async def test_a_file_that_is_removed_while_its_folder_moves_is_gone_from_where_it_is(tmp_path: Path) -> None:
    store = Folders()
    for key in ("d/", "d/x"):
        store.keep(key, b"")
    async with mounted(store, tmp_path) as (tree, changes):
        root = tree.table.root
        folder, _ = await tree.lookup(root, b"d")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: changes.rename(root, b"d", root, b"e", replace=True))
            await store.move_asked.wait()
            nursery.start_soon(changes.unlink, folder, b"x")
            await trio.testing.wait_all_tasks_blocked()
            store.may_move.set()
        assert list(store.rows) == ["e/"]


async def test_attributes_of_an_open_file_are_stored_though_its_folder_has_another_name_by_now(tmp_path: Path) -> None:
    store = Folders()
    store.may_move.set()
    for key in ("d/", "d/x"):
        store.keep(key, b"")
    async with mounted(store, tmp_path) as (tree, changes):
        root = tree.table.root
        folder, _ = await tree.lookup(root, b"d")
        inode, _ = await tree.lookup(folder, b"x")
        file = await tree.open(inode)
        await changes.rename(root, b"d", root, b"e", replace=True)
        await changes.set_xattr(inode, "user.a", b"b")
        assert file.row is not None
        assert file.row.key == "e/x"
        await tree.release(inode)


@pytest.mark.parametrize("late", [False, True])
async def test_times_of_a_file_that_another_client_removed_are_no_error_of_who_closes_it(tmp_path: Path, *, late: bool) -> None:
    store = Folders()
    store.keep("x", b"old")
    async with mounted(store, tmp_path, late=late) as (tree, changes):
        inode, _ = await tree.lookup(tree.table.root, b"x")
        file = await tree.open(inode)
        await file.restate(lambda stat: replace(stat, mtime_ns=1), dict)
        del store.rows["x"]
        await changes.saving.close(inode)
        await changes.behind.drain()
        changes.behind.check()
        with pytest.raises(ObjectNotFound):
            await changes.restate(inode, lambda stat: replace(stat, mtime_ns=2))
        await tree.release(inode)
        assert not store.rows


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize("folder", [False, True])
async def test_a_crash_leaves_what_was_written_under_the_name_that_the_file_had_then(
    tmp_path: Path, nursery: trio.Nursery, *, new: bool, folder: bool
) -> None:
    store = Folders()
    store.may_move.set()
    for key in ("d/", "d/x") if not new else ("d/",):
        store.keep(key, b"old")
    if not folder:
        store.keep("d/y", b"what it replaces")
    async with mounted(store, tmp_path / "spool", late=True) as (tree, changes):
        root = tree.table.root
        inside, _ = await tree.lookup(root, b"d")
        if new:
            inode, file = await changes.create(inside, b"x", 0o644, Caller(0, 0), exclusive=True)
        else:
            inode, _ = await tree.lookup(inside, b"x")
            file = await tree.open(inode)
        await file.write(0, LARGE)
        if folder:
            await changes.rename(root, b"d", root, b"e", replace=True)
        else:
            await changes.rename(inside, b"x", inside, b"y", replace=True)
        shutil.copytree(tmp_path / "spool", tmp_path / "crashed")
        await tree.release(inode)
    left = SpoolFolder(tmp_path / "crashed")
    assert await left.open()
    await recover(Shared(cast(Connection, store), left, nursery), Defaults())
    left.close()
    assert sorted(store.rows) == (["e/", "e/x"] if folder else ["d/", "d/y"])
    assert store.data("e/x" if folder else "d/y") == LARGE


@pytest.mark.parametrize("cold", ["error", "wait"])
async def test_an_open_file_that_is_cold_is_removed_at_once(tmp_path: Path, cold: str) -> None:
    store = Folders()
    store.moved.set()
    row = store.keep("x", b"cold")
    store.rows["x"] = ObjectRow("x", size=4, content=row.content, storage_class="GLACIER")
    async with mounted(store, tmp_path, cold=cold) as (tree, changes):
        inode, _ = await tree.lookup(tree.table.root, b"x")
        await tree.open(inode)
        with trio.fail_after(2):
            await changes.unlink(tree.table.root, b"x")
        assert not store.rows
        await tree.release(inode)


async def test_others_are_not_held_up_by_a_save_that_waits_for_a_cold_object(tmp_path: Path) -> None:
    store = Folders()
    store.may_move.set()
    row = store.keep("x", b"cold")
    store.rows["x"] = ObjectRow("x", size=4, content=row.content, storage_class="GLACIER")
    store.keep("y", b"warm")
    async with mounted(store, tmp_path, cold="wait") as (tree, changes):
        root = tree.table.root
        inode, _ = await tree.lookup(root, b"x")
        file = await tree.open(inode)
        await file.write(1, b"0")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(changes.saving.save, inode)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(2):
                await changes.rename(root, b"y", root, b"z", replace=True)
            nursery.cancel_scope.cancel()
        assert sorted(store.rows) == ["x", "z"]


@pytest.mark.parametrize("again", [1, 2])
async def test_what_a_new_file_replaced_by_rename_doesnt_come_back_when_that_is_removed_before_it_is_stored(
    tmp_path: Path, again: int
) -> None:
    store = Folders()
    store.may_move.set()
    store.keep("x", b"old")
    async with mounted(store, tmp_path, late=True) as (tree, changes):
        root = tree.table.root
        for number in range(again):
            new, file = await changes.create(root, b"new%d" % number, 0o644, Caller(0, 0), exclusive=True)
            await file.write(0, b"new")
            await changes.rename(root, new.name, root, b"x", replace=True)
        await changes.unlink(root, b"x")
        with pytest.raises(FileNotFoundError):
            await tree.lookup(root, b"x")
        await changes.behind.drain()
        assert not store.rows


async def test_what_a_new_file_replaced_by_rename_doesnt_come_back_when_that_gets_a_third_name(tmp_path: Path) -> None:
    store = Folders()
    store.may_move.set()
    store.keep("x", b"old")
    async with mounted(store, tmp_path, late=True) as (tree, changes):
        root = tree.table.root
        new, file = await changes.create(root, b"new", 0o644, Caller(0, 0), exclusive=True)
        await file.write(0, b"new")
        await changes.rename(root, b"new", root, b"x", replace=True)
        await changes.rename(root, b"x", root, b"y", replace=True)
        with pytest.raises(FileNotFoundError):
            await tree.lookup(root, b"x")
        await changes.saving.save(new)
        assert list(store.rows) == ["y"]
        assert store.data("y") == b"new"


@pytest.mark.parametrize("removed", [False, True])
async def test_what_another_mount_owes_of_a_folder_is_stored_before_the_folder_goes_elsewhere_or_away(
    tmp_path: Path, nursery: trio.Nursery, removed: bool
) -> None:
    store = Folders()
    store.may_move.set()
    store.keep("d/", b"")
    if removed:
        store.keep("d/x", b"")
    theirs, ours = Debts(tmp_path), Debts(tmp_path)

    async def pay(bucket: str, key: str) -> None:
        if key in ("", "d/x"):
            if removed:
                store.rows.pop("d/x", None)
            else:
                store.keep("d/x", b"theirs")
            theirs.owe(False)

    await nursery.start(theirs.serve, pay)
    theirs.owe(True)
    async with mounted(store, tmp_path / "spool", debts=ours) as (tree, changes):
        if removed:
            await changes.rmdir(tree.table.root, b"d")
            assert not store.rows
        else:
            await changes.rename(tree.table.root, b"d", tree.table.root, b"e", replace=True)
            assert sorted(store.rows) == ["e/", "e/x"]
    nursery.cancel_scope.cancel()
