"""A store with boards: contents freeze and thaw as a whole, with the fewest disks powered, and nothing takes them for damaged."""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import trio

from glacier.backlog import Kind
from glacier.boards import Boards
from glacier.lifecycle.backfill import FreezeTask
from glacier.lifecycle.calendar import REAL
from glacier.lifecycle.news import Silent
from glacier.lifecycle.transit import Transit
from glacier.schedule import Scheduler, Terms
from glacier.strays import StraySweep
from glacier.worker.protocol import ColdDoor, Item, Status
from glacier.worker.volumes import HotVolumes
from glacier.worker.worker import Worker, open_worker
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import Change, DeleteRequest, ObjectRow
from meta.protocol.restore import Restore, is_readable
from node.auth import NamespaceKey
from node.errors import BoardsMissing, ContentCold, PeerUnreachable
from store.embedded import StoreOptions, open_store
from store.layout import Layout
from store.store import Store
from store.tally import Tally
from store.tier import HOT, Priority, Temperature, TierState
from tests.component.glacier.conftest import AT_ONCE, OPTIONS, until
from tests.component.store.support import BUCKET, chunk_files, damage_base, opened, put, read
from tests.component.store.test_scrub import by_chunks, by_metadata
from tests.support.freezer import MemoryFreezer

VOLUMES = 9
IDLE = replace(AT_ONCE, idle_s=0.0)
DAY_US = 86_400 * 10**6


@dataclass
class Cold:
    """A store whose volumes take turns between two buses."""

    store: Store
    boards: Boards
    workers: list[Worker]
    freezers: list[MemoryFreezer]
    path: Path
    nursery: trio.Nursery = field(repr=False)

    async def state(self, row: ObjectRow) -> TierState:
        return (await self.boards.states([Layout.parse(row.layout)]))[0]

    async def until(self, row: ObjectRow, temperature: Temperature) -> TierState:
        with trio.move_on_after(20):
            while (found := await self.state(row)).temperature is not temperature:  # noqa: ASYNC110
                await trio.sleep(0.01)
            return found
        raise AssertionError(f"it is {found}, not {temperature}")

    async def freeze(self, row: ObjectRow) -> None:
        await self.boards.freeze(Layout.parse(row.layout))
        await self.until_all(row, "cold")

    async def until_all(self, row: ObjectRow, wanted: str) -> None:
        """Every chunk, not just enough of them."""
        with trio.move_on_after(20):
            while set(await self.chunk_states(row)) != {wanted}:  # noqa: ASYNC110
                await trio.sleep(0.01)
            return
        raise AssertionError(f"the chunks are {await self.chunk_states(row)}")

    async def chunk_states(self, row: ObjectRow) -> list[str]:
        places = [Item(volume, chunk) for volume, chunk in Layout.parse(row.layout).places()]
        states: list[str] = []
        for worker in self.workers:
            mine = [item for item in places if item.volume in worker.core.volumes]
            states += [each.state for each in await worker.door.states(mine)]
        return states

    def power_ons(self) -> int:
        return sum(sum(freezer.power_ons.values()) for freezer in self.freezers)

    def copies(self) -> int:
        return sum(len(chunks) for freezer in self.freezers for chunks in freezer.disks.values())

    async def until_off(self) -> None:
        await until(lambda: all(freezer.powered is None for freezer in self.freezers), "all disks are off")


@asynccontextmanager
async def cold_store(tmp_path: Path, *, scheduler: Scheduler = IDLE, **options: Any) -> AsyncIterator[Cold]:
    path = tmp_path / "store"
    if not path.exists():
        async with opened(path, VOLUMES):
            pass
    freezers = [MemoryFreezer(range(number * 10, number * 10 + 8), bus=number) for number in range(2)]
    settings = replace(OPTIONS, scheduler=scheduler, **options)
    async with AsyncExitStack() as stack:
        namespace = json.loads((path / "store.json").read_text())["namespace"]
        nursery = await stack.enter_async_context(trio.open_nursery())
        workers = []
        for number, freezer in enumerate(freezers):
            paths = [path / "volumes" / str(each + 1) for each in range(VOLUMES) if each % 2 == number]
            volumes = HotVolumes(paths, namespace)
            stack.callback(volumes.close)
            await volumes.look()
            worker = await stack.enter_async_context(open_worker(tmp_path / f"worker{number}.db", volumes, freezer.dial, settings))
            await nursery.start(worker.run)
            workers.append(worker)
        boards = Boards([worker.door for worker in workers])

        @asynccontextmanager
        async def tier(_key: NamespaceKey) -> AsyncIterator[Boards]:
            yield boards

        store = await stack.enter_async_context(open_store(StoreOptions((path,), VOLUMES, tier=tier)))
        yield Cold(store, boards, workers, freezers, path, nursery)
        nursery.cancel_scope.cancel()


async def test_a_frozen_object_is_cold_and_its_thaw_fetches_just_enough(tmp_path: Path) -> None:
    body = os.urandom(3 << 20)
    async with cold_store(tmp_path) as cold:
        row = await put(cold.store, "k", body)
        assert Layout.parse(row.layout).policies[0].name == "EC63"
        assert await cold.state(row) == HOT
        await cold.freeze(row)
        assert await cold.state(row) == TierState(Temperature.COLD, readable=False)
        assert sum(file.stat().st_blocks for file in chunk_files(cold.path)) * 512 < len(body) / 10
        with pytest.raises(ContentCold, match="restored"):
            await read(cold.store, row)
        assert not cold.store.findings
        await cold.until_off()
        before = cold.power_ons()
        until_us = time.time_ns() // 1000 + DAY_US
        await cold.boards.thaw(Layout.parse(row.layout), Priority.STANDARD, until_us)
        state = await cold.until(row, Temperature.THAWED)
        assert (state.readable, state.until_us) == (True, until_us)
        assert await read(cold.store, row) == body
        assert sorted(await cold.chunk_states(row)) == ["cold"] * 3 + ["filled"] * 6
        assert cold.power_ons() - before == 6
        await cold.freeze(row)
        assert cold.copies() == 9


async def test_of_copies_one_is_fetched(tmp_path: Path) -> None:
    body = os.urandom(5000)
    async with cold_store(tmp_path) as cold:
        row = await put(cold.store, "k", body)
        await cold.freeze(row)
        with pytest.raises(ContentCold):
            await cold.store.read_whole(row)
        await cold.boards.thaw(Layout.parse(row.layout), Priority.EXPEDITED, 0)
        await cold.until(row, Temperature.THAWED)
        assert await cold.store.read_whole(row) == body
        assert (await cold.chunk_states(row)).count("filled") == 1
        assert not cold.store.findings


async def test_objects_that_were_frozen_together_are_thawed_from_the_same_disks(tmp_path: Path) -> None:
    gathering = replace(IDLE, terms={**IDLE.terms, Kind.STANDARD: Terms(0.5, 10.0, 60.0)})
    async with cold_store(tmp_path, scheduler=gathering) as cold:
        rows = [await put(cold.store, f"k{number}", os.urandom(1 << 20)) for number in range(6)]
        for row in rows:
            await cold.boards.freeze(Layout.parse(row.layout))
        for row in rows:
            await cold.until_all(row, "cold")
        await cold.until_off()
        before = cold.power_ons()
        for row in rows:
            await cold.boards.thaw(Layout.parse(row.layout), Priority.STANDARD, 0)
        for row in rows:
            await cold.until(row, Temperature.THAWED)
        assert cold.power_ons() - before <= 8


async def test_scrubs_find_nothing_wrong_with_what_is_cold(tmp_path: Path) -> None:
    async with cold_store(tmp_path) as cold:
        rows = [await put(cold.store, "large", os.urandom(2 << 20)), await put(cold.store, "small", b"x" * 100)]
        for row in rows:
            await cold.freeze(row)
        for tally in (await by_metadata(cold.store), await by_chunks(cold.store)):
            assert tally.damages == []
            assert tally.counts["chunks"] >= 13
        assert [finding async for finding in cold.store.verify(rows[0], BUCKET)] == []


async def test_a_thaw_takes_other_fragments_when_a_disk_is_dead(tmp_path: Path) -> None:
    body = os.urandom(1 << 20)
    async with cold_store(tmp_path) as cold:
        row = await put(cold.store, "k", body)
        await cold.freeze(row)
        await cold.until_off()
        layout = Layout.parse(row.layout)
        for number, freezer in enumerate(cold.freezers):
            freezer.dead = {next(disk for disk, chunks in freezer.disks.items() if chunks)} if number == 0 else set()
        await cold.boards.thaw(layout, Priority.STANDARD, 0)
        with trio.fail_after(20):
            while (await cold.state(row)).temperature is not Temperature.THAWED:
                await cold.boards.thaw(layout, Priority.STANDARD, 0)  # as who waits for it does
                await trio.sleep(0.05)
        assert await read(cold.store, row) == body


async def test_what_a_lost_disk_held_is_made_anew_from_the_other_fragments(tmp_path: Path) -> None:
    body = os.urandom(1 << 20)
    async with cold_store(tmp_path) as cold:
        row = await put(cold.store, "k", body)
        await cold.freeze(row)
        await cold.until_off()
        freezer = cold.freezers[0]
        lost = next(disk for disk, chunks in freezer.disks.items() if chunks)
        freezer.dead = {lost}
        assert await cold.workers[0].door.lose(lost) == 1
        first = await by_metadata(cold.store)
        assert first.counts["outcome:waits"] == 1  # the others are on their way back
        await cold.until(row, Temperature.THAWED)
        again = await by_metadata(cold.store)
        assert again.counts["outcome:repaired"] == 1
        row = await cold.store.get_row(BUCKET, "k")
        assert (await by_metadata(cold.store)).damages == []
        assert await read(cold.store, row) == body
        await cold.freeze(row)
        assert cold.copies() == 10  # the lost one is still on the dead disk


async def test_a_deleted_object_leaves_nothing_on_volumes_and_cold_disks(tmp_path: Path) -> None:
    async with cold_store(tmp_path) as cold:
        row = await put(cold.store, "k", os.urandom(1 << 20))
        await cold.freeze(row)
        await cold.nursery.start(cold.store.run_workers)
        await cold.store.delete_object(BUCKET, DeleteRequest("k"))
        await until(lambda: not chunk_files(cold.path), "the files are deleted")
        await until(lambda: cold.copies() == 0, "the copies are deleted")


async def test_melting_brings_everything_back_for_good(tmp_path: Path) -> None:
    body = os.urandom(1 << 20)
    async with cold_store(tmp_path) as cold:
        row = await put(cold.store, "k", body)
        await cold.freeze(row)
        await cold.boards.melt(Layout.parse(row.layout))
        await cold.until_all(row, "")
        assert await cold.state(row) == HOT
        assert await read(cold.store, row) == body
        await until(lambda: cold.copies() == 0, "the copies are deleted")


class Away:
    """A worker that does not answer."""

    def __getattr__(self, name: str) -> Any:
        async def call(*_: object) -> None:
            raise PeerUnreachable("the worker is away")

        return call


async def test_with_one_bus_away_what_the_other_has_is_still_known(tmp_path: Path) -> None:
    async with cold_store(tmp_path) as cold:
        small = await put(cold.store, "small", b"x" * 1000)
        large = await put(cold.store, "large", os.urandom(1 << 20))
        for row in (small, large):
            await cold.freeze(row)

        cold.boards.workers[1] = Away()  # type: ignore[assignment]
        await cold.boards.thaw(Layout.parse(small.layout), Priority.STANDARD, 0)
        await cold.until(small, Temperature.THAWED)
        with pytest.raises(PeerUnreachable, match="too few"):
            await cold.boards.thaw(Layout.parse(large.layout), Priority.STANDARD, 0)


async def test_copies_whose_files_vanished_stay_until_the_metadata_was_asked(tmp_path: Path) -> None:
    async with cold_store(tmp_path) as cold:
        kept, gone = [await put(cold.store, key, b"x" * 1000) for key in ("kept", "gone")]
        for row in (kept, gone):
            await cold.freeze(row)
        for file in chunk_files(cold.path):  # as a wiped volume
            file.unlink()
        for row in (kept, gone):
            for worker in cold.workers:
                places = [Item(volume, chunk) for volume, chunk in Layout.parse(row.layout).places() if volume in worker.core.volumes]
                await worker.door.get(places, Kind.STANDARD, 0)
        await until(lambda: not any(worker.core.tasks for worker in cold.workers), "the thaws found no files")
        assert cold.copies() == 8
        await cold.nursery.start(cold.store.run_workers)
        await cold.store.delete_object(BUCKET, DeleteRequest("gone"))
        sweep = StraySweep(cold.store._context, cold.boards)
        with trio.fail_after(20):
            while cold.copies() != 4:
                await sweep.work()
                await trio.sleep(0.02)
        await sweep.work()
        left = [stray.key for worker in cold.workers for stray in await worker.door.strays(Item("", ""), 10)]
        assert left == ["kept"] * 4


async def test_a_restore_takes_other_fragments_when_a_disk_dies_under_it(tmp_path: Path) -> None:
    body = os.urandom(1 << 20)
    async with cold_store(tmp_path) as cold:
        row = await put(cold.store, "k", body)
        await cold.freeze(row)
        await cold.until_off()
        container, transit = cold.store.meta.container(BUCKET), Transit(cold.store._context, calendar=REAL, herald=Silent())
        await container.change(Change("k", storage_class="GLACIER"))
        await transit.work()
        await container.change(Change("k", restored=msgspec.to_builtins(Restore(1, "Standard", 1))))
        cold.freezers[0].dead = {next(disk for disk, chunks in cold.freezers[0].disks.items() if chunks)}
        with trio.move_on_after(10):
            while not is_readable(row := await cold.store.get_row(BUCKET, "k"), time.time_ns() // 1000):
                await transit.work()
                await trio.sleep(0.05)
        assert is_readable(row, time.time_ns() // 1000)
        assert await read(cold.store, row) == body
        for worker in cold.workers:
            assert not [job for job in await worker.door.queue(100) if job.kind == "standard"]


async def test_a_volume_that_two_workers_look_after_stays_with_the_same_while_that_is_away(tmp_path: Path) -> None:
    """As on a board of two buses beside a store with one volume."""
    async with cold_store(tmp_path) as cold:
        row = await put(cold.store, "k", os.urandom(1 << 20))
        first, second = cold.workers
        first.core.volumes = second.core.volumes = {**first.core.volumes, **second.core.volumes}
        await cold.boards.freeze(Layout.parse(row.layout))
        await cold.until(row, Temperature.COLD)
        assert not cold.freezers[0].power_ons
        cold.boards.workers[1] = Away()  # type: ignore[assignment]
        await cold.boards.forget("f" * 16, ["f" * 32])  # of an unknown volume: all are asked again
        with pytest.raises(PeerUnreachable):
            await cold.boards.freeze(Layout.parse(row.layout))


async def step_through(task: FreezeTask) -> None:
    position: str | None = ""
    while position is not None:
        position, _ = await task.step(position)


async def test_boards_that_come_later_get_what_was_of_a_cold_class_before(tmp_path: Path) -> None:
    bodies = {f"k{number}": os.urandom(200_000) for number in range(4)}
    async with opened(tmp_path / "store", VOLUMES) as store:
        rows = {key: await put(store, key, body, storage_class="GLACIER") for key, body in bodies.items()}
        warm = await put(store, "warm", bodies["k0"])
        restored = Restore(1, "Bulk", 1, until_us=time.time_ns() // 1000 + DAY_US)
        await store.change_cold(BUCKET, Change("k3", restored=msgspec.to_builtins(restored)))
    async with cold_store(tmp_path) as cold:
        tally = Tally(quiet=True)
        await step_through(FreezeTask(cold.store._context, tally, {"standing": ""}, boards=cold.boards))
        assert tally.counts == {"versions": 3, "planned": 3}
        assert "3 versions of cold classes, 3 of which no board" in tally.notes[0]
        for key in ("k0", "k1", "k2"):
            await cold.until_all(rows[key], "cold")
        assert await cold.state(rows["k3"]) == HOT
        assert await cold.state(warm) == HOT
        again = Tally(quiet=True)
        await step_through(FreezeTask(cold.store._context, again, {}, boards=cold.boards))
        assert again.counts == {"versions": 3, "planned": 0}
        copies = cold.copies()
    assert copies == sum(len(list(Layout.parse(rows[key].layout).places())) for key in ("k0", "k1", "k2"))


async def test_a_damaged_bucket_keeps_no_other_from_its_boards(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path / "store", VOLUMES) as store:
        row = await put(store, "k", os.urandom(200_000), storage_class="GLACIER")
        await store.meta.create_bucket(BucketSettings("a-damaged", "account", "owner", 1))
    damage_base(tmp_path, "a-damaged")
    async with cold_store(tmp_path) as cold:
        tally = Tally(quiet=True)
        task = FreezeTask(cold.store._context, tally, {}, boards=cold.boards)
        await step_through(task)
        assert (tally.counts["versions"], tally.counts["planned"]) == (1, 1)
        assert "bucket a-damaged" in task.left()
        await cold.until_all(row, "cold")
    caplog.clear()


async def test_a_store_that_is_started_without_its_boards_says_that_they_are_missing(tmp_path: Path) -> None:
    body = os.urandom(3 << 20)
    async with cold_store(tmp_path) as cold:
        gone, back = await put(cold.store, "gone", body), await put(cold.store, "back", body)
        for row in (gone, back):
            await cold.freeze(row)
        await cold.boards.thaw(Layout.parse(back.layout), Priority.EXPEDITED, time.time_ns() // 1000 + DAY_US)
        await cold.until(back, Temperature.THAWED)
    async with opened(tmp_path / "store", VOLUMES) as store:
        states = await store.tier.states([Layout.parse(gone.layout), Layout.parse(back.layout)])
        assert [state.readable for state in states] == [False, True]
        assert await read(store, back) == body
        for call in (store.tier.promise, store.tier.melt):
            with pytest.raises(BoardsMissing, match="--board"):
                await call(Layout.parse(gone.layout))
        with pytest.raises(BoardsMissing):
            await store.tier.thaw(Layout.parse(gone.layout), Priority.BULK, 0)
        await store.tier.thaw(Layout.parse(back.layout), Priority.BULK, 0)


class OfSite:
    """A worker that tells its site while it is there."""

    def __init__(self, site: str, volume: str) -> None:
        self.site, self.volume, self.is_away = site, volume, False

    async def status(self) -> Status:
        if self.is_away:
            raise PeerUnreachable("the worker is away")
        return Status("board", 0, True, "resting", [self.volume], [], {}, {}, 0, 0, site=self.site)


async def test_the_sites_of_some_boards_are_known_while_others_are_away() -> None:
    near, far = OfSite("near", "v1"), OfSite("far", "v2")
    boards = Boards(cast(list[ColdDoor], [near, far]))
    near.is_away = True
    assert await boards.sites() == {"v2": "far"}
    near.is_away = False
    assert await boards.sites() == {"v1": "near", "v2": "far"}
    far.is_away = True
    assert await boards.sites() == {"v1": "near", "v2": "far"}
