"""Where the reader of a folder goes on."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import trio

from fs.attribute import Defaults
from fs.connection import Connection
from fs.listing import DOTS, Listing
from fs.shared import Shared
from fs.spool import SpoolFolder
from fs.tree import Tree
from meta.protocol.folder import BrowsePage
from node.errors import PeerUnreachable
from tests.unit.fs.test_tree import Bucket


class Away(Bucket):
    """Does not answer once `away`."""

    away = False

    async def browse(self, bucket: str, prefix: str, begin: str = "") -> BrowsePage:
        if self.away:
            raise PeerUnreachable("away")
        page = await super().browse(bucket, prefix)
        nodes = [node for node in page.nodes if node.key >= begin]
        return BrowsePage(nodes[:2], nodes[2].key if nodes[2:] else "")


def listing_of(store: Bucket, path: Path, nursery: trio.Nursery) -> Listing:
    tree = Tree(Shared(cast(Connection, store), SpoolFolder(path), nursery), Defaults(), bucket="b")
    return Listing(tree, tree.table.root)


async def read(listing: Listing, number: int, count: int = 99) -> dict[int, str]:
    """So many of the names behind a number, by their numbers."""
    found: dict[int, str] = {}
    while len(found) < count and (entry := await listing.after(number)) is not None:
        number = entry[0]
        found[number] = entry[1][0].decode()
    return found


async def test_a_reader_that_goes_back_misses_nothing_and_sees_nothing_twice_whatever_was_made_and_removed(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    store = Bucket()
    for key in "bcdefg":
        store.keep(key, b"")
    listing = listing_of(store, tmp_path, nursery)
    first = await read(listing, DOTS, 3)
    assert list(first.values()) == ["b", "c", "d"]
    for key in "bcf":
        del store.rows[key]
    store.keep("a", b"")
    there = next(number for number, name in first.items() if name == "c")
    again = await read(listing, there)
    assert [name for name in again.values() if name != "f"] == ["d", "e", "g"]
    assert again.items() >= {number: name for number, name in first.items() if number > there}.items()
    listing.rewind()
    assert list((await read(listing, DOTS)).values()) == ["a", "d", "e", "g"]


async def test_a_listing_goes_on_where_the_store_went_away(tmp_path: Path, nursery: trio.Nursery) -> None:
    store = Away()
    for key in "abcde":
        store.keep(key, b"")
    listing = listing_of(store, tmp_path, nursery)
    seen = await read(listing, DOTS, 2)
    store.away = True
    try:
        await read(listing, max(seen))
    except PeerUnreachable:
        store.away = False
    assert not store.away
    assert list((seen | await read(listing, max(seen))).values()) == list("abcde")
