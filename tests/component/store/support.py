"""A real store on real folders, ways to look at it from outside, and ways to break it."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from meta.directory import container_id
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import Attributes, ObjectRow
from node.errors import VolumeSick
from rawx.chunk import Buffer, ChunkRecord
from rawx.protocol import Upload
from rawx.volume import Volume
from store.embedded import StoreOptions, open_store
from store.layout import Chunk, Layout
from store.source import BytesSource
from store.store import Store
from tests.support.survey import is_keepsake

BUCKET = "bucket"


@asynccontextmanager
async def opened(path: Path, volumes: int = 1, *, policy: str = "", workers: bool = False) -> AsyncIterator[Store]:
    """A store with one bucket; plain errors come out plain."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            async with open_store(StoreOptions((path,), volumes, policy)) as store:
                if workers:
                    await nursery.start(store.run_workers)
                if not await store.meta.accounts.buckets("account"):
                    await store.meta.create_bucket(BucketSettings(BUCKET, "account", "owner", 1))
                yield store
                nursery.cancel_scope.cancel()
        except Exception as error:
            failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def put(store: Store, key: str, data: bytes, **options: Any) -> ObjectRow:
    return await store.put_object(BUCKET, key, BytesSource(data), attributes=Attributes(), owner="owner", **options)


async def read(store: Store, row: ObjectRow, start: int = 0, stop: int | None = None, *, data_key: bytes = b"") -> bytes:
    out = bytearray()

    async def sink(piece: Buffer) -> None:
        out.extend(piece)
        await trio.lowlevel.checkpoint()

    await store.read(row, start, row.size if stop is None else stop, sink, data_key=data_key)
    return bytes(out)


def chunk_files(path: Path) -> list[Path]:
    """Every chunk file below a store's directory, but for the keepsakes that workers write."""
    return sorted(
        file
        for file in path.glob("volumes/*/*/*")
        if len(file.parent.name) == 3 and len(file.name) == 32 and file.name.startswith(file.parent.name) and not is_keepsake(file)
    )


def file_of(store: Store, layout: Layout, chunk: Chunk) -> Path:
    volume = store.volumes[layout.volumes[chunk.volume]]
    while isinstance(volume, Shim):
        volume = volume.inner
    assert isinstance(volume, Volume)
    return volume.path / chunk.name[:3] / chunk.name


class Shim:
    """A volume with one kind of call broken; everything else goes through."""

    def __init__(self, inner: Any, broken: Sequence[str], *, hang: bool = False) -> None:
        self.inner = inner
        self.broken = set(broken)
        self.hang = hang
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def _fail(self, name: str) -> None:
        if name in self.broken:
            self.calls += 1
            if self.hang:
                await trio.sleep_forever()
            raise VolumeSick(f"broken by the test: {name}")

    async def put(self, chunk: str, data: Buffer, record: ChunkRecord, units: bytes) -> None:
        await self._fail("put")
        await self.inner.put(chunk, data, record, units)

    async def get(self, chunk: str, size: int, checksum: bytes) -> bytes:
        await self._fail("get")
        return await self.inner.get(chunk, size, checksum)  # type: ignore[no-any-return]

    def get_now(self, chunk: str, size: int, checksum: bytes) -> bytes | None:
        return None if "get" in self.broken else self.inner.get_now(chunk, size, checksum)

    async def open(self, chunk: str, checksum: bytes) -> Any:
        await self._fail("open")
        return await self.inner.open(chunk, checksum)

    async def head(self, chunk: str, *, deep: bool) -> Any:
        await self._fail("head")
        return await self.inner.head(chunk, deep=deep)

    async def delete(self, chunks: Sequence[str]) -> list[str]:
        await self._fail("delete")
        return await self.inner.delete(chunks)  # type: ignore[no-any-return]

    async def create(self, chunk: str, size_hint: int) -> Upload:
        await self._fail("create")
        return ShimUpload(self, await self.inner.create(chunk, size_hint))


class ShimUpload:
    def __init__(self, shim: Shim, inner: Upload) -> None:
        self.shim = shim
        self.inner = inner

    async def write(self, data: Buffer) -> None:
        await self.shim._fail("write")
        await self.inner.write(data)

    async def commit(self, record: ChunkRecord, units: bytes) -> None:
        await self.shim._fail("commit")
        await self.inner.commit(record, units)

    async def abort(self) -> None:
        await self.inner.abort()


def break_volumes(store: Store, count: int, calls: Sequence[str], *, hang: bool = False) -> list[Shim]:
    shims = []
    for name in list(store.volumes)[:count]:
        shims.append(Shim(store.volumes[name], calls, hang=hang))
        store.volumes[name] = shims[-1]
    return shims


def break_disks(store: Store, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Volumes whose disks fail when a chunk is to get its name; unlike a Shim, they stay volumes of this host."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "broken by the test")

    for name in list(store.volumes)[:count]:
        volume = store.volumes[name]
        assert isinstance(volume, Volume)
        monkeypatch.setattr(volume.folders, "link", fail)


def damage_base(path: Path, bucket: str) -> None:
    """A bucket's metadata in a store that is not open."""
    (base,) = path.rglob(f"{container_id(bucket)}.db")
    base.write_bytes(b"not a base " * 1000)


def flip(file: Path, at: int) -> None:
    with open(file, "r+b") as handle:
        byte = os.pread(handle.fileno(), 1, at)
        os.pwrite(handle.fileno(), bytes([byte[0] ^ 0x55]), at)


class UnknownLength(BytesSource):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.length = None


class FailingSource(BytesSource):
    """Gives `good` bytes of what it announced, then raises."""

    def __init__(self, length: int, good: int, error: Exception) -> None:
        super().__init__(bytes(good))
        self.length = length
        self._error = error

    async def fill(self, buffer: memoryview) -> int:
        count = await super().fill(buffer)
        if count < len(buffer):
            raise self._error
        return count


class StuckSource(BytesSource):
    """Gives `good` bytes, then waits for ever."""

    def __init__(self, good: int) -> None:
        super().__init__(bytes(good))
        self.length = None
        self.stuck = trio.Event()

    async def fill(self, buffer: memoryview) -> int:
        count = await super().fill(buffer)
        if count < len(buffer):
            self.stuck.set()
            await trio.sleep_forever()
        return count


PATIENCE_S = 10.0


async def until(condition: Callable[[], bool]) -> None:
    """Waits for background work; in real time, because threads do it."""
    with trio.fail_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for outside the process under test
            await trio.sleep(0.01)


async def until_none(list_of: Callable[[], Awaitable[Sequence[object]]]) -> None:
    with trio.fail_after(PATIENCE_S):
        while await list_of():  # noqa: ASYNC110 - as above
            await trio.sleep(0.01)


async def records(store: Store, row: ObjectRow) -> list[ChunkRecord]:
    """The records in all chunks of a version."""
    return [(await store.volumes[volume].head(chunk, deep=True)).record for volume, chunk in Layout.parse(row.layout).places()]
