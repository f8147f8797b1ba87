"""A bucket seen as folders, on every Meta."""

from __future__ import annotations

import random

import pytest

from meta.protocol.container import Container
from meta.protocol.door import Meta
from meta.protocol.folder import Node
from meta.protocol.object import DeleteRequest, ObjectRow
from node.errors import BucketNotFound


def row(key: str) -> ObjectRow:
    return ObjectRow(key, size=1, etag="e", content=f"c{key}", layout=b"l")


async def put(container: Container, *keys: str) -> None:
    for key in keys:
        await container.put(row(key))


async def all_nodes(container: Container, prefix: str, limit: int) -> list[Node]:
    nodes: list[Node] = []
    begin = ""
    while True:
        page = await container.browse(prefix, begin, limit)
        nodes += page.nodes
        if not page.begin:
            return nodes
        assert page.begin > begin
        begin = page.begin


def shown(nodes: list[Node]) -> list[tuple[str, bool, bool]]:
    return [(node.key, node.row is not None, node.shadowed) for node in nodes]


async def test_a_folder_shows_its_objects_and_folders(container: Container) -> None:
    await put(container, "a", "a-b", "a/", "a/x", "b/c/d", "c", "d//e", "d/")
    assert shown(await all_nodes(container, "", 100)) == [
        ("a", True, True),
        ("a-b", True, False),
        ("a/", True, False),
        ("b/", False, False),
        ("c", True, False),
        ("d/", True, False),
    ]
    assert shown(await all_nodes(container, "d/", 100)) == [("d/", True, True), ("d//", False, False)]


async def test_pages_of_any_size_show_the_same(container: Container) -> None:
    chance = random.Random(4)
    keys = {"/".join(chance.choice("abc") for _ in range(chance.randint(1, 4))) + chance.choice(["", "/"]) for _ in range(60)}
    await put(container, *keys)
    for prefix in ("", "a/", "b/c/"):
        whole = await all_nodes(container, prefix, 1000)
        for limit in (1, 2, 7):
            assert await all_nodes(container, prefix, limit) == whole


async def test_many_keys_in_a_folder_are_passed_over(container: Container) -> None:
    await put(container, *(f"a/{number:03}" for number in range(100)), "b")
    assert [node.key for node in await all_nodes(container, "", 1)] == ["a/", "b"]


async def test_deleted_keys_show_nowhere(container: Container) -> None:
    await container.change_settings(versioning="Enabled")
    await put(container, "a", "a/x", "b/y", "c", "c")
    for key in ("a/x", "b/y"):
        await container.delete(DeleteRequest(key))
    assert shown(await all_nodes(container, "", 100)) == [("a", True, False), ("c", True, False)]
    peek = await container.peek("a")
    assert (peek.row is not None, peek.folder) == (True, False)
    assert (await container.peek("b")) == (await container.peek("nothing"))


async def test_a_peek_tells_object_folder_and_marker(container: Container) -> None:
    await put(container, "a", "a/", "a/x", "b/c", "e0", "e-")
    peek = await container.peek("a")
    assert peek.row is not None
    assert peek.row.layout == b"l"
    assert peek.marker is not None
    assert (peek.row.key, peek.folder, peek.marker.key) == ("a", True, "a/")
    peek = await container.peek("b")
    assert (peek.row, peek.folder, peek.marker) == (None, True, None)
    assert not (await container.peek("e")).folder


async def test_a_bucket_that_is_not_there_is_told(meta: Meta) -> None:
    for call in (meta.container("nowhere").browse(""), meta.container("nowhere").peek("a")):
        with pytest.raises(BucketNotFound):
            await call


async def test_a_name_that_is_looked_up_again_shows_what_was_done_meanwhile(container: Container) -> None:
    for found in (False, True, False):
        assert ((await container.peek("again")).row is not None) is found
        assert ((await container.peek("again")).row is not None) is found
        if found:
            await container.delete(DeleteRequest("again"))
        else:
            await put(container, "again")
