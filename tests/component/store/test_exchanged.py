"""Chunks of well contents that lie under each other's names, as when somebody mixed files up: no repair loses what is whole."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from meta.protocol.object import ObjectRow
from rawx.attributes import RECORD_ATTRIBUTE
from store.layout import Layout
from store.policy import PolicySet
from store.recode import recode
from store.repair import Need, current, remake
from store.store import Store
from store.workers import Settler
from tests.component.store.support import BUCKET, chunk_files, file_of, opened, put, read, records
from tests.component.store.test_scrub import by_chunks, by_metadata


def exchange(one: Path, other: Path) -> None:
    aside = one.with_name("aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


def files_of(store: Store, row: ObjectRow) -> list[Path]:
    layout = Layout.parse(row.layout)
    return [file_of(store, layout, chunk) for chunk in layout.metachunks[0].chunks]


@pytest.mark.parametrize("order", ["chunks", "meta chunks"])
@pytest.mark.parametrize(("volumes", "keys"), [(1, "ab"), (3, "ab"), (1, "aa")])
async def test_all_that_was_exchanged_comes_back(tmp_path: Path, order: str, volumes: int, keys: str) -> None:
    rng = random.Random(1)
    async with opened(tmp_path, volumes) as store:
        await store.meta.container(BUCKET).change_settings(versioning="Enabled")
        bodies = [rng.randbytes(5_000) for _ in keys]
        rows = [await put(store, key, body) for key, body in zip(keys, bodies, strict=True)]
        await Settler(store._context).work()
        for one, other in zip(*(files_of(store, row) for row in rows), strict=True):
            exchange(one, other)
        for way in order.split():
            tally = await (by_chunks if way == "chunks" else by_metadata)(store)
            assert {each.problem for each in tally.damages} == {"swapped"}
        for row, body in zip(rows, bodies, strict=True):
            assert await read(store, await store.get_row(BUCKET, row.key, row.version)) == body
        assert {each.outcome for each in (await by_chunks(store)).damages} == {"deleted"}, "what nothing names any more"
        assert (await by_metadata(store)).damages == []
        assert (await by_chunks(store)).damages == []
        assert len(chunk_files(tmp_path)) == 2 * volumes


async def test_a_new_chunk_repeats_the_record_of_its_own_content(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        rows = [await put(store, key, random.Random(key).randbytes(2_000_000)) for key in "ab"]
        exchange(*(files_of(store, row)[0] for row in rows))
        await remake(store._context, Need(BUCKET, await current(store._context, BUCKET, rows[0]), 0, frozenset({5})))
        found = await records(store, await store.get_row(BUCKET, "a"))
        assert [record.key for record in found] == ["b", *"aaaaaaaa"]


async def test_another_policy_repeats_the_records_of_the_content_itself(tmp_path: Path) -> None:
    """Else the next scrub took every chunk of it for a duplicate of the other object's."""
    async with opened(tmp_path, 9) as store:
        rows = [await put(store, key, random.Random(key).randbytes(2_000_000)) for key in "ab"]
        exchange(*(files_of(store, row)[0] for row in rows))
        await recode(store._context, BUCKET, await current(store._context, BUCKET, rows[0]), PolicySet.of_bucket("EC42", 9))
        assert {record.key for record in await records(store, await store.get_row(BUCKET, "a"))} == {"a"}


@pytest.mark.parametrize("deep", [True, False])
async def test_bytes_under_another_contents_record_are_not_deleted_as_its_duplicate(tmp_path: Path, deep: bool) -> None:
    async with opened(tmp_path, 1) as store:
        bodies = {key: random.Random(key).randbytes(5_000) for key in "ab"}
        rows = {key: await put(store, key, body) for key, body in bodies.items()}
        await Settler(store._context).work()
        (one,), (other,) = (files_of(store, rows[key]) for key in "ab")
        record = os.getxattr(one, RECORD_ATTRIBUTE)
        os.setxattr(one, RECORD_ATTRIBUTE, os.getxattr(other, RECORD_ATTRIBUTE))
        found = (await by_chunks(store, deep=deep)).damages
        assert [(each.problem, each.outcome) for each in found] == [("duplicated", "told")]
        os.setxattr(one, RECORD_ATTRIBUTE, record)
        assert [await read(store, row) for row in rows.values()] == list(bodies.values())
        assert (await by_chunks(store)).damages == []
