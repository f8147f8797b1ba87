"""Chunks that stay open between two calls of the same reader."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
import trio

from node.errors import ChunkNotFound
from node.http.client import Client
from node.http.server import listen_unix, serve
from rawx.client import RemoteRawx
from rawx.openings import IDLE_S, OPEN_MAX, Openings
from rawx.service import LIMITS, RawxService
from rawx.volume import Volume
from tests.component.rawx.conftest import KEY, UNIT, put, sample


async def test_who_began_to_read_a_remote_chunk_reads_on_though_it_is_deleted(volume: Volume, tmp_path: Path) -> None:
    made = await put(volume, sample(4 * UNIT))
    path = str(tmp_path / "socket")
    async with trio.open_nursery() as nursery, Client(key=KEY) as client:
        service = RawxService({volume.volume_id: volume}, KEY)
        await nursery.start(partial(serve, service, [listen_unix(path)], limits=LIMITS, name="rawx"))
        nursery.start_soon(service.keep_tidy)
        remote = RemoteRawx(client, f"unix:{path}", volume.volume_id)
        reader = await remote.open(made.chunk, made.checksum)
        buffer = memoryview(bytearray(UNIT))
        await reader.read(0, buffer)
        assert await volume.delete([made.chunk]) == []
        for unit in range(1, 4):
            await reader.read(unit * UNIT, buffer)
            assert buffer == made.data[unit * UNIT :][:UNIT]
        with pytest.raises(ChunkNotFound):
            await remote.open(made.chunk, made.checksum)
        nursery.cancel_scope.cancel()


async def test_idle_chunks_are_closed(volume: Volume) -> None:
    now = 0.0
    made = await put(volume, sample(UNIT))
    openings = Openings(lambda: now)
    before = len(os.listdir("/proc/self/fd"))
    async with openings.use(volume, made.chunk, made.checksum) as one, openings.use(volume, made.chunk, made.checksum) as two:
        assert one is not two
    assert repr(openings) == "<Openings idle=2>"
    async with openings.use(volume, made.chunk, made.checksum) as again:
        assert again in (one, two)
    now = IDLE_S + 1
    await openings.expire()
    assert repr(openings) == "<Openings idle=0>"
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ValueError, match="broken"):
        async with openings.use(volume, made.chunk, made.checksum):
            raise ValueError("broken")
    assert repr(openings) == "<Openings idle=0>"


async def test_only_so_many_stay_open(volume: Volume) -> None:
    made = await put(volume, sample(UNIT))
    openings = Openings(lambda: 0.0)
    for number in range(OPEN_MAX + 10):
        openings._keep(("v", str(number), b""), await volume.open(made.chunk, made.checksum))
    await openings.expire()
    assert repr(openings) == f"<Openings idle={OPEN_MAX}>"
    await openings.aclose()
    assert repr(openings) == "<Openings idle=0>"
