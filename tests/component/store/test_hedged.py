"""Reads from other hosts when one of those is slow or silent: nobody waits for it, and nothing is taken for damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from node.buffers import BufferPool
from node.errors import VolumeSick
from rawx.chunk import Buffer
from rawx.protocol import Rawx, Reader
from store.get import AHEAD_BYTES, HEDGE_S, room_bytes
from store.hedge import DELAY_S
from store.layout import Layout
from store.location import Location, group_counts
from store.namespace import NamespaceSettings
from store.placement import Candidate, Topology
from store.store import Store
from tests.component.store.support import opened, put, read

USUAL_S = 0.002


class Far:
    """A volume as if on another host: reads take `pause_s`, and `unit_s` for each further unit, writes go on as they were.
    Counts reads, and who left without an answer."""

    def __init__(self, volume: Rawx) -> None:
        self._volume = volume
        self.pause_s = USUAL_S
        self.unit_s = 0.0
        self.asked = self.left = 0
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volume, name)

    async def _pause(self, units: int = 1) -> None:
        self.asked += 1
        try:
            await trio.sleep(self.pause_s + self.unit_s * (units - 1))
        except trio.Cancelled:
            self.left += 1
            raise
        if self.broken:
            raise VolumeSick("broken")

    def get_now(self, chunk: str, size: int, checksum: bytes) -> bytes | None:
        return None

    async def get(self, chunk: str, size: int, checksum: bytes) -> bytes:
        await self._pause()
        return await self._volume.get(chunk, size, checksum)

    async def open(self, chunk: str, checksum: bytes) -> FarReader:
        return FarReader(self, await self._volume.open(chunk, checksum))


class FarReader:
    def __init__(self, far: Far, reader: Reader) -> None:
        self._far = far
        self._reader = reader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def read(self, offset: int, into: memoryview) -> None:
        await self._far._pause(-(-len(into) // self._reader.unit_bytes))
        await self._reader.read(offset, into)


def spread(store: Store) -> dict[str, Far]:
    """Puts each volume on a host of its own, none of them here."""
    fleet = store._context.fleet
    volumes = {name: Far(volume) for name, volume in fleet.volumes.items()}
    places = {name: Location.parse(f"dc.room.rack.host{number}.disk") for number, name in enumerate(volumes)}
    pools, default = NamespaceSettings().pools_for(group_counts(list(places.values())))
    members = {name: Candidate(name, 100.0, place, frozenset()) for name, place in places.items()}
    fleet.arrange(volumes, Topology(members, frozenset(members), pools, default))  # type: ignore[arg-type]
    return volumes


def holders(row_layout: bytes) -> list[str]:
    layout = Layout.parse(row_layout)
    return [layout.volumes[chunk.volume] for chunk in layout.metachunks[0].chunks]


@pytest.mark.parametrize(("policy", "size"), [("THREECOPIES", 3_000), ("THREECOPIES", 700_000), ("EC42", 3_000_000), ("EC42", 100_000)])
@pytest.mark.parametrize("silent", [1, 2])
async def test_silent_volumes_hold_no_read_up(tmp_path: Path, policy: str, size: int, silent: int) -> None:
    data = os.urandom(size)
    async with opened(tmp_path, 6, policy=policy) as store:
        row = await put(store, "k", data)
        volumes = spread(store)
        for _ in range(20):  # it is learnt how long reads take
            assert await read(store, row) == data
        stopped = [volumes[name] for name in holders(row.layout)[:silent]]
        for far in stopped:
            far.pause_s = 3600
            far.asked = far.left = 0
        for _ in range(8):
            assert await read(store, row) == data
            assert await read(store, row, size // 3, size // 2) == data[size // 3 : size // 2]
        assert all(far.left == far.asked for far in stopped)
        assert not store._context.fleet.findings  # none waited for HEDGE_S


async def test_who_lost_a_race_is_not_waited_for_again(tmp_path: Path) -> None:
    data = os.urandom(2_000_000)
    async with opened(tmp_path, 6, policy="EC42") as store:
        row = await put(store, "k", data)
        volumes = spread(store)
        slow = volumes[holders(row.layout)[0]]
        slow.pause_s = (DELAY_S[1] + HEDGE_S) / 2
        assert await read(store, row) == data
        assert (slow.asked, slow.left) == (1, 1)  # of two stripes the second did not ask it
        assert not store._context.fleet.findings


async def test_one_that_is_broken_is_followed_by_another_at_once_and_reported(tmp_path: Path) -> None:
    data = os.urandom(3_000)
    async with opened(tmp_path, 3, policy="THREECOPIES") as store:
        row = await put(store, "k", data)
        volumes = spread(store)
        for name in holders(row.layout)[:2]:
            volumes[name].broken = True
        assert await read(store, row) == data
        assert {finding.problem for finding in store._context.fleet.findings} <= {"unreadable"}


@pytest.mark.parametrize(("policy", "size"), [("THREECOPIES", 3_000_000), ("EC42", 5_000_000)])
async def test_what_comes_next_is_on_its_way_while_bytes_are_handed_on(tmp_path: Path, policy: str, size: int) -> None:
    data = os.urandom(size)
    async with opened(tmp_path, 6, policy=policy) as store:
        row = await put(store, "k", data)
        volumes = spread(store)
        got, meanwhile = bytearray(), 0

        async def slow_sink(piece: Buffer) -> None:
            nonlocal meanwhile
            before = sum(far.asked for far in volumes.values())
            await trio.sleep(5 * USUAL_S)
            meanwhile += sum(far.asked for far in volumes.values()) - before
            got.extend(piece)

        await store.read(row, 0, size, slow_sink)
        assert got == data
        assert meanwhile >= sum(far.asked for far in volumes.values()) // 2


@pytest.mark.parametrize(("policy", "size", "needed"), [("THREECOPIES", 8_000_000, 1), ("EC42", 8_000_000, 4)])
async def test_a_long_read_is_not_late_because_short_ones_are_quick(tmp_path: Path, policy: str, size: int, needed: int) -> None:
    data = os.urandom(size)
    async with opened(tmp_path, 6, policy=policy) as store:
        row = await put(store, "k", data)
        volumes, pace = spread(store), store._context.fleet.pace
        pace.delay_s = 0.06  # as short reads have it
        at_once = AHEAD_BYTES // Layout.parse(row.layout).policies[0].stripe_bytes
        for far in volumes.values():
            far.unit_s = 3 * pace.delay_s / at_once
        assert await read(store, row) == data
        assert sum(far.asked > 0 for far in volumes.values()) == needed


async def test_a_short_read_takes_no_more_memory_than_it_can_use(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    async with opened(tmp_path, 6, policy="EC42") as store:
        row = await put(store, "k", data)
        spread(store)
        lent: list[int] = []

        async def sink(piece: Buffer) -> None:
            lent.append(store._context.reads.lent)

        await store.read(row, 0, len(data), sink)
        assert max(lent) <= BufferPool.size_class(2 * room_bytes(Layout.parse(row.layout).policies[0]))


@pytest.mark.parametrize("broken", [True, False])
async def test_a_copy_whose_host_goes_while_it_is_read_is_followed_by_another(tmp_path: Path, broken: bool) -> None:
    data = os.urandom(3_000_000)
    async with opened(tmp_path, 6, policy="THREECOPIES") as store:
        row = await put(store, "k", data)
        volumes = spread(store)
        got = bytearray()

        async def sink(piece: Buffer) -> None:
            for far in volumes.values():
                if far.asked and not got:
                    far.broken, far.pause_s = broken, far.pause_s if broken else 3600
            got.extend(piece)

        with trio.fail_after(5):
            await store.read(row, 0, len(data), sink)
        assert got == data
