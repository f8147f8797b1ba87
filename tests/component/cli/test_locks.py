"""What a conscience hears of operators' locks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import trio
import trio.testing

from cli.cluster.conscience import _follow_locks
from cli.cluster.node import Node
from cli.cluster.operator import lock
from meta.conscience.protocol import Lock
from meta.conscience.service import ConscienceService
from meta.coordinator import LocalCoordinator
from node.auth import NamespaceKey
from node.clock import SystemClock


async def test_a_lock_that_is_replaced_is_heard_of(tmp_path: Path) -> None:
    """Also when nobody saw the folder without it: its names are the same before and after."""
    coordinator = LocalCoordinator()
    service = ConscienceService(tmp_path / "services", NamespaceKey(bytes(range(32))), SystemClock())
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_follow_locks, coordinator, service)
            for wanted in (Lock(place=50), Lock(place=0)):
                await coordinator.announce("lock/rawx-1", msgspec.json.encode(wanted))
                while service.board.locks.get("rawx-1") != wanted:  # noqa: ASYNC110 - in its own time
                    await trio.sleep(0.01)
            await coordinator.withdraw("lock/rawx-1")
            while service.board.locks:  # noqa: ASYNC110 - as above
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def test_a_conscience_that_begins_knows_the_locks_before_it_answers(tmp_path: Path) -> None:
    """Else it told a drained host as one that takes new things, and one that was given up as a member."""
    coordinator = LocalCoordinator()
    service = ConscienceService(tmp_path / "services", NamespaceKey(bytes(range(32))), SystemClock())
    for number in range(50):
        await coordinator.announce(f"lock/rawx-{number}", msgspec.json.encode(Lock(place=0)))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(_follow_locks, coordinator, service)
            assert len(service.board.locks) == 50
            nursery.cancel_scope.cancel()


async def test_a_lock_that_can_t_be_read_ends_no_conscience(tmp_path: Path) -> None:
    coordinator = LocalCoordinator()
    service = ConscienceService(tmp_path / "services", NamespaceKey(bytes(range(32))), SystemClock())
    await coordinator.announce("lock/rawx-1", msgspec.json.encode(Lock(place=0)))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(_follow_locks, coordinator, service)
            await coordinator.announce("lock/rawx-1", b"{")
            await coordinator.announce("lock/rawx-2", msgspec.json.encode(Lock(place=7)))
            while "rawx-2" not in service.board.locks:  # noqa: ASYNC110 - in its own time
                await trio.sleep(0.01)
            assert service.board.locks["rawx-1"] == Lock(place=0)
            nursery.cancel_scope.cancel()


async def test_a_lock_in_place_of_another_leaves_no_moment_without_one() -> None:
    coordinator = LocalCoordinator()
    node = cast(Node, SimpleNamespace(coordinator=coordinator))
    seen: list[bytes] = []
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            async for document in coordinator.watch("lock/rawx-1"):
                seen.append(document.data)

        await lock(node, "rawx-1", Lock(place=0))
        nursery.start_soon(watch)
        await trio.testing.wait_all_tasks_blocked()
        await lock(node, "rawx-1", Lock(place=0, read=0, gone=True))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [msgspec.json.encode(Lock(place=0)), msgspec.json.encode(Lock(place=0, read=0, gone=True))]
