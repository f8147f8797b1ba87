"""Folders moved, exchanged and removed, on every Meta."""

from __future__ import annotations

import random

import pytest

from meta import browse
from meta.protocol.container import Container
from meta.protocol.listing import ListRequest
from meta.protocol.object import DeleteRequest, ObjectRow
from node.errors import AlreadyExists, FolderNotEmpty, InvalidArgument, ObjectNotFound


async def put(container: Container, *keys: str) -> None:
    for key in keys:
        await container.put(ObjectRow(key, size=1, etag=f"e{key}", content=f"c{key}", layout=f"l{key}".encode()))


async def contents(container: Container) -> dict[str, str]:
    page = await container.list(ListRequest())
    return {listed.key: (await container.get(listed.key)).content for listed in page.rows}


async def test_a_folder_moves_with_all_that_lies_in_it(container: Container) -> None:
    await put(container, "a/", "a/x", "a/y/z", "a", "ab")
    moved = await container.move_folder("a/", "n/m/", replace=True)
    assert moved.count == 3
    assert await contents(container) == {"a": "ca", "ab": "cab", "n/m/": "ca/", "n/m/x": "ca/x", "n/m/y/z": "ca/y/z"}


async def test_the_moved_are_known_and_their_records_follow(container: Container) -> None:
    await put(container, "a/x", "a/y")
    seen = {each.id for each in await container.records_to_sync(100)}
    await container.move_folder("a/", "b/", replace=False)
    assert await container.knows("a/x", "ca/x")
    stale = [each.row.key for each in await container.records_to_sync(100) if each.row is not None and each.id not in seen]
    assert sorted(stale) == ["b/x", "b/y"]
    await container.move_folder("b/", "c/", replace=False)
    await container.delete(DeleteRequest("c/x"))
    assert await container.knows("", "ca/y")
    assert (await container.get("c/y")).seq > 0


async def test_only_an_empty_folder_is_replaced(container: Container) -> None:
    await put(container, "a/x", "b/", "c/y")
    with pytest.raises(AlreadyExists):
        await container.move_folder("a/", "b/", replace=False)
    with pytest.raises(FolderNotEmpty):
        await container.move_folder("a/", "c/", replace=True)
    moved = await container.move_folder("a/", "b/", replace=True)
    assert [each.layout for each in moved.dropped] == [b"lb/"]
    assert await contents(container) == {"b/x": "ca/x", "c/y": "cc/y"}


async def test_a_folder_is_not_moved_into_itself_and_nothing_is_not_moved(container: Container) -> None:
    await put(container, "a/x")
    for source, target, error in (("a/", "a/b/", InvalidArgument), ("n/", "m/", ObjectNotFound), ("a", "b/", InvalidArgument)):
        with pytest.raises(error):
            await container.move_folder(source, target, replace=True)
    assert await contents(container) == {"a/x": "ca/x"}


async def test_an_exchange_gives_each_the_others_name(container: Container) -> None:
    await put(container, "a", "b", "f/x", "f/", "g/h/y")
    await container.exchange("a", "b")
    await container.exchange("f/", "g/h/")
    await container.exchange("a", "f/")
    assert await contents(container) == {"f": "cb", "b": "ca", "a/y": "cg/h/y", "g/h/x": "cf/x", "g/h/": "cf/"}
    with pytest.raises(ObjectNotFound):
        await container.exchange("f", "nothing")
    assert (await contents(container))["f"] == "cb"


async def test_only_an_empty_folder_is_removed(container: Container) -> None:
    await put(container, "a/", "a/x")
    with pytest.raises(FolderNotEmpty):
        await container.remove_folder("a/")
    await container.delete(DeleteRequest("a/x"))
    assert [each.layout for each in (await container.remove_folder("a/")).dropped] == [b"la/"]
    with pytest.raises(ObjectNotFound):
        await container.remove_folder("a/")
    assert await contents(container) == {}


@pytest.mark.parametrize("versioning", ["", "Enabled", "Suspended"])
async def test_moves_at_once_and_one_by_one_come_to_the_same(container: Container, versioning: str) -> None:
    """With versions each row is moved by itself; without, SQLite moves them all."""
    if versioning:
        await container.change_settings(versioning=versioning)
    chance = random.Random(3)
    keys = {"s/" + "".join(chance.choice("aé/0\0") for _ in range(chance.randint(0, 5))) for _ in range(40)}
    await put(container, *keys, "other")
    before = await container.counters()
    moved = await container.move_folder("s/", "täräget/", replace=True)
    assert moved.count == len(keys)
    expected = {f"täräget/{key[2:]}": f"c{key}" for key in keys} | {"other": "cother"}
    assert await contents(container) == expected
    assert (await container.counters()).classes == before.classes


async def test_an_exchange_of_a_file_and_a_folder_covers_nothing_that_has_their_names_already(container: Container) -> None:
    await put(container, "a", "a/x", "b", "c", "c/y")
    before = await contents(container)
    for one, other in (("a/", "b"), ("b", "a/"), ("a/", "c"), ("c", "a/")):
        with pytest.raises(AlreadyExists):
            await container.exchange(one, other)
        assert await contents(container) == before


async def test_a_folder_is_not_empty_though_what_it_holds_lies_behind_many_deleted_keys(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "ROWS_SEEN_MAX", 10)
    await container.change_settings(versioning="Enabled")
    deleted = [f"a/{number:02}" for number in range(30)]
    await put(container, *deleted, "b/", "c/x")
    await container.delete_many([DeleteRequest(key) for key in deleted])
    await put(container, "a/z")
    with pytest.raises(FolderNotEmpty):
        await container.remove_folder("a/")
    await put(container, "a/")
    with pytest.raises(FolderNotEmpty):
        await container.remove_folder("a/")
    with pytest.raises(FolderNotEmpty):
        await container.move_folder("c/", "a/", replace=True)
    await container.delete(DeleteRequest("a/z"))
    await container.remove_folder("a/")
    assert await contents(container) == {"b/": "cb/", "c/x": "cc/x"}
