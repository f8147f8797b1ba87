"""Metadata made anew beside what there is, on three peers in this process."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from meta.cluster import renewal
from meta.cluster.roster import DIRECTORY, SET_FOLDER, Layout
from meta.coordinator import Candidate
from node.errors import BucketNotFound, Busy, Conflict, Superseded
from tests.component.meta.cluster.conftest import Cluster
from tests.component.meta.cluster.test_cluster import row, until
from tests.component.meta.conftest import settings

pytestmark = pytest.mark.slow


async def begin(cluster: Cluster) -> renewal.RenewedMeta:
    return await renewal.begin(cluster.coordinator, cluster.meta._client, 3)


async def sets(cluster: Cluster) -> set[str]:
    return set(await cluster.coordinator.names(SET_FOLDER))


def put_away(cluster: Cluster) -> set[str]:
    return {path.name for path in cluster.folder.glob("*/set-*.dissolved")}


async def test_nobody_sees_what_is_made_before_it_takes_the_others_place(cluster: Cluster) -> None:
    await cluster.meta.create_bucket(settings())
    await cluster.meta.container("pictures").put(row("old"))
    made = await begin(cluster)
    await made.create_bucket(settings("others"))
    await made.container("others").put(row("new"))
    assert (await cluster.meta.container("pictures").get("old")).key == "old"
    with pytest.raises(BucketNotFound):
        await cluster.meta.container("others").get("new")
    await cluster.meta.create_bucket(settings("late"))
    assert (await cluster.meta.place("late")).set not in made.made.among
    await renewal.finish(cluster.coordinator, made)
    await until(lambda: put_away(cluster) == {"set-1.dissolved", "set-2.dissolved", "set-3.dissolved"})
    assert (await cluster.meta.container("others").get("new")).key == "new"
    with pytest.raises(BucketNotFound):
        await cluster.meta.container("pictures").get("old")
    await cluster.meta.create_bucket(settings("after"))
    assert (await cluster.meta.place("after")).set in made.made.among
    assert await sets(cluster) == set(made.made.among)
    assert set(await cluster.meta.dirty_containers()) == {"others", "after"}, "their settings are to be kept in chunks"


async def test_what_was_broken_off_is_dissolved_by_the_next_and_harms_nothing(cluster: Cluster) -> None:
    await cluster.meta.create_bucket(settings())
    before = await sets(cluster)
    broken = await begin(cluster)
    await broken.create_bucket(settings("others"))
    second = await begin(cluster)
    assert not {*broken.made.among} & {*second.made.among}, "a set's name is never given again"
    with pytest.raises(Superseded):
        await renewal.finish(cluster.coordinator, broken)
    await renewal.clear(cluster.coordinator)
    assert await sets(cluster) == before
    await cluster.meta.container("pictures").put(row("still"))


async def test_one_that_was_broken_off_after_the_change_of_place_is_ended(cluster: Cluster) -> None:
    await cluster.meta.create_bucket(settings())
    made = await begin(cluster)
    await made.create_bucket(settings("others"))
    document = await cluster.coordinator.read(DIRECTORY)
    await cluster.coordinator.write(DIRECTORY, msgspec.json.encode(made.made), version=document.version)
    await renewal.clear(cluster.coordinator)
    assert await sets(cluster) == set(made.made.among)
    layout = msgspec.json.decode((await cluster.coordinator.read(DIRECTORY)).data, type=Layout)
    assert layout == Layout(made.made.sets)
    await cluster.meta.container("others").put(row("new"))


async def test_one_at_a_time_and_with_enough_peers(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "EXCLUSIVE_S", 0.1)
    async with renewal.exclusive(cluster.coordinator, Candidate("one", "")):
        with pytest.raises(Busy):
            async with renewal.exclusive(cluster.coordinator, Candidate("two", "")):
                pass
    async with renewal.exclusive(cluster.coordinator, Candidate("two", "")):
        pass
    with pytest.raises(Conflict, match="4 are needed"):
        await renewal.begin(cluster.coordinator, cluster.meta._client, 4)


async def test_a_set_that_is_only_out_of_sight_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    await cluster.meta.create_bucket(settings())
    for name in await sets(cluster):
        document = await cluster.coordinator.read(f"{SET_FOLDER}/{name}")
        await cluster.coordinator.remove(f"{SET_FOLDER}/{name}", version=document.version)
    await trio.sleep(0.5)
    assert put_away(cluster) == set()
    await cluster.meta.container("pictures").put(row("still"))
