"""Whoever reads what is moved beside him goes on where it is now: no read fails, even of a single copy."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from meta.protocol.holding import Holding
from meta.protocol.object import Attributes, ObjectRow
from node.errors import ContentLost
from rawx.chunk import Buffer
from store.envelope import MANAGED, Envelope
from store.layout import Layout
from store.policy import PolicySet
from store.recode import recode
from store.repair import Need, remake
from store.source import BytesSource
from store.store import Store
from tests.component.store.support import BUCKET, opened, put, read

MOVES = ("elsewhere", "recoded")


async def move(store: Store, row: ObjectRow, how: str) -> None:
    """As another process does: the old chunks are gone at once, whoever reads them here."""
    now = await store.get_row(BUCKET, row.key)
    holder = Holding(now.key, now.layout, now)
    if how == "elsewhere":
        for index in range(len(Layout.parse(now.layout).metachunks)):
            now = await store.get_row(BUCKET, row.key)
            holder = Holding(now.key, now.layout, now)
            positions = frozenset(chunk.position for chunk in Layout.parse(now.layout).metachunks[index].chunks)
            await remake(store._context, Need(BUCKET, holder, index, positions, keep=True))
    else:
        policy = "TWOCOPIES" if now.policy == "SINGLE" else "SINGLE"
        await recode(store._context, BUCKET, holder, PolicySet.of_bucket(policy, len(store.volumes)))
    for volume, chunk in Layout.parse(row.layout).places():
        assert await store.volumes[volume].delete([chunk]) == []


@pytest.mark.parametrize("how", MOVES)
@pytest.mark.parametrize("size", [1_000, 300_000])
async def test_a_row_that_is_out_of_date_still_reads(tmp_path: Path, how: str, size: int) -> None:
    body = random.Random(size).randbytes(size)
    async with opened(tmp_path, 3, policy="SINGLE") as store:
        row = await put(store, "k", body)
        await move(store, row, how)
        assert await store.read_whole(row, bucket=BUCKET) == body
        out = bytearray()

        async def sink(piece: Buffer) -> None:
            out.extend(piece)

        await store.read(row, 10, 900, sink, bucket=BUCKET)
        assert bytes(out) == body[10:900]
        with pytest.raises(ContentLost):
            await read(store, row)  # nobody says in which bucket to look


@pytest.mark.parametrize("how", MOVES)
async def test_an_encrypted_object_is_followed_too(tmp_path: Path, how: str) -> None:
    body = random.Random(3).randbytes(500_000)
    async with opened(tmp_path, 3, policy="SINGLE") as store:
        envelope, key = await store.vault.seal(Envelope(MANAGED, ""))
        attributes = envelope.into(Attributes())
        row = await store.put_object(BUCKET, "k", BytesSource(body), attributes=attributes, owner="o", data_key=key)
        await move(store, row, how)
        assert await store.read_whole(row, bucket=BUCKET, data_key=key) == body


@pytest.mark.slow
@pytest.mark.parametrize("how", MOVES)
async def test_a_read_goes_on_in_the_middle(tmp_path: Path, how: str) -> None:
    body = random.Random(4).randbytes(65 << 20)
    async with opened(tmp_path, 3, policy="SINGLE") as store:
        row = await put(store, "k", body)
        out = bytearray()

        async def sink(piece: Buffer) -> None:
            if not out:
                await move(store, row, how)
            out.extend(piece)

        await store.read(row, 0, row.size, sink, bucket=BUCKET)
        assert out == body


async def test_an_open_window_follows(tmp_path: Path) -> None:
    body = random.Random(5).randbytes(400_000)
    async with opened(tmp_path, 3, policy="SINGLE") as store:
        row = await put(store, "k", body)
        async with store.window(row, bucket=BUCKET) as window:
            await move(store, row, "recoded")
            into = bytearray(1_000)
            await window.read(123_456, memoryview(into))
            assert bytes(into) == body[123_456:124_456]


async def test_what_is_gone_is_lost(tmp_path: Path) -> None:
    async with opened(tmp_path, 3, policy="SINGLE") as store:
        row = await put(store, "k", bytes(300_000))
        for volume, chunk in Layout.parse(row.layout).places():
            await store.volumes[volume].delete([chunk])
        with pytest.raises(ContentLost):
            await store.read_whole(row, bucket=BUCKET)
