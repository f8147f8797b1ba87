"""Volumes that fail in the middle of a write, more of them than its policy can do without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trio

from node.errors import NotEnoughServices, PeerUnreachable
from rawx.chunk import Buffer
from store.layout import Layout
from tests.component.store.support import chunk_files, opened, put, read

MIB = 1 << 20


class GoesDown:
    """A volume whose host goes down after so many writes, under way or not."""

    def __init__(self, inner: Any, after: int) -> None:
        self.inner = inner
        self.writes = after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def check(self) -> None:
        self.writes -= 1
        if self.writes < 0:
            raise PeerUnreachable("the host is down")

    async def create(self, chunk: str, size_hint: int) -> Any:
        return _Upload(self, await self.inner.create(chunk, size_hint))

    async def put(self, *arguments: Any) -> None:
        self.check()
        await self.inner.put(*arguments)


class _Upload:
    def __init__(self, volume: GoesDown, inner: Any) -> None:
        self.volume = volume
        self.inner = inner

    async def write(self, data: Buffer) -> None:
        self.volume.check()
        await self.inner.write(data)

    async def commit(self, *arguments: Any) -> None:
        self.volume.check()
        await self.inner.commit(*arguments)

    async def abort(self) -> None:
        await self.inner.abort()


def policies(layout: Layout) -> list[str]:
    return [layout.policies[metachunk.policy].name for metachunk in layout.metachunks]


@pytest.mark.parametrize(
    ("after", "size", "expected"),
    [
        (3, 12 * MIB, ["EC42"]),  # in the middle of a metachunk
        (8, 12 * MIB, ["EC42"]),  # at its commit
        (0, 12 * MIB, ["EC42"]),  # from the begin
        (0, 300_000, ["EC42"]),  # put in one piece
        (46, 80 * MIB, ["EC63", "EC42"]),  # in the second metachunk
    ],
)
async def test_a_write_goes_on_elsewhere_when_a_host_is_lost_under_it(tmp_path: Path, after: int, size: int, expected: list[str]) -> None:
    async with opened(tmp_path, 9) as store:
        data = os.urandom(size)
        for volume in list(store.volumes)[:3]:
            store.volumes[volume] = GoesDown(store.volumes[volume], after)
        row = await put(store, "key", data)
        layout = Layout.parse(row.layout)
        assert policies(layout) == expected
        assert await read(store, row) == data
        assert await read(store, row, size // 3, size - 1) == data[size // 3 : size - 1]


async def test_of_a_write_that_was_moved_nothing_stays_but_what_is_named(tmp_path: Path) -> None:
    async with opened(tmp_path, 9, workers=True) as store:
        for volume in list(store.volumes)[:3]:
            store.volumes[volume] = GoesDown(store.volumes[volume], 3)
        row = await put(store, "key", os.urandom(12 * MIB))
        named = {chunk for _, chunk in Layout.parse(row.layout).places()}
        with trio.fail_after(10):
            while {path.name for path in chunk_files(tmp_path)} != named:  # noqa: ASYNC110 - files of a worker's doing
                await trio.sleep(0.05)


async def test_when_too_little_is_left_the_write_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        for volume in list(store.volumes)[:4]:
            store.volumes[volume] = GoesDown(store.volumes[volume], 3)
        with pytest.raises(NotEnoughServices):
            await put(store, "key", os.urandom(12 * MIB))
    assert chunk_files(tmp_path) == []


async def test_a_write_whose_rest_would_not_come_in_whole_stripes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: as when memory is short and a slab is one stripe of 6+3, which is a stripe and a half of 4+2."""
    monkeypatch.setattr("store.policy.SLAB_BYTES", 1)
    async with opened(tmp_path, 9) as store:
        data = os.urandom(12 * MIB)
        for volume in list(store.volumes)[:3]:
            store.volumes[volume] = GoesDown(store.volumes[volume], 3)
        with pytest.raises(NotEnoughServices, match="EC63 needs"):
            await put(store, "key", data)
        row = await put(store, "key", data)
        assert policies(Layout.parse(row.layout)) == ["EC42"]
        assert await read(store, row) == data
