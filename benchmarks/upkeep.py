"""What looking after a store costs: scrubs, the rebuilding of a volume and of the metadata, in this process. `python -m benchmarks.upkeep`

Rates are per second of processor time, of all threads: a machine that others use too gives the same figures. Files are in the page cache.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
import xxhash

from cli.process import prepare
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import Attributes
from rawx.folders import FOLDER_DIGITS
from rawx.reader import PIECE_BYTES
from rawx.volume import Volume
from store.embedded import StoreOptions, open_store
from store.jobs.scrub import ScrubChunks, ScrubMetadata
from store.jobs.task import Task
from store.jobs.volume import RebuildVolume
from store.rebuild.site import build, open_site
from store.rebuild.swap import NEW_FOLDER
from store.source import BytesSource
from store.store import Store
from store.tally import Tally

MIB = 1 << 20
BUCKET = "upkeep"
SMALL_BYTES = 4_000
LARGE_BYTES = 6 * MIB
"""Under 6+3 each volume gets a chunk of 1 MiB."""
ROUNDS = 3
DEEP_ROUNDS = 7
"""The one in the middle is told."""


class Spent:
    cpu_s = wall_s = 0.0


@contextmanager
def spending(spent: Spent) -> Iterator[None]:
    """Adds what the block takes."""
    cpu_s, wall_s = _processor_s(), time.monotonic()
    yield
    spent.cpu_s += _processor_s() - cpu_s
    spent.wall_s += time.monotonic() - wall_s


def _processor_s() -> float:
    """Of this process and of those that it started and saw end."""
    told = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in told)


def middle(rounds: list[Spent]) -> Spent:
    return sorted(rounds, key=lambda spent: spent.cpu_s)[len(rounds) // 2]


def told(name: str, amount: float, unit: str, spent: Spent, least: str) -> None:
    print(f"{name:<44} {amount / spent.cpu_s:>12,.0f} {unit}/s of processor ({amount / spent.wall_s:,.0f} by the clock); to reach: {least}")


async def fill(store: Store, count: int, size: int, prefix: str) -> None:
    body = random.Random(1).randbytes(size)
    for number in range(count):
        await store.put_object(BUCKET, f"{prefix}{number:06}", BytesSource(body), attributes=Attributes(), owner="owner")


async def through(task: Task) -> None:
    position: str | None = ""
    while position is not None:
        position, _ = await task.step(position)


def chunk_files(volume: Path) -> Iterator[str]:
    """Found as quickly as can be: in a volume of few chunks the walk through its 4,096 folders takes as long as reading them.

    In the order of a scrub, from the middle on: what the one reads when both take turns is in no cache of the processor for the other.
    """
    folders = sorted(name for name in os.listdir(volume) if len(name) == FOLDER_DIGITS)
    half = len(folders) // 2
    for folder in folders[half:] + folders[:half]:
        for name in os.listdir(f"{volume}/{folder}"):
            yield f"{volume}/{folder}/{name}"


def hashed(volume: Path) -> Iterator[int]:
    """Bytes so far: the files of the volume found, read and hashed with the same function, one after another."""
    size, buffer = 0, memoryview(bytearray(MIB))
    for path in chunk_files(volume):
        with open(path, "rb", buffering=0) as file:
            while count := file.readinto(buffer):
                for at in range(0, count, PIECE_BYTES):
                    xxhash.xxh3_64_digest(buffer[at : min(at + PIECE_BYTES, count)])
                size += count
        yield size


async def opened(path: Path, volumes: int, use: Callable[[Store], Awaitable[None]]) -> None:
    async with open_store(StoreOptions((path,), volumes)) as store:
        if not await store.meta.accounts.buckets(""):
            await store.meta.create_bucket(BucketSettings(BUCKET, "account", "owner", 1))
        await use(store)


async def scrub_metadata(store: Store) -> None:
    rounds = []
    for _ in range(ROUNDS):
        tally = Tally()
        rounds.append(Spent())
        with spending(rounds[-1]):
            await through(ScrubMetadata(store._context, tally, {"bucket": BUCKET}))
    told("metadata scrub", tally.counts["chunks"], "chunks", middle(rounds), "20,000")


async def rebuild_metadata(path: Path) -> None:
    rounds = []
    for _ in range(ROUNDS):
        rounds.append(Spent())
        with spending(rounds[-1]):
            async with open_site(path) as site:
                report = await build(site, path / NEW_FOLDER)
    told("rebuild of the metadata", report.versions, "objects", middle(rounds), "5,000")


async def scrub_deep(store: Store) -> None:
    """Reading and hashing take turns with the steps of the scrub, some ten milliseconds each, so that both meet the same machine."""
    volume, held = first_volume(store)
    *_, size = hashed(held.path)
    rounds = []
    for _ in range(DEEP_ROUNDS):
        tally, spent, own = Tally(), Spent(), Spent()
        task, files = ScrubChunks(store._context, tally, {"volume": volume, "deep": "1"}), hashed(held.path)
        position: str | None = ""
        while position is not None:
            with spending(spent):
                position, _ = await task.step(position)
            goal = size if position is None else tally.counts["bytes"]
            with spending(own):
                for done in files:
                    if done >= goal:
                        break
        rounds.append((own.cpu_s / spent.cpu_s, spent))
    rounds.sort(key=lambda pair: pair[0])
    share, spent = rounds[len(rounds) // 2]
    least = f"70 % of reading and hashing; {share:.0%} ({rounds[0][0]:.0%} to {rounds[-1][0]:.0%})"
    told("deep scrub of a volume", size / MIB, "MiB", spent, least)


async def rebuild_volume(store: Store) -> None:
    volume, held = first_volume(store)
    rounds = []
    for _ in range(ROUNDS):
        for file in list(chunk_files(held.path)):
            os.unlink(file)
        tally = Tally()
        rounds.append(Spent())
        with spending(rounds[-1]):
            await through(RebuildVolume(store._context, tally, {"volume": volume}))
    told("rebuild of a lost volume, 6+3", tally.counts["bytes"] / MIB, "MiB", middle(rounds), "150")


def first_volume(store: Store) -> tuple[str, Volume]:
    volume = min(store.volumes)
    held = store.volumes[volume]
    assert isinstance(held, Volume)
    return volume, held


async def measure(path: Path, small: int, chunks: int, large: int) -> None:
    async def small_ones(store: Store) -> None:
        await fill(store, small, SMALL_BYTES, "small")
        await scrub_metadata(store)

    async def chunks_of_one_volume(store: Store) -> None:
        await fill(store, chunks, MIB, "chunk")
        await scrub_deep(store)

    async def large_ones(store: Store) -> None:
        await fill(store, large, LARGE_BYTES, "large")
        await rebuild_volume(store)

    await opened(path / "small", 9, small_ones)
    await rebuild_metadata(path / "small")
    await opened(path / "one", 1, chunks_of_one_volume)
    await opened(path / "large", 9, large_ones)


def main() -> None:
    prepare()  # as the process of a store does
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", type=int, default=20_000, help="small objects, over nine volumes of 4,096 folders each")
    parser.add_argument("--chunks", type=int, default=1_000, help="chunks of 1 MiB on one volume")
    parser.add_argument("--large", type=int, default=200, help="objects of 6 MiB, over nine volumes")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="frazil-upkeep-"))
    try:
        trio.run(measure, folder, options.small, options.chunks, options.large)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
