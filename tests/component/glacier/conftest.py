"""A worker on volumes of this host and a bus in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from glacier.backlog import Kind
from glacier.schedule import Rates, Scheduler, Terms
from glacier.worker.core import Options
from glacier.worker.protocol import Item
from glacier.worker.worker import Worker, open_worker
from node.clock import Clock
from rawx.cold import ColdChunks
from rawx.mark import Mark
from rawx.volume import Volume, open_volume
from tests.component.rawx.conftest import NAMESPACE, Sample, file_of
from tests.support.freezer import MemoryFreezer

AT_ONCE = Scheduler(terms={kind: Terms(0.0, 0.0, 3600.0) for kind in Kind}, rates=Rates(spin_up_s=0.0), least_s=0.0, idle_s=0.05)
"""Nothing waits for company."""
OPTIONS = Options(hot_s=3600.0, scheduler=AT_ONCE, tidy_s=0.02, retry_s=0.02)
SOON_S = 20.0


@pytest.fixture
def volumes(tmp_path: Path) -> Iterator[dict[str, Volume]]:
    opened = [open_volume(tmp_path / f"volume{number}", namespace=NAMESPACE, create=True) for number in range(3)]
    yield {volume.volume_id: volume for volume in opened}
    for volume in opened:
        volume.close()


@asynccontextmanager
async def working(
    path: Path, volumes: Mapping[str, Volume], freezer: MemoryFreezer, options: Options = OPTIONS, *, clock: Clock | None = None
) -> AsyncIterator[Worker]:
    async with open_worker(path / "ledger.db", volumes, freezer.dial, options, clock=clock) as worker, trio.open_nursery() as nursery:
        await nursery.start(worker.run)
        yield worker
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], what: str = "") -> None:
    """Raises: AssertionError when it takes too long."""
    with trio.move_on_after(SOON_S):
        while not condition():  # noqa: ASYNC110 - of files and of a worker's inside: nobody tells
            await trio.sleep(0.005)
        return
    raise AssertionError(f"this did not come about: {what}")


def item(volume: Volume, made: Sample) -> Item:
    return Item(volume.volume_id, made.chunk)


async def state(worker: Worker, what: Item) -> str:
    (found,) = await worker.door.states([what])
    return found.state


async def until_state(worker: Worker, what: Item, wanted: str, *, asked: bool | None = False) -> None:
    with trio.move_on_after(SOON_S):
        while True:
            (found,) = await worker.door.states([what])
            if found.state == wanted and asked in (None, found.asked):
                return
            await trio.sleep(0.005)
    raise AssertionError(f"{what} is {found}, not {wanted}")


async def mark_of(volume: Volume, made: Sample) -> Mark | None:
    return (await ColdChunks(volume).stored(made.chunk))[1]


def blocks(volume: Volume, made: Sample) -> int:
    """Bytes that the chunk's file takes on its volume."""
    return file_of(volume, made.chunk).stat().st_blocks * 512


async def bytes_of(volume: Volume, made: Sample) -> bytes:
    reader = await volume.open(made.chunk, made.checksum)
    try:
        buffer = bytearray(len(made.data))
        await reader.read(0, memoryview(buffer))
        return bytes(buffer)
    finally:
        await reader.aclose()
