"""The worker: chunks go to cold disks and come back, whatever fails on the way."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import trio

from glacier.backlog import Kind
from glacier.protocol import ChunkHead
from glacier.schedule import Terms
from glacier.worker import engine
from glacier.worker import volumes as hot_volumes
from glacier.worker.clearing import clear
from glacier.worker.core import FAILED_DISK_S
from glacier.worker.ledger import Book, Entry, Ledger
from glacier.worker.protocol import DiskStatus, Item
from glacier.worker.volumes import HotVolumes
from node.clock import FakeClock
from node.errors import ChunkCold, DeadlineExceeded, DiskFailed, DiskNotFound, PeerUnreachable, VolumeFull, VolumeNotFound, VolumeReadOnly
from rawx.chunk import new_chunk_id
from rawx.cold import ColdChunks
from rawx.mark import COLD, FILLED, LOST, Mark
from rawx.volume import Volume, open_volume
from tests.component.glacier.conftest import AT_ONCE, OPTIONS, blocks, bytes_of, item, mark_of, state, until, until_state, working
from tests.component.rawx.conftest import NAMESPACE, UNIT, Sample, file_of, put, sample
from tests.support.freezer import MemoryFreezer


def first(volumes: dict[str, Volume]) -> Volume:
    return next(iter(volumes.values()))


async def test_a_frozen_chunk_is_whole_on_a_cold_disk_and_its_file_empty(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(5 * UNIT + 3))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
    (disk,) = freezer.copies(made.chunk)
    head, data = freezer.disks[disk][made.chunk]
    assert (data, head.units, head.record) == (made.data, made.units, made.record.encode())
    assert blocks(volume, made) < UNIT
    mark = await mark_of(volume, made)
    assert mark is not None
    assert (mark.state, mark.place) == (COLD, f"board/0/{disk}")
    with pytest.raises(ChunkCold):
        await bytes_of(volume, made)


async def test_a_thawed_chunk_is_read_again_and_goes_when_its_time_is_over(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(3 * UNIT))
    what = item(volume, made)
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([what])
        await until_state(worker, what, "cold")
        until_us = time.time_ns() // 1000 + 400_000
        await worker.door.get([what], Kind.STANDARD, until_us)
        await until_state(worker, what, "filled")
        assert await bytes_of(volume, made) == made.data
        mark = await mark_of(volume, made)
        assert mark is not None
        assert (mark.state, mark.until_us) == (FILLED, until_us)
        await until_state(worker, what, "cold")
        assert time.time_ns() // 1000 >= until_us
        assert blocks(volume, made) < UNIT
    assert len(freezer.copies(made.chunk)) == 1


async def test_a_longer_thaw_keeps_it_longer(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(UNIT))
    what = item(volume, made)
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([what])
        await until_state(worker, what, "cold")
        await worker.door.get([what], Kind.STANDARD, 0)
        await until_state(worker, what, "filled")
        await worker.door.get([what], Kind.STANDARD, 1)
        (found,) = await worker.door.states([what])
        assert found.until_us > time.time_ns() // 1000 + 3000 * 10**6
        await worker.door.create([what])  # frozen again before its time
        await until_state(worker, what, "cold")


async def test_melted_chunks_stay_and_leave_nothing_behind(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    cold, filled, wanted = [await put(volume, sample(2 * UNIT)) for _ in range(3)]
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, cold), item(volume, filled)])
        for made in (cold, filled):
            await until_state(worker, item(volume, made), "cold")
        await worker.door.get([item(volume, filled)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, filled), "filled")
        await worker.door.create([item(volume, wanted)])
        await worker.door.melt([item(volume, made) for made in (cold, filled, wanted)])
        for made in (cold, filled, wanted):
            await until_state(worker, item(volume, made), "")
            assert await bytes_of(volume, made) == made.data
            assert await mark_of(volume, made) is None
        await until(lambda: not any(freezer.copies(made.chunk) for made in (cold, filled, wanted)), "the copies are deleted")


async def test_a_deleted_chunk_leaves_the_cold_disk_too(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        await worker.door.delete([item(volume, made)])
        await worker.door.delete([item(volume, made)])
        await until(lambda: not freezer.copies(made.chunk), "the copy is deleted")
        assert await state(worker, item(volume, made)) == ""
        await until(lambda: not worker.core.tasks, "nothing waits any more")
        assert (await worker.door.status()).waiting == {}


async def test_as_few_disks_as_possible_are_used_and_chunks_of_one_metachunk_never_share_one(
    tmp_path: Path, volumes: dict[str, Volume]
) -> None:
    freezer = MemoryFreezer(range(6))
    contents = []
    for number in range(5):
        made = sample(UNIT)
        contents.append([(volume, of_content(made, f"{number:032x}")) for volume in volumes.values()])
    items = []
    for content in contents:
        for volume, made in content:
            await put(volume, made)
            items.append(item(volume, made))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create(items)
        for what in items:
            await until_state(worker, what, "cold")
        status = await worker.door.status()
    assert sum(1 for disk in status.disks if disk.chunks) == 3
    for content in contents:
        assert len({disk for _, made in content for disk in freezer.copies(made.chunk)}) == 3
    assert sum(freezer.power_ons.values()) <= 6


def of_content(made: Sample, content: str) -> Sample:
    """The same bytes as a chunk of another content, with an id of its own."""
    return replace(made, chunk=new_chunk_id(), record=msgspec.structs.replace(made.record, content=content))


async def test_a_full_disk_is_left_for_the_next(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(disk_bytes=10 * UNIT), first(volumes)
    several = [await put(volume, of_content(sample(3 * UNIT), f"{number:032x}")) for number in range(6)]
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, disk_bytes=1 << 30)) as worker:
        await worker.door.create([item(volume, made) for made in several])
        for made in several:
            await until_state(worker, item(volume, made), "cold")
    for made in several:
        assert len(freezer.copies(made.chunk)) == 1


async def test_when_no_disk_has_room_nothing_is_promised(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(2 * UNIT))
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, disk_bytes=UNIT)) as worker:
        with pytest.raises(VolumeFull, match="no cold disk"):
            await worker.door.create([item(volume, made)])
        assert await state(worker, item(volume, made)) == ""


async def test_a_disk_that_does_not_come_up_is_left_alone_and_its_freezes_go_elsewhere(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    freezer.dead = {0}
    made = await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        status = await worker.door.status()
    assert freezer.copies(made.chunk) == [1]
    assert status.disks[0].problem


async def test_a_thaw_from_a_dead_disk_says_so(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(UNIT))
    what = item(volume, made)
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([what])
        await until_state(worker, what, "cold")
        await until(lambda: freezer.powered is None, "the idle disk is switched off")
        freezer.dead = set(freezer.copies(made.chunk))
        await worker.door.get([what], Kind.EXPEDITED, 0)
        await until(lambda: bool(worker.core.bus.away), "the disk is away")
        (found,) = await worker.door.states([what])
        assert (found.state, found.asked) == ("cold", True)
        assert "did not come up" in found.problem


async def test_rot_on_a_cold_disk_is_found_and_the_chunk_says_that_it_is_lost(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made, well = await put(volume, sample(2 * UNIT)), await put(volume, sample(2 * UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made), item(volume, well)])
        for each in (made, well):
            await until_state(worker, item(volume, each), "cold")
        (disk,) = freezer.copies(made.chunk)
        head, _ = freezer.disks[disk][made.chunk]
        freezer.disks[disk][made.chunk] = (head, os.urandom(2 * UNIT))
        assert await worker.door.verify(-1) == 2
        await until_state(worker, item(volume, made), "lost")
        assert await state(worker, item(volume, well)) == "cold"
        mark = await mark_of(volume, made)
        assert mark is not None
        assert mark.state == LOST
        (look,) = await volume.examine([made.chunk], deep=False)
        assert look.problem == "corrupt"
        assert (await worker.door.status()).lost == 1
        await worker.door.verify(-1)
        await until(lambda: not worker.core.tasks, "it was looked at again")
        assert freezer.copies(made.chunk) == [disk]  # what is left of it, as long as something names it
        assert (await state(worker, item(volume, made)), (await worker.door.status()).lost) == ("lost", 1)
        freezer.disks[disk][made.chunk] = (head, made.data)  # the cable was loose
        await worker.door.verify(-1)
        await until_state(worker, item(volume, made), "cold")
        await worker.door.get([item(volume, made)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, made), "filled")
        assert await bytes_of(volume, made) == made.data
        with pytest.raises(DiskNotFound):
            await worker.door.verify(77)


async def test_checks_ride_on_power_ons_and_come_by_themselves_when_they_are_due(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(UNIT))
    checked = []

    async def step(name: str, disk: int) -> None:
        if name == "head":
            checked.append(disk)

    async with working(tmp_path, volumes, freezer, replace(OPTIONS, verify_s=0.4, scheduler=None)) as worker:
        worker.core.scheduler = replace(AT_ONCE)
        freezer.step = step
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        other = await put(volume, sample(UNIT))
        await until(lambda: freezer.powered is None, "the disk is off")
        await trio.sleep(0.3)
        await worker.door.create([item(volume, other)])  # on the other disk, or the same: either way the first is due
        await worker.door.get([item(volume, made)], Kind.STANDARD, 0)
        await until(lambda: bool(checked), "the chunk is checked")


async def test_a_lost_disk_is_made_good_from_files_that_still_have_the_bytes(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    cold, filled = await put(volume, sample(UNIT)), await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, kin_max=9)) as worker:
        await worker.door.create([item(volume, cold), item(volume, filled)])
        for made in (cold, filled):
            await until_state(worker, item(volume, made), "cold")
        await worker.door.get([item(volume, filled)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, filled), "filled")
        (disk,) = freezer.copies(cold.chunk)
        assert freezer.copies(filled.chunk) == [disk]
        await until(lambda: freezer.powered is None, "the disk is off")
        freezer.dead = {disk}
        assert await worker.door.lose(disk) == 2
        await until(lambda: any(each != disk for each in freezer.copies(filled.chunk)), "it is copied again")
        assert await bytes_of(volume, filled) == filled.data
        mark = await mark_of(volume, cold)
        assert mark is not None
        assert mark.state == LOST


async def test_a_disk_that_deletions_emptied_is_cleared(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(disk_bytes=20 * UNIT), first(volumes)
    several = [await put(volume, of_content(sample(4 * UNIT), f"{number:032x}")) for number in range(5)]
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, disk_bytes=20 * UNIT)) as worker:
        for made in several:
            await worker.door.create([item(volume, made)])
            await until_state(worker, item(volume, made), "cold")
        assert {disk for made in several for disk in freezer.copies(made.chunk)} == {0, 1}
        await worker.door.delete([item(volume, made) for made in several[1:4]])
        worker.core.shelf.stored[0] = 40 * UNIT  # as after many deletions
        worker._engine._due_at = 0.0
        worker.core.bell.ring()
        await until(lambda: freezer.copies(several[0].chunk) == [1], "the last chunk of the disk has moved")
        await until_state(worker, item(volume, several[0]), "cold")
        await worker.door.get([item(volume, several[0])], Kind.STANDARD, 0)
        await until_state(worker, item(volume, several[0]), "filled")
        assert await bytes_of(volume, several[0]) == several[0].data
        await until(lambda: not worker.core.tasks, "nothing is left on it")
        worker._engine._due_at = 0.0
        worker.core.bell.ring()
        await until(lambda: not worker.core.shelf.closed[0], "it takes chunks again")
    rows = {row.disk: row for row in await Ledger(tmp_path / "ledger.db").disks()}
    assert (rows[0].closed, rows[0].stored) == ("", 0)


async def test_a_full_disk_takes_chunks_again_once_deletions_made_room(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer([0], disk_bytes=10 * UNIT), first(volumes)
    several = [await put(volume, of_content(sample(3 * UNIT), f"{number:032x}")) for number in range(5)]
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, disk_bytes=1 << 30)) as worker:
        worker.core.shelf.totals[0] = 1 << 30  # it does not say how much it takes
        await worker.door.create([item(volume, made) for made in several[:4]])
        await until(lambda: worker.core.shelf.closed.get(0) == "full", "the disk is full")
        await worker.door.delete([item(volume, made) for made in several[:2]])
        await until(lambda: not any(freezer.copies(made.chunk) for made in several[:2]), "there is room")
        await until(lambda: freezer.powered is None, "it sleeps")
        await worker.door.get([item(volume, several[2])], Kind.STANDARD, 0)
        await until_state(worker, item(volume, several[2]), "filled")
        await worker.door.create([item(volume, several[4])])
        await until_state(worker, item(volume, several[4]), "cold")


async def test_a_vanished_file_does_not_take_its_copy_along(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    """A volume that was wiped looks like that: what lies on cold disks may be all that is left."""
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(UNIT))
    what = item(volume, made)
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([what])
        await until_state(worker, what, "cold")
        file_of(volume, made.chunk).unlink()
        await worker.door.get([what], Kind.STANDARD, 0)
        await until_state(worker, what, "lost")
        (stray,) = await worker.door.strays(Item("", ""), 10)
        assert (stray.chunk, stray.bucket, stray.key) == (made.chunk, "bucket", "a/key")
        assert freezer.copies(made.chunk)
        await worker.door.delete([what])
        await until(lambda: not freezer.copies(made.chunk), "nobody needs it")


async def test_what_lies_on_a_disk_without_the_ledger_knowing_is_found(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made, unknown = await put(volume, sample(UNIT)), sample(UNIT)
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        await until(lambda: freezer.powered is None, "the disk is off")
    (disk,) = freezer.copies(made.chunk)
    other = (disk + 1) % 4
    freezer.disks[other][made.chunk] = freezer.disks[disk][made.chunk]
    head, _ = freezer.disks[disk][made.chunk]
    stranger = replace(head, chunk=unknown.chunk, units=unknown.units, checksum=unknown.checksum, record=unknown.record.encode())
    freezer.disks[other][unknown.chunk] = (stranger, unknown.data)
    async with working(tmp_path, volumes, freezer) as worker:
        await worker._engine._power(freezer, other)
        await until(lambda: freezer.copies(made.chunk) == [disk], "the second copy is deleted")
        (stray,) = await worker.door.strays(Item("", ""), 10)
        assert (stray.volume, stray.chunk, stray.content) == ("", unknown.chunk, unknown.record.content)
        assert freezer.copies(unknown.chunk) == [other]
        await worker.door.delete([Item("", unknown.chunk)])
        await until(lambda: not freezer.copies(unknown.chunk), "nobody needs it")


async def test_a_chunk_that_goes_before_it_was_sent_is_forgotten(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made), Item(volume.volume_id, "f" * 32)])
        await volume.delete([made.chunk])
        await until(lambda: not worker.core.tasks, "nothing waits")
        assert await state(worker, item(volume, made)) == ""
        assert not freezer.copies(made.chunk)


async def test_a_worker_that_lost_its_freezer_goes_on_when_it_is_back(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume, failures = MemoryFreezer(), first(volumes), [PeerUnreachable("gone")] * 5
    made = await put(volume, sample(4 * UNIT))

    async def step(name: str, _disk: int) -> None:
        if name in ("sending", "getting", "power_on") and failures:
            raise failures.pop()

    freezer.step = step
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        failures += [PeerUnreachable("gone again")] * 3
        await worker.door.get([item(volume, made)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, made), "filled")
    assert not failures
    assert await bytes_of(volume, made) == made.data


async def test_a_worker_refuses_volumes_of_others(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    async with working(tmp_path, volumes, MemoryFreezer()) as worker:
        with pytest.raises(VolumeNotFound):
            await worker.door.create([Item("0" * 16, "f" * 32)])


async def test_a_check_of_all_disks_ends_though_strays_lie_on_them(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, unknown = MemoryFreezer(), sample(UNIT)
    head = ChunkHead(unknown.chunk, UNIT, unknown.record.unit_bytes, unknown.checksum, unknown.record.encode(), unknown.units)
    freezer.disks[1][unknown.chunk] = (head, unknown.data)
    async with working(tmp_path, volumes, freezer) as worker:
        await worker._engine._power(freezer, 1)
        assert len(await worker.door.strays(Item("", ""), 10)) == 1
        assert await worker.door.verify(-1) == 0
        await until(lambda: not worker.core.tasks and freezer.powered is None, "nothing waits for the disk")


async def test_a_freeze_that_takes_a_thaw_back_empties_nothing_that_is_asked_for_again(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(2 * UNIT))
    what, empty = item(volume, made), ColdChunks.empty
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([what])
        await until_state(worker, what, "cold")
        freezer.dead = {0, 1, 2, 3}
        await worker.door.get([what], Kind.STANDARD, 0)
        begun, go_on = trio.Event(), trio.Event()

        async def late(files: ColdChunks, chunk: str, place: str) -> None:
            begun.set()
            await go_on.wait()
            await empty(files, chunk, place)

        monkeypatch.setattr(ColdChunks, "empty", late)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker.door.create, [what])
            await begun.wait()
            freezer.dead = set()
            worker.core.away.clear()
            nursery.start_soon(worker.door.melt, [what])
            with trio.move_on_after(0.5):
                await until_state(worker, what, "")  # not before that is over
            go_on.set()
        await until_state(worker, what, "")
        assert await bytes_of(volume, made) == made.data


async def test_a_chunk_that_never_comes_does_not_hold_up_other_disks(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    slow, well = [await put(volume, of_content(sample(UNIT), "a" * 32)) for _ in range(2)]
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, slow), item(volume, well)])
        for made in (slow, well):
            await until_state(worker, item(volume, made), "cold")
        (disk,) = freezer.copies(slow.chunk)
        assert freezer.copies(well.chunk) != [disk]

        async def step(name: str, at: int) -> None:
            if name == "getting" and at == disk:
                raise DeadlineExceeded("the disk did not answer in time")

        freezer.step = step
        await worker.door.get([item(volume, slow)], Kind.STANDARD, 0)
        await until(lambda: any(task.tries for task in worker.core.tasks.values()), "it failed")
        await worker.door.get([item(volume, well)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, well), "filled")


async def test_a_disk_that_breaks_at_work_is_left_alone_and_its_freezes_go_elsewhere(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    several = [await put(volume, of_content(sample(UNIT), f"{number:032x}")) for number in range(5)]
    broken: list[int] = []

    async def step(name: str, at: int) -> None:
        if name == "send":
            broken[:] = broken or [at]
            if at == broken[0]:
                raise DiskFailed(f"disk {at} is sick")

    freezer.step = step
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, kin_max=9)) as worker:
        await worker.door.create([item(volume, made) for made in several])
        for made in several:
            await until_state(worker, item(volume, made), "cold")
            assert broken[0] not in freezer.copies(made.chunk)
        assert worker.core.problem(broken[0])


async def test_a_chunk_on_a_bad_sector_is_given_up_while_the_others_of_its_batch_are_done(
    tmp_path: Path, volumes: dict[str, Volume]
) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    bad, *well = [await put(volume, of_content(sample(UNIT), f"{number:032x}")) for number in range(4)]
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, kin_max=9)) as worker:
        await worker.door.create([item(volume, made) for made in (bad, *well)])
        for made in (bad, *well):
            await until_state(worker, item(volume, made), "cold")
        freezer.bad = {(freezer.copies(bad.chunk)[0], bad.chunk)}
        await worker.door.get([item(volume, made) for made in (bad, *well)], Kind.STANDARD, 0)
        for made in well:
            await until_state(worker, item(volume, made), "filled")
            assert await bytes_of(volume, made) == made.data
        await until_state(worker, item(volume, bad), "lost")
        mark = await mark_of(volume, bad)
        assert mark is not None
        assert mark.state == LOST
        await until(lambda: not worker.core.tasks, "nothing is tried any more")
        status = await worker.door.status()
        assert (status.lost, status.strays, worker.core.counts["given_up"]) == (1, 1, 1)
        freezer.bad.clear()  # the sector was read after all
        await worker.door.verify(-1)
        await until_state(worker, item(volume, bad), "cold")


async def test_what_can_t_be_written_on_one_disk_goes_to_another(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    bad, well = await put(volume, sample(UNIT)), await put(volume, sample(UNIT))
    freezer.bad = {(0, bad.chunk)}
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, kin_max=9)) as worker:
        await worker.door.create([item(volume, bad), item(volume, well)])
        for made in (bad, well):
            await until_state(worker, item(volume, made), "cold")
        assert freezer.copies(bad.chunk) == [1]
        await until(lambda: not worker.core.tasks, "nothing is tried any more")


async def test_a_check_that_hangs_is_given_up_and_the_chunk_copied_anew_from_its_file(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        await worker.door.get([item(volume, made)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, made), "filled")
        freezer.bad = {(freezer.copies(made.chunk)[0], made.chunk)}
        await worker.door.verify(-1)
        await until(lambda: len(freezer.copies(made.chunk)) == 2, "another copy is made")
        assert (await worker.door.status()).lost == 0


async def test_what_no_disk_has_room_for_any_more_stays_on_its_volume(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer([0]), first(volumes)
    made = await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        await worker.door.get([item(volume, made)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, made), "filled")
        head, _ = freezer.disks[0][made.chunk]
        freezer.disks[0][made.chunk] = (head, bytes(UNIT))
        await worker.door.verify(-1)
        await until_state(worker, item(volume, made), "")
        assert await bytes_of(volume, made) == made.data
        assert await mark_of(volume, made) is None


async def test_every_cold_chunk_is_read_again_within_its_time_with_few_power_ons(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECKS_AT_ONCE", 10)
    freezer, volume = MemoryFreezer(range(2)), first(volumes)
    several = [await put(volume, of_content(sample(UNIT), f"{number:032x}")) for number in range(50)]
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, kin_max=9)) as worker:
        await worker.door.create([item(volume, made) for made in several])
        await until(lambda: worker.core.counts["freeze"] == len(several), "all are frozen")
    before = freezer.power_ons.total()
    later = FakeClock(int(time.time() * 1e6))
    later.advance(OPTIONS.verify_s * 0.76)
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, kin_max=9), clock=later) as worker:
        await until(lambda: worker.core.counts["verify"] == len(several), "all were read")
        assert (await worker.door.status()).unverified_us >= later.now_us() - 1_000_000
    assert freezer.power_ons.total() - before <= 2


async def test_a_disk_s_cycles_and_errors_and_what_it_does_are_told(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    freezer.bus = replace(freezer.bus, spin_up_ms=60_000)
    made = await put(volume, sample(UNIT))
    seen: dict[str, DiskStatus] = {}

    async with working(tmp_path, volumes, freezer) as worker:

        async def step(name: str, disk: int) -> None:
            seen[name] = (await worker.door.status()).disks[disk]

        freezer.step = step
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        await until(lambda: freezer.powered is None, "the disk is off")
        (disk,) = freezer.copies(made.chunk)
        freezer.bad = {(disk, made.chunk)}
        await worker.door.get([item(volume, made)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, made), "lost")
        now = (await worker.door.status()).disks[disk]
    assert (seen["power_on"].state, seen["power_on"].ready_s > 50.0) == ("rising", True)
    assert (seen["send"].state, seen["send"].doing, seen["send"].powered) == ("on", "freeze", True)
    assert now.cycles == freezer.power_ons[disk] > 1
    assert (now.errors > 0, "no answer from the disk" in now.last_error, now.problem) == (True, True, "")


async def test_a_thaw_that_was_cut_off_goes_on_where_it_was(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(40 * UNIT))
    pieces: list[str] = []

    async def cut_off(name: str, _disk: int) -> None:
        if name == "getting":
            pieces.append(name)
            if len(pieces) == 15:
                raise PeerUnreachable("the line between the sites was cut")

    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        freezer.step = cut_off
        await worker.door.get([item(volume, made)], Kind.STANDARD, 0)
        await until(lambda: len(pieces) >= 15, "the transfer is cut off")
    async with working(tmp_path, volumes, freezer) as worker:  # and the worker was killed
        await until_state(worker, item(volume, made), "filled")
        assert await bytes_of(volume, made) == made.data
    assert len(pieces) == 21  # of two units each, one of them twice


async def test_a_disk_is_cleared_when_somebody_asks_if_the_others_have_room(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(range(2), disk_bytes=100 * UNIT), first(volumes)
    several = [await put(volume, of_content(sample(4 * UNIT), f"{number:032x}")) for number in range(5)]
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, disk_bytes=100 * UNIT)) as worker:
        await worker.door.create([item(volume, made) for made in several])
        for made in several:
            await until_state(worker, item(volume, made), "cold")
        (disk,) = {disk for made in several for disk in freezer.copies(made.chunk)}
        assert await worker.door.clear(disk) == 5
        assert (await worker.door.status()).disks[disk].closed == "emptying"
        await until(lambda: not freezer.disks[disk], "nothing is left on it")
        for made in several:
            await until_state(worker, item(volume, made), "cold")
            assert freezer.copies(made.chunk) == [1 - disk]
        worker.core.shelf.closed[disk] = "full"
        with pytest.raises(VolumeFull, match="no room for the 1"):
            await worker.door.clear(1 - disk)
        with pytest.raises(DiskNotFound):
            await worker.door.clear(99)


async def test_no_disk_is_powered_for_chunks_whose_volume_is_away(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made = await put(volume, sample(UNIT))
    there = dict(volumes)

    async def step(name: str, _disk: int) -> None:
        if name == "powered":
            there.pop(volume.volume_id, None)

    async with working(tmp_path, there, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        await until(lambda: freezer.powered is None, "the disk is off")
        freezer.step = step
        await worker.door.get([item(volume, made)], Kind.STANDARD, 0)
        await until(lambda: any(task.tries for task in worker.core.tasks.values()), "it failed once")
        await until(lambda: freezer.powered is None, "the disk is off")
        before = freezer.power_ons.total()
        await trio.sleep(0.4)  # twenty times the first wait
        assert freezer.power_ons.total() == before
        freezer.step = freezer._nothing
        there[volume.volume_id] = volume
        await until_state(worker, item(volume, made), "filled")
        assert await bytes_of(volume, made) == made.data


async def test_a_lost_chunk_whose_volume_takes_no_mark_waits_and_holds_up_no_other(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    gone, well = await put(volume, sample(UNIT)), await put(volume, sample(UNIT))
    set_mark = ColdChunks.set_mark

    async def refused(files: ColdChunks, chunk: str, mark: Mark | None) -> None:
        raise VolumeReadOnly("remounted read-only")

    async with working(tmp_path, volumes, freezer, replace(OPTIONS, kin_max=9)) as worker:
        await worker.door.create([item(volume, gone), item(volume, well)])
        for made in (gone, well):
            await until_state(worker, item(volume, made), "cold")
        await until(lambda: freezer.powered is None, "the disk is off")
        freezer.disks[0].pop(gone.chunk)
        monkeypatch.setattr(ColdChunks, "set_mark", refused)
        await worker.door.get([item(volume, gone)], Kind.STANDARD, 0)
        await until(lambda: any("read-only" in task.problem for task in worker.core.tasks.values()), "it is said why it waits")
        await worker.door.get([item(volume, well)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, well), "filled")
        assert worker.connected
        monkeypatch.setattr(ColdChunks, "set_mark", set_mark)
        await until_state(worker, item(volume, gone), "lost")


async def test_a_chunk_of_a_cleared_disk_that_no_other_has_room_for_stays_there_and_holds_up_no_other(
    tmp_path: Path, volumes: dict[str, Volume]
) -> None:
    freezer, volume = MemoryFreezer(range(2), disk_bytes=100 * UNIT), first(volumes)
    large, other, small = [await put(volume, sample(units * UNIT)) for units in (60, 50, 1)]
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, disk_bytes=100 * UNIT, kin_max=9)) as worker:
        for made in (large, other, small):
            await worker.door.create([item(volume, made)])
            await until_state(worker, item(volume, made), "cold")
        assert [freezer.copies(made.chunk) for made in (large, other, small)] == [[0], [1], [0]]
        await clear(worker.core, 0)  # there was room when somebody asked
        await until(lambda: freezer.copies(small.chunk) == [1] and not worker.core.tasks, "all is done that can be")
        await until_state(worker, item(volume, large), "cold")
        assert freezer.copies(large.chunk) == [0]
        assert blocks(volume, large) < UNIT
        cycles = freezer.power_ons.total()
        worker._engine._due_at = 0.0
        worker.core.bell.ring()
        await until(lambda: worker._engine._due_at > 0.0, "disks that are cleared were looked at")
        assert (worker.core.tasks, freezer.power_ons.total()) == ({}, cycles)  # until there is room
        await worker.door.get([item(volume, large)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, large), "filled")
        assert await bytes_of(volume, large) == large.data


async def test_files_are_emptied_though_many_on_a_volume_that_is_away_are_due_before_them(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "EMPTY_AT_ONCE", 2)
    freezer, there = MemoryFreezer(), dict(volumes)
    away, here = list(volumes.values())[:2]
    several, one = [await put(away, sample(UNIT)) for _ in range(3)], await put(here, sample(UNIT))
    items = [*(item(away, made) for made in several), item(here, one)]
    async with working(tmp_path, there, freezer) as worker:
        await worker.door.create(items)
        for what in items:
            await until_state(worker, what, "cold")
        await worker.door.get(items[:3], Kind.STANDARD, time.time_ns() // 1000 + 10**9)
        for what in items[:3]:
            await until_state(worker, what, "filled")
        del there[away.volume_id]
        await worker.core.ledger.write(
            lambda book: [book.put(msgspec.structs.replace(each, until_us=1)) for each in entries(book, items[:3])]
        )
        await worker.door.get(items[3:], Kind.STANDARD, time.time_ns() // 1000 + 300_000)
        await until_state(worker, items[3], "filled")
        await until_state(worker, items[3], "cold")
        there[away.volume_id] = away
        for what in items[:3]:
            await until_state(worker, what, "cold")


async def test_a_disk_is_switched_off_though_checks_are_due_of_chunks_whose_volume_is_away_and_others_are_checked(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECKS_AT_ONCE", 2)
    freezer, there = MemoryFreezer([0]), dict(volumes)
    away, here = list(volumes.values())[:2]
    items = [item(away, await put(away, sample(UNIT))) for _ in range(3)]
    one = item(here, await put(here, sample(UNIT)))
    async with working(tmp_path, there, freezer, replace(OPTIONS, verify_s=1e6)) as worker:
        await worker.door.create([*items, one])
        for what in [*items, one]:
            await until_state(worker, what, "cold")
        await until(lambda: freezer.powered is None, "the disk is off")
        del there[away.volume_id]
        await worker.core.ledger.write(
            lambda book: [book.put(msgspec.structs.replace(each, verified_us=1)) for each in entries(book, [*items, one])]
        )
        await worker.door.get([one], Kind.STANDARD, 0)
        await until_state(worker, one, "filled")
        await until(lambda: worker.core.counts["verify"] == 1, "the one that can be is checked")
        await until(lambda: freezer.powered is None, "the disk is off")
        there[away.volume_id] = away
        await worker.door.create([one])
        await until_state(worker, one, "cold")
        await worker.door.get([one], Kind.STANDARD, 0)
        await until(lambda: worker.core.counts["verify"] == 4, "the others are checked once their volume is back")


async def test_a_bad_sector_that_a_due_check_meets_does_not_have_its_disk_left_alone(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer([0]), first(volumes)
    bad, well = await put(volume, sample(UNIT)), await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, verify_s=1e6)) as worker:
        await worker.door.create([item(volume, bad), item(volume, well)])
        for made in (bad, well):
            await until_state(worker, item(volume, made), "cold")
        await until(lambda: freezer.powered is None, "the disk is off")
        freezer.bad = {(0, bad.chunk)}
        await worker.core.ledger.write(
            lambda book: [book.put(msgspec.structs.replace(each, verified_us=1)) for each in entries(book, [item(volume, bad)])]
        )
        await worker.door.get([item(volume, well)], Kind.STANDARD, 0)
        await until_state(worker, item(volume, bad), "lost")
        assert worker.core.counts["given_up"] == 1
        assert not worker.core.away


async def test_a_volume_that_fell_sick_is_used_again_once_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_volumes, "LOOK_S", 0.02)
    open_volume(tmp_path / "volume", namespace=NAMESPACE, create=True).close()
    found = HotVolumes([tmp_path / "volume"], NAMESPACE)
    await found.look()
    (volume,) = found.values()
    made = await put(volume, sample(UNIT))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(found.keep)
        volume.health.hung("reading a mark", 30.0)
        volume.health.read_only = True
        await until(lambda: not volume.health.sick and not volume.health.read_only, "it is tried again")
        assert await bytes_of(volume, made) == made.data
        nursery.cancel_scope.cancel()
    found.close()


def entries(book: Book, items: list[Item]) -> list[Entry]:
    return [found for what in items if (found := book.entry(what.volume, what.chunk)) is not None]


async def test_the_queue_tells_when_a_thaw_is_to_be_expected(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), first(volumes)
    made, other = await put(volume, sample(UNIT)), await put(volume, sample(UNIT))
    patient = replace(AT_ONCE, terms={**AT_ONCE.terms, Kind.BULK: Terms(3600.0, 3600.0, 7200.0), Kind.FREEZE: AT_ONCE.terms[Kind.FREEZE]})
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, scheduler=patient, kin_max=9)) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        await until(lambda: freezer.powered is None and worker.core.bus.disk is None, "the disk is off")
        await worker.door.get([item(volume, made)], Kind.BULK, 0)
        (job,) = await worker.door.queue(10)
        assert (job.kind, job.chunk) == ("bulk", made.chunk)
        assert 3500 < job.wait_s < 3700
        worker.core.set_away(job.disk, 0.0, "it did not come up")
        await worker.door.create([item(volume, other)])
        assert {each.wait_s for each in await worker.door.queue(10)} == {-1.0}


async def test_a_disk_is_left_alone_no_longer_when_the_clock_is_set_back(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    clock = FakeClock()
    async with working(tmp_path, volumes, MemoryFreezer(), clock=clock) as worker:
        core = worker.core
        core.set_away(1, 0.0, "it did not come up")
        clock.jump(-86_400)
        assert core.rest_s(1) == FAILED_DISK_S
        clock.advance(FAILED_DISK_S - 1)
        assert core.problem(1) == "it did not come up"
        clock.advance(2)
        assert (core.problem(1), core.rest_s(1)) == ("", 0.0)
