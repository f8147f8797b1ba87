"""Volumes that are gone or hang, and what of them lies on cold disks."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from glacier.worker import desk
from glacier.worker import volumes as hot_volumes
from glacier.worker.protocol import Item, Stray
from glacier.worker.volumes import HotVolumes
from node.errors import Unavailable, VolumeNotFound
from rawx.volume import Volume, open_volume
from tests.component.glacier.conftest import AT_ONCE, OPTIONS, item, until, until_state, working
from tests.component.rawx.conftest import NAMESPACE, UNIT, put, sample
from tests.support.freezer import MemoryFreezer

PATIENT = replace(OPTIONS, scheduler=replace(AT_ONCE, idle_s=3600.0))
"""Leaves a disk powered that has nothing to do."""


async def test_what_a_volume_that_is_gone_had_on_cold_disks_is_told_and_can_be_deleted(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    freezer, (gone, stays, _) = MemoryFreezer(), volumes.values()
    lost, kept = await put(gone, sample(UNIT)), await put(stays, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(gone, lost), item(stays, kept)])
        await until_state(worker, item(gone, lost), "cold")
        await until_state(worker, item(stays, kept), "cold")
    there = {name: volume for name, volume in volumes.items() if volume is not gone}
    async with working(tmp_path, there, freezer) as worker:
        await until(lambda: bool(worker.core.absent), "it is seen that the volume is away")
        assert await worker.door.strays(Item("", ""), 10) == []  # it may come back
        monkeypatch.setattr(desk, "ABSENT_S", 0.0)
        record = lost.record
        told = Stray(gone.volume_id, lost.chunk, record.bucket, record.key, record.content)
        assert await worker.door.strays(Item("", ""), 10) == [told]
        assert await worker.door.strays(Item(gone.volume_id, lost.chunk), 10) == []
        await worker.door.delete([item(gone, lost)])
        await until(lambda: not freezer.copies(lost.chunk), "its copy is deleted")
        assert freezer.copies(kept.chunk)
        assert await worker.door.strays(Item("", ""), 10) == []
        with pytest.raises(VolumeNotFound):
            await worker.door.delete([Item("another", lost.chunk)])


async def test_a_disk_is_given_up_for_those_who_are_there_while_a_volume_is_away(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, found = MemoryFreezer([0]), sorted(volumes.values(), key=lambda volume: volume.volume_id)
    made = [await put(volume, sample(UNIT)) for volume in found]
    items = [item(volume, each) for volume, each in zip(found, made, strict=True)]
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create(items)
        for each in items:
            await until_state(worker, each, "cold")
    async with working(tmp_path, {volume.volume_id: volume for volume in found[1:]}, freezer) as worker:
        with pytest.raises(Unavailable, match="1 of its 3 chunks are of volumes that are away"):
            await worker.door.lose(0)
        states = [each.state for each in await worker.door.states(items)]
        assert states == ["cold", "lost", "lost"]
    async with working(tmp_path, volumes, freezer) as worker:
        assert await worker.door.lose(0) == 1
        assert [each.state for each in await worker.door.states(items)] == ["lost"] * 3


def forgotten(tmp_path: Path, freezer: MemoryFreezer, chunk: str, *, twice: bool) -> tuple[int, int]:
    """The ledger is lost. The disk with the chunk, and another, which has it as well if it is there twice."""
    (disk,) = freezer.copies(chunk)
    other = next(each for each in freezer.disks if each != disk)
    if twice:
        freezer.disks[other][chunk] = freezer.disks[disk][chunk]
    (tmp_path / "ledger.db").unlink()
    freezer.powered = None
    return disk, other


async def test_a_second_copy_of_what_nobody_knows_goes_with_the_first(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), next(iter(volumes.values()))
    made = await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
    disk, other = forgotten(tmp_path, freezer, made.chunk, twice=True)
    async with working(tmp_path, volumes, freezer, PATIENT) as worker:
        await until(lambda: worker.connected)
        for each in (disk, other, disk, other):
            await worker._engine._power(freezer, each)
            worker.core.stocked.clear()
        (stray,) = await worker.door.strays(Item("", ""), 10)
        assert sum(worker.core.shelf.used.values()) == made.record.size
        await worker.door.delete([Item(stray.volume, stray.chunk)])
        await until(lambda: not freezer.copies(made.chunk), "both copies are deleted")


@pytest.mark.parametrize("twice", [False, True])
async def test_a_stray_of_a_lost_disk_is_forgotten_unless_another_disk_has_it(
    tmp_path: Path, volumes: dict[str, Volume], twice: bool
) -> None:
    freezer, volume = MemoryFreezer(), next(iter(volumes.values()))
    made = await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
    disk, other = forgotten(tmp_path, freezer, made.chunk, twice=twice)
    async with working(tmp_path, volumes, freezer, PATIENT) as worker:
        await until(lambda: worker.connected)
        for each in (disk, other):
            await worker._engine._power(freezer, each)
        assert await worker.door.lose(disk) == 1
        assert not worker.core.tasks
        strays = await worker.door.strays(Item("", ""), 10)
        assert [stray.chunk for stray in strays] == [made.chunk] * twice
        assert +worker.core.shelf.used == ({other: UNIT} if twice else {})
        await worker.door.delete([Item(stray.volume, stray.chunk) for stray in strays])
        await until(lambda: freezer.copies(made.chunk) == [disk], "the other copy is deleted")
        await until(lambda: not worker.core.tasks, "nothing waits for the lost disk")


async def test_a_move_off_a_disk_that_is_lost_meanwhile_leaves_no_deletion_there(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), next(iter(volumes.values()))
    made = await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        (disk,) = freezer.copies(made.chunk)
        freezer.dead = set(freezer.disks) - {disk}
        await worker.door.clear(disk)
        await until_state(worker, item(volume, made), "wanted")
        assert await worker.door.lose(disk) == 0
        freezer.dead = set()
        worker.core.away.clear()
        await until_state(worker, item(volume, made), "cold")
        await until(lambda: not worker.core.tasks, "nothing waits for the lost disk")


async def test_a_disk_that_hangs_keeps_no_other_volume_from_being_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hot_volumes, "LOOK_S_MAX", 0.05)
    hangs, goes_on = tmp_path / "hangs", threading.Event()
    for path in (hangs, tmp_path / "well"):
        open_volume(path, namespace=NAMESPACE, create=True).close()
    real, looks = hot_volumes.open_volume, list[Path]()

    def opening(path: Path, **options: object) -> Volume:
        looks.append(path)
        if path == hangs:
            assert goes_on.wait(20)
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(hot_volumes, "open_volume", opening)
    found = HotVolumes([hangs, tmp_path / "well"], NAMESPACE)
    await found.look()
    assert len(found) == 1
    await found.look()
    assert looks.count(hangs) == 1  # one thread hangs, not one for each look
    goes_on.set()
    with trio.fail_after(20):
        while len(found) < 2:
            await found.look()
            await trio.sleep(0.01)
    found.close()
