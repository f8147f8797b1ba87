"""Metadata made anew beside what there is, on three peers in this process."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import trio

from meta.cluster import renewal
from meta.cluster.roster import DIRECTORY, SET_FOLDER, Layout
from meta.coordinator import Candidate
from node.errors import BaseCorrupt, BucketNotFound, Busy, Conflict, Superseded
from tests.component.meta.cluster.conftest import Cluster
from tests.component.meta.cluster.test_cluster import base_path, row, until
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


async def begin_one(cluster: Cluster, bucket: str = "pictures") -> renewal.RenewedBucket:
    return await renewal.begin_bucket(cluster.coordinator, cluster.meta._client, 3, bucket)


async def lose(cluster: Cluster, bucket: str, *, how: str) -> None:
    """Its base at every peer."""
    of = (await cluster.meta.place(bucket)).set
    peers = list(cluster.processes)
    for peer in peers:
        await cluster.kill(peer)
        path = base_path(cluster, peer, of)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        if how == "lost":
            path.unlink()
        else:
            path.write_bytes(b"\xff" * 8192)
    for peer in peers:
        await cluster.start(peer)


async def neighbour(cluster: Cluster) -> str:
    """Another bucket of the set that has `pictures`."""
    for number in range(100):
        await cluster.meta.create_bucket(settings(f"beside-{number}"))
        if (await cluster.meta.place(f"beside-{number}")).set == (await cluster.meta.place("pictures")).set:
            return f"beside-{number}"
    raise AssertionError


@pytest.mark.parametrize(("how", "error"), [("lost", BucketNotFound), ("damaged", BaseCorrupt)])
async def test_one_bucket_is_made_anew_while_the_others_of_its_set_are_written(cluster: Cluster, how: str, error: type[Exception]) -> None:
    await cluster.meta.create_bucket(settings())
    await cluster.meta.container("pictures").put(row("old"))
    beside, of = await neighbour(cluster), (await cluster.meta.place("pictures")).set
    await lose(cluster, "pictures", how=how)
    await cluster.meta.container(beside).put(row("before"))
    reigns = await cluster.coordinator.candidates(of)
    with pytest.raises(error):
        await cluster.meta.container("pictures").get("old")
    made = await begin_one(cluster)
    await made.container("pictures").create(settings())
    await made.container("pictures").put(row("new"))
    with pytest.raises(error):
        await cluster.meta.container("pictures").get("new")
    await cluster.meta.container(beside).put(row("meanwhile"))
    assert await cluster.coordinator.candidates(of) == reigns, "a base that nobody can have is no reason to lead nothing"
    await renewal.finish_bucket(cluster.coordinator, made)
    assert (await cluster.meta.container("pictures").get("new")).key == "new", "who knew the old place looks for the new one"
    assert "pictures" in await cluster.meta.dirty_containers()
    await cluster.meta.container(beside).put(row("after"))
    assert await sets(cluster) == {"set-1", "set-2", "set-3", "set-4"}


async def test_a_bucket_that_was_begun_and_broken_off_is_as_it_was(cluster: Cluster) -> None:
    await cluster.meta.create_bucket(settings())
    await cluster.meta.container("pictures").put(row("still"))
    before, place = await sets(cluster), await cluster.meta.place("pictures")
    broken = await begin_one(cluster)
    await broken.container("pictures").create(settings())
    second = await begin_one(cluster)
    assert broken.made.set != second.made.set
    with pytest.raises(Superseded):
        await renewal.finish_bucket(cluster.coordinator, broken)
    await renewal.clear(cluster.coordinator, cluster.meta)
    assert await sets(cluster) == before
    assert (await cluster.meta.container("pictures").get("still")).key == "still"
    assert await (await cluster.meta.assignments("pictures")).find("pictures") == place


async def test_a_bucket_whose_renewal_was_broken_off_after_the_change_of_place_keeps_it(cluster: Cluster) -> None:
    await cluster.meta.create_bucket(settings())
    made = await begin_one(cluster)
    await made.container("pictures").create(settings())
    await made.put_in_place()
    again = await begin_one(cluster)
    await renewal.clear(cluster.coordinator, again)
    assert await sets(cluster) == {"set-1", "set-2", "set-3", made.made.set}
    cluster.meta._forget_directory()
    await cluster.meta.container("pictures").put(row("there"))
    assert (await cluster.meta.place("pictures")).set == made.made.set


async def test_all_metadata_can_be_made_anew_after_a_bucket_was_broken_off(cluster: Cluster) -> None:
    await cluster.meta.create_bucket(settings())
    await begin_one(cluster)
    made = await begin(cluster)
    await made.create_bucket(settings("others"))
    await renewal.finish(cluster.coordinator, made)
    assert await sets(cluster) == set(made.made.among)
    await cluster.meta.container("others").put(row("new"))
