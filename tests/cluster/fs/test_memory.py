"""What a mount holds in memory while many names are listed and much is written: bounded, whatever there is in the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from benchmarks.memory import resident_mib
from meta.local import LocalMeta, open_meta
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import ObjectRow
from node.auth import NamespaceKey
from node.clock import SystemClock
from tests.cluster.conftest import StoreMaker
from tests.conftest import SCALE
from tests.support.mount import MountProcess
from tests.support.need import need_fuse
from tests.support.store import StoreProcess

RESIDENT_MIB_MAX = 200
FILES = 5_000
"""At scale 1; a million are scale 200."""
FOLDER_FILES = 1_000
WRITTEN_MIB = 24
"""At scale 1; 4 GiB and more are scale 200."""
PUTS_AT_ONCE = 500
MIB = 1 << 20


async def make_objects(store: Path, bucket: str, count: int) -> None:
    """Rows alone, as of empty objects, into the base of a store that doesn't run."""
    async with open_meta(store / "meta", key=NamespaceKey.load(store / "secret.key"), clock=SystemClock()) as meta:
        settings = await meta.container(bucket).settings()
        for begin in range(0, count, PUTS_AT_ONCE):
            async with trio.open_nursery() as nursery:
                for number in range(begin, min(begin + PUTS_AT_ONCE, count)):
                    nursery.start_soon(put, meta, settings, number)


async def put(meta: LocalMeta, settings: BucketSettings, number: int) -> None:
    key = f"many/{number // FOLDER_FILES:04}/{number:07}"
    await meta.container(settings.bucket).put(ObjectRow(key, content=f"{number:032x}", owner=settings.owner))


def listed(top: Path) -> Iterator[int]:
    """The size of each file below, by lstat."""
    for entry in os.scandir(top):
        if entry.is_dir():
            yield from listed(Path(entry.path))
        else:
            yield entry.stat(follow_symlinks=False).st_size


@pytest.mark.skipif(SCALE <= 1, reason="half a minute: FRAZIL_TEST_SCALE=200 for a million")
@pytest.mark.alone
@pytest.mark.timeout(7200)
def test_memory_is_bounded_while_many_are_listed_and_much_is_written(make_store: StoreMaker, scratch: Path, scale: float) -> None:
    need_fuse()
    store: StoreProcess = make_store()
    with store.client() as client:
        client.make_bucket("many")
    store.stop()
    count = int(FILES * scale)
    trio.run(make_objects, store.directories[0], "many", count)
    store.start()
    with MountProcess(store, scratch / "mnt", target="many") as mount:
        assert sum(1 for _ in listed(mount.directory / "many")) == count
        after_list = resident_mib(mount.pid)
        piece = os.urandom(MIB)
        with (mount.directory / "large").open("wb") as file:
            for _ in range(int(WRITTEN_MIB * scale)):
                file.write(piece)
        assert (mount.directory / "large").stat().st_size == int(WRITTEN_MIB * scale) * MIB
        with (mount.directory / "large").open("rb") as file:
            while file.read(MIB):
                pass
        assert max(after_list, resident_mib(mount.pid)) < RESIDENT_MIB_MAX, f"{after_list:.0f} MiB after the listing"
