"""What operators ask of disks: done between two jobs, within the power budget, refused with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from glacier.schedule import Scheduler
from glacier.worker import order
from glacier.worker.order import ORDERS_MAX
from glacier.worker.protocol import DiskStatus, Verb
from glacier.worker.worker import Worker
from node.errors import Busy, DiskFailed, DiskNotFound, FrazilError, PeerUnreachable, PowerBudgetSpent, Unavailable
from rawx.volume import Volume
from tests.component.glacier.conftest import AT_ONCE, OPTIONS, item, until, until_state, working
from tests.component.rawx.conftest import UNIT, put, sample
from tests.support.freezer import MemoryFreezer

PATIENT = Scheduler(AT_ONCE.terms, AT_ONCE.rates, least_s=0.0, idle_s=3600.0)
"""Switches nothing off that is idle."""


async def told(worker: Worker, disk: int) -> DiskStatus:
    status = await worker.door.status()
    return next(each for each in status.disks if each.disk == disk)


def held_at_sending(freezer: MemoryFreezer, error: FrazilError | None = None) -> tuple[trio.Event, trio.Event]:
    """The first chunk that is sent waits there, and fails then if there is an error: set when it does; to be set when it may go on."""
    begun, go_on = trio.Event(), trio.Event()

    async def step(name: str, _disk: int) -> None:
        await trio.lowlevel.checkpoint()
        if name == "sending" and not go_on.is_set():
            begun.set()
            await go_on.wait()
            if error is not None:
                raise error

    freezer.step = step
    return begun, go_on


async def test_a_disk_is_switched_on_and_off_when_somebody_asks(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer = MemoryFreezer()
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, scheduler=PATIENT)) as worker:
        await until(lambda: worker.connected)
        assert await worker.door.order(2, Verb.ON) == "disk 2 is on"
        assert (freezer.powered, (await told(worker, 2)).powered) == (2, True)
        assert await worker.door.order(2, Verb.ON) == "disk 2 is on"
        assert freezer.power_ons[2] == 1
        with pytest.raises(PowerBudgetSpent, match="disk 2 has power"):
            await worker.door.order(3, Verb.ON)
        assert await worker.door.order(2, Verb.OFF) == "disk 2 is off"
        assert await worker.door.order(2, Verb.OFF) == "disk 2 is off"
        assert freezer.powered is None
        with pytest.raises(DiskNotFound):
            await worker.door.order(9, Verb.ON)


async def test_what_was_switched_on_and_is_idle_is_switched_off_again(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer = MemoryFreezer()
    async with working(tmp_path, volumes, freezer) as worker:
        await until(lambda: worker.connected)
        await worker.door.order(2, Verb.ON)
        await until(lambda: freezer.powered is None)


async def test_a_disk_that_does_not_come_up_says_why_and_is_tried_again_only_by_force(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer = MemoryFreezer()
    freezer.dead.add(1)
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, scheduler=PATIENT)) as worker:
        await until(lambda: worker.connected)
        with pytest.raises(DiskFailed, match="did not come up"):
            await worker.door.order(1, Verb.ON)
        assert (await told(worker, 1)).problem
        freezer.dead.clear()
        assert await worker.door.order(1, Verb.FORCE) == "disk 1 is on"
        assert (await told(worker, 1)).problem == ""


async def test_a_file_system_is_checked_and_repaired_and_the_disk_says_what_came_of_it(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer = MemoryFreezer()
    freezer.torn.add(1)
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, scheduler=PATIENT)) as worker:
        await until(lambda: worker.connected)
        assert await worker.door.order(1, Verb.FSCK) == "disk 1: its file system is damaged: Inode 12 has illegal blocks."
        assert (await told(worker, 1)).note == "its file system is damaged: Inode 12 has illegal blocks."
        assert "repaired" in await worker.door.order(1, Verb.REPAIR)
        assert await worker.door.order(1, Verb.FSCK) == "disk 1: its file system is whole"
        with pytest.raises(PowerBudgetSpent, match="disk 1 has power"):
            await worker.door.order(0, Verb.FSCK)


async def test_an_order_waits_for_the_job_that_runs_and_answers_before_it_is_done(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "ANSWER_S", 0.01)
    freezer, volume = MemoryFreezer(), next(iter(volumes.values()))
    made = await put(volume, sample(3 * UNIT))
    begun, go_on = held_at_sending(freezer)
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, scheduler=PATIENT)) as worker:
        await worker.door.create([item(volume, made)])
        await begun.wait()
        disk = freezer.powered
        assert disk is not None
        assert "under way" in await worker.door.order(disk, Verb.ON)
        for number in range(ORDERS_MAX - 1):
            await worker.door.order(disk, Verb.ON if number % 2 else Verb.OFF)
        with pytest.raises(Busy):
            await worker.door.order(disk, Verb.ON)
        assert freezer.powered == disk
        go_on.set()
        await until_state(worker, item(volume, made), "cold")
        await until(lambda: freezer.powered is None)


async def test_an_order_that_waits_while_the_freezer_goes_away_says_what_became_of_it(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "ANSWER_S", 0.01)
    freezer, volume = MemoryFreezer(), next(iter(volumes.values()))
    made = await put(volume, sample(3 * UNIT))
    begun, go_on = held_at_sending(freezer, PeerUnreachable("the freezer is gone"))
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, scheduler=PATIENT)) as worker:
        await worker.door.create([item(volume, made)])
        await begun.wait()
        assert "under way" in await worker.door.order(3, Verb.FSCK)
        go_on.set()
        await until_state(worker, item(volume, made), "cold")
        assert "the freezer is gone" in (await told(worker, 3)).note


async def test_a_check_that_is_asked_for_again_is_made_once(
    tmp_path: Path, volumes: dict[str, Volume], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order, "ANSWER_S", 0.01)
    freezer, checks, go_on = MemoryFreezer(), 0, trio.Event()

    async def step(name: str, _disk: int) -> None:
        nonlocal checks
        await trio.lowlevel.checkpoint()
        if name == "fsck":
            checks += 1
            await go_on.wait()

    freezer.step = step
    async with working(tmp_path, volumes, freezer, replace(OPTIONS, scheduler=PATIENT)) as worker:
        await until(lambda: worker.connected)
        for _ in range(3):
            assert "under way" in await worker.door.order(1, Verb.FSCK)
        await until(lambda: checks == 1, "it is checked")
        assert "under way" in await worker.door.order(1, Verb.FSCK)
        for verb in (Verb.OFF, Verb.FSCK, Verb.FSCK):  # what is between counts
            assert "under way" in await worker.door.order(1, verb)
        go_on.set()
        monkeypatch.setattr(order, "ANSWER_S", 20.0)
        assert await worker.door.order(1, Verb.FSCK) == "disk 1: its file system is whole"
        assert checks == 2


async def test_without_a_freezer_orders_are_refused(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, is_away = MemoryFreezer(), False

    async def step(_name: str, _disk: int) -> None:
        await trio.lowlevel.checkpoint()
        if is_away:
            raise PeerUnreachable("the freezer is gone")

    freezer.step = step
    async with working(tmp_path, volumes, freezer) as worker:
        await until(lambda: worker.connected)
        is_away = True
        with pytest.raises(Unavailable, match="the freezer is gone"):
            await worker.door.order(0, Verb.ON)
        await until(lambda: not worker.connected)
        with pytest.raises(Unavailable, match="no freezer to ask"):
            await worker.door.order(0, Verb.ON)


async def test_a_disk_that_somebody_left_on_beside_the_worker_does_not_hold_the_bus_up(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    freezer, volume = MemoryFreezer(), next(iter(volumes.values()))
    made = await put(volume, sample(UNIT))
    async with working(tmp_path, volumes, freezer) as worker:
        await until(lambda: worker.connected)
        await freezer.power_on(3)
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
