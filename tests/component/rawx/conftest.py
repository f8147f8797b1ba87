"""Volumes to test, in process and behind HTTP, and chunks to put on them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from node.auth import NamespaceKey
from node.http.client import Client
from node.http.server import listen_unix, serve
from rawx.chunk import ChunkRecord, ObjectRecord, chunk_checksum, new_chunk_id, unit_digests
from rawx.client import RemoteRawx
from rawx.protocol import Rawx
from rawx.service import LIMITS, RawxService
from rawx.volume import Volume, open_volume

NAMESPACE = "test"
KEY = NamespaceKey(bytes(32))
UNIT = 64 << 10


@dataclass(frozen=True, slots=True)
class Sample:
    """A chunk with everything that belongs to it."""

    chunk: str
    data: bytes
    record: ChunkRecord
    units: bytes

    @property
    def checksum(self) -> bytes:
        return chunk_checksum(self.units)


def sample(size: int, *, unit_bytes: int = UNIT, key: str = "a/key", attributes: dict[str, object] | None = None, seq: int = 0) -> Sample:
    """Random bytes and their record."""
    data = os.urandom(size)
    units = unit_digests(data, unit_bytes)
    record = ChunkRecord(
        bucket="bucket",
        key=key,
        content="c" * 32,
        policy="SINGLE",
        account="account",
        metachunks=1,
        size=size,
        checksum=chunk_checksum(units).hex(),
        metachunk_size=size,
        unit_bytes=unit_bytes,
        seq=seq,
        object=ObjectRecord(version=1, size=size, etag="e" * 32, mtime_us=1, attributes=attributes or {}),
    )
    return Sample(new_chunk_id(), data, record, units)


async def put(rawx: Rawx, made: Sample) -> Sample:
    await rawx.put(made.chunk, made.data, made.record, made.units)
    return made


def file_of(volume: Volume, chunk: str) -> Path:
    return volume.path / chunk[:3] / chunk


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    opened = open_volume(tmp_path / "volume", namespace=NAMESPACE, create=True)
    yield opened
    opened.close()


@pytest.fixture(params=["local", "remote"])
async def rawx(request: pytest.FixtureRequest, volume: Volume, tmp_path: Path) -> AsyncIterator[Rawx]:
    """The volume, called directly and through its service."""
    if request.param == "local":
        yield volume
        return
    path = str(tmp_path / "socket")
    async with trio.open_nursery() as nursery, Client(key=KEY) as client:
        await nursery.start(partial(serve, RawxService({volume.volume_id: volume}, KEY), [listen_unix(path)], limits=LIMITS, name="rawx"))
        yield RemoteRawx(client, f"unix:{path}", volume.volume_id)
        nursery.cancel_scope.cancel()
