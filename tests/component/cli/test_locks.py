"""What a conscience hears of operators' locks."""

from __future__ import annotations

from pathlib import Path

import msgspec
import trio

from cli.cluster.roles import _follow_locks
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
            for lock in (Lock(place=50), Lock(place=0)):
                await coordinator.announce("lock/rawx-1", msgspec.json.encode(lock))
                while service.board.locks.get("rawx-1") != lock:  # noqa: ASYNC110 - in its own time
                    await trio.sleep(0.01)
            await coordinator.withdraw("lock/rawx-1")
            while service.board.locks:  # noqa: ASYNC110 - as above
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
