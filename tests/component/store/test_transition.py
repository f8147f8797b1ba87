"""Another storage class in place: records follow, bytes only where the class has a policy of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.protocol.object import Change, ObjectRow, Seen
from node.errors import Superseded
from store.layout import Layout
from store.policy import THREECOPIES, TWOCOPIES, PolicySet
from store.store import Store
from store.transition import transition
from tests.component.store.support import BUCKET, opened, put, read, until_none

DATA = b"ice" * 100_000


async def moved(store: Store, row: ObjectRow, storage_class: str) -> ObjectRow:
    return await transition(store._context, BUCKET, row, storage_class, Seen(row.seq))


async def records(store: Store, row: ObjectRow) -> set[tuple[str, int]]:
    found = set()
    for volume, chunk in Layout.parse(row.layout).places():
        record = (await store.volumes[volume].head(chunk, deep=True)).record
        assert record.object is not None
        found.add((record.object.storage_class, record.object.version))
    return found


async def test_the_chunks_say_the_new_class_and_nothing_else_changes(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        row = await put(store, "k", DATA)
        row = await store.get_row(BUCKET, "k")
        after = await moved(store, row, "STANDARD_IA")
        same = ("key", "version", "etag", "mtime_us", "size", "content", "layout", "attributes", "policy")
        assert [getattr(after, name) for name in same] == [getattr(row, name) for name in same]
        await until_none(lambda: store.meta.container(BUCKET).records_to_sync(10))
        assert await records(store, after) == {("STANDARD_IA", row.version)}


async def test_a_class_with_its_own_policy_gets_its_bytes_under_it(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, workers=True) as store:
        store._context.classes = {"STANDARD_IA": PolicySet(TWOCOPIES, TWOCOPIES)}
        await put(store, "k", DATA)
        before = await store.get_row(BUCKET, "k")
        after = await moved(store, before, "STANDARD_IA")
        assert (after.storage_class, after.version, after.etag) == ("STANDARD_IA", before.version, before.etag)
        assert Layout.parse(after.layout).policies == (TWOCOPIES,)
        assert await read(store, after) == DATA
        await until_none(lambda: store.meta.container(BUCKET).records_to_sync(10))
        assert await records(store, after) == {("STANDARD_IA", before.version)}
        store._context.classes["GLACIER"] = PolicySet(THREECOPIES, THREECOPIES)
        cold = await moved(store, await store.get_row(BUCKET, "k"), "GLACIER")
        assert Layout.parse(cold.layout).policies == (THREECOPIES,)


async def test_what_was_changed_since_it_was_seen_stays(tmp_path: Path) -> None:
    async with opened(tmp_path, 1) as store:
        await put(store, "k", DATA)
        row = await store.get_row(BUCKET, "k")
        await store.meta.container(BUCKET).change(Change("k", tags={"keep": "me"}))
        with pytest.raises(Superseded):
            await moved(store, row, "GLACIER")
        assert (await store.get_row(BUCKET, "k")).storage_class == "STANDARD"
