"""What a process knows of where the conscience instances are."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from cli.cluster.node import Consciences
from meta.coordinator import LocalCoordinator


async def _until(consciences: Consciences, addresses: Sequence[str]) -> None:
    with trio.fail_after(10):
        while sorted(consciences.addresses()) != sorted(addresses):  # noqa: ASYNC110 - in its own time
            await trio.sleep(0.01)


async def test_an_instance_that_comes_back_at_another_address_is_found_there() -> None:
    """Also when nobody saw that it was away: the names are the same before and after."""
    coordinator = LocalCoordinator()
    await coordinator.announce("conscience/a", b"10.0.0.1:6000")
    consciences = Consciences(coordinator)
    await consciences.look()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(consciences.watch)
        await _until(consciences, ["10.0.0.1:6000"])
        await coordinator.announce("conscience/a", b"10.0.0.9:6000")
        await _until(consciences, ["10.0.0.9:6000"])
        nursery.cancel_scope.cancel()


async def test_an_instance_that_went_stays_known_until_another_comes() -> None:
    """It may only have lost ZooKeeper."""
    coordinator = LocalCoordinator()
    for name in ("a", "b"):
        await coordinator.announce(f"conscience/{name}", f"{name}:1".encode())
    consciences = Consciences(coordinator)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(consciences.watch)
        await _until(consciences, ["a:1", "b:1"])
        await coordinator.withdraw("conscience/a")
        await trio.sleep(0.05)
        await _until(consciences, ["a:1", "b:1"])
        await coordinator.announce("conscience/c", b"c:1")
        await _until(consciences, ["b:1", "c:1"])
        nursery.cancel_scope.cancel()
