"""Quarantine: damaged originals are listed, and go when what took their place is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.protocol.holding import Cursor
from meta.protocol.object import DeleteRequest
from node.errors import VolumeNotFound
from store import quarantine
from store.layout import Layout
from store.quarantine import Aside, Warden
from store.scrub import Scrub
from store.store import Store
from store.tally import Tally
from tests.component.store.support import BUCKET, file_of, flip, opened, put


async def damaged(store: Store, key: str) -> Layout:
    """An object whose first chunk was flipped and made anew; its layout now."""
    layout = Layout.parse((await put(store, key, bytes(300_000))).layout)
    flip(file_of(store, layout, layout.metachunks[0].chunks[0]), 0)
    await Scrub(store._context, Tally(), deep=True).holders(BUCKET, Cursor())
    return Layout.parse((await store.get_row(BUCKET, key)).layout)


async def listed(store: Store) -> list[Aside]:
    return [each async for each in store.quarantined()]


async def test_what_was_repaired_is_listed_with_the_reason_and_whose_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path, 4) as store:
        await damaged(store, "k")
        (each,) = await listed(store)
        assert each.chunk.reason == "corrupt"
        assert each.chunk.record is not None
        assert (each.chunk.record.bucket, each.chunk.record.key) == (BUCKET, "k")
        assert each.chunk.size == 150_016
        assert [found async for found in store.quarantined(each.volume)] == [each]
        with pytest.raises(VolumeNotFound):
            assert [found async for found in store.quarantined("nowhere")]


async def test_it_is_purged_only_when_what_took_its_place_is_whole(tmp_path: Path) -> None:
    async with opened(tmp_path, 4) as store:
        layout = await damaged(store, "k")
        (each,) = await listed(store)
        flip(file_of(store, layout, layout.metachunks[0].chunks[1]), 0)
        assert not await store.purge(each)
        assert await listed(store) == [each]
        assert await store.purge(each, unchecked=True)
        assert await listed(store) == []
        await store.purge(each, unchecked=True)  # gone is gone


async def test_of_a_deleted_object_nothing_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path, 4) as store:
        await damaged(store, "k")
        await store.delete_object(BUCKET, DeleteRequest("k"))
        (each,) = await listed(store)
        assert await store.purge(each)
        assert await listed(store) == []


async def test_the_background_purges_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(tmp_path, 4) as store:
        await damaged(store, "k")
        warden = Warden(store._context)
        await warden.work()
        assert len(await listed(store)) == 1
        monkeypatch.setattr(quarantine, "KEPT_S", 0.0)
        await warden.work()
        assert (warden.purged, await listed(store)) == (1, [])
