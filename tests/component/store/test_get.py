from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest
import trio

from node.errors import ContentAway, ContentLost, FrazilError
from rawx.chunk import Buffer
from store import get
from store import policy as policies
from store.absent import AbsentVolume
from store.layout import Chunk, Layout
from store.policy import POLICIES
from store.store import Store
from tests.component.store.support import break_volumes, chunk_files, file_of, flip, opened, put, read

CODED = ["EC21", "EC42", "EC63", "EC123"]
KINDS = ["delete", "flip", "truncate", "extend", "empty", "swap", "attribute"]


def damage(store: Store, layout: Layout, chunk: Chunk, others: list[Chunk], kind: str, rng: random.Random) -> None:
    file = file_of(store, layout, chunk)
    size = file.stat().st_size
    match kind:
        case "delete":
            file.unlink()
        case "flip":
            flip(file, rng.randrange(size))
        case "truncate":
            os.truncate(file, rng.randrange(size))
        case "extend":
            with open(file, "ab") as handle:
                handle.write(b"more")
        case "empty":
            os.truncate(file, 0)
        case "attribute":
            os.removexattr(file, "user.frazil.units")
        case "swap":  # another chunk of the same content, with its attributes: internally consistent, but not this one
            other = file_of(store, layout, rng.choice(others))
            copy = file.with_name("copy")
            shutil.copy2(other, copy)
            for name in os.listxattr(other):
                os.setxattr(copy, name, os.getxattr(other, name))
            os.rename(copy, file)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", [*CODED, "THREECOPIES", "TWOCOPIES"])
async def test_any_tolerated_damage_is_not_noticed_and_more_is_never_wrong_bytes(
    tmp_path: Path, name: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "METACHUNK_BYTES", 3 << 20)
    rng = random.Random(f"{name} {seed}")
    policy = POLICIES[name]
    async with opened(tmp_path, policy.chunks, policy=name) as store:
        for number in range(3):
            size = rng.choice([131_073, rng.randrange(1, 9_000_000), 1 << 20, 4 << 20])
            data = rng.randbytes(size)
            row = await put(store, f"k{number}", data)
            layout = Layout.parse(row.layout)
            ranges = [(0, size)] + [tuple(sorted((rng.randrange(size), rng.randrange(size + 1)))) for _ in range(4)]
            broken = {}
            for metachunk in layout.metachunks:
                victims = rng.sample(list(metachunk.chunks), rng.randrange(min(policy.tolerates, len(metachunk.chunks) - 1) + 1))
                for chunk in victims:
                    others = [each for each in metachunk.chunks if each is not chunk and each not in victims]
                    kinds = KINDS if layout.policies[0].coded else [kind for kind in KINDS if kind != "swap"]  # copies are alike
                    damage(store, layout, chunk, others, rng.choice(kinds), rng)
                broken[id(metachunk)] = victims
            for start, stop in ranges:
                assert await read(store, row, start, stop) == data[start:stop]
            metachunk = rng.choice(layout.metachunks)
            rest = [chunk for chunk in metachunk.chunks if chunk not in broken[id(metachunk)]]
            for chunk in rest[: len(rest) - policy.needed + 1]:
                file_of(store, layout, chunk).unlink()
            out = bytearray()

            async def sink(piece: Buffer, out: bytearray = out) -> None:
                out.extend(piece)

            try:
                await store.read(row, 0, size, sink)
            except ContentLost:
                assert len(out) < size
                assert out == data[: len(out)]
            else:  # copies are read one by one: what is lost may lie where nothing was asked of it
                raise AssertionError("more was lost than the policy tolerates, and the read did not say so")


@pytest.mark.parametrize("kind", ["delete", "flip", "truncate", "empty"])
async def test_a_damaged_copy_of_a_small_object_is_replaced_by_the_next_and_reported(tmp_path: Path, kind: str) -> None:
    async with opened(tmp_path, 3) as store:
        row = await put(store, "k", b"some bytes")
        layout = Layout.parse(row.layout)
        chunks = list(layout.metachunks[0].chunks)
        for chunk in chunks[:2]:
            damage(store, layout, chunk, [], kind, random.Random(1))
        assert await store.read_whole(row) == b"some bytes"
        assert {finding.chunk for finding in store.findings} <= {chunk.name for chunk in chunks[:2]}
        damage(store, layout, chunks[2], [], kind, random.Random(1))
        with pytest.raises(ContentLost):
            await store.read_whole(row)
        assert {finding.chunk for finding in store.findings} == {chunk.name for chunk in chunks}


@pytest.mark.parametrize(
    ("size", "away", "deleted", "error"),
    [
        (1_000, 4, 0, ContentAway),
        (1_000, 1, 3, ContentAway),
        (1_000, 0, 4, ContentLost),
        (3_000_000, 4, 0, ContentAway),
        (3_000_000, 3, 1, ContentAway),
        (3_000_000, 1, 4, ContentLost),
    ],
)
async def test_only_what_is_known_to_be_gone_is_lost(tmp_path: Path, size: int, away: int, deleted: int, error: type[FrazilError]) -> None:
    """With nine volumes a small object has four copies, a large one is 6+3."""
    async with opened(tmp_path, 9) as store:
        data = random.Random(1).randbytes(size)
        layout = Layout.parse((row := await put(store, "k", data)).layout)
        chunks = list(layout.metachunks[0].chunks)
        for chunk in chunks[away : away + deleted]:
            file_of(store, layout, chunk).unlink()
        for chunk in chunks[:away]:
            volume = layout.volumes[chunk.volume]
            store.volumes[volume] = AbsentVolume(volume, "its host has no power")
        with pytest.raises(error):
            await (store.read_whole(row) if size < 131_072 else read(store, row))


async def test_an_intact_read_touches_only_the_units_of_its_range(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        data = random.Random(1).randbytes(4 << 20)
        row = await put(store, "k", data)
        layout = Layout.parse(row.layout)
        unit = layout.policies[0].unit_bytes
        kept = next(chunk for chunk in layout.metachunks[0].chunks if chunk.position == 2)
        for chunk in layout.metachunks[0].chunks:
            if chunk is not kept:
                file_of(store, layout, chunk).unlink()
        assert await read(store, row, 2 * unit + 5, 2 * unit + 9) == data[2 * unit + 5 : 2 * unit + 9]
        assert not store.findings


@pytest.mark.parametrize("size", [1000, 3_000_000])
async def test_a_volume_that_hangs_is_passed_over(tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get, "HEDGE_S", 0.05)
    async with opened(tmp_path, 9) as store:
        data = random.Random(1).randbytes(size)
        row = await put(store, "k", data)
        break_volumes(store, 3 if size > 131072 else 2, ["get", "open"], hang=True)
        for name in list(store.volumes)[3:]:
            assert store.volumes[name]
        with trio.fail_after(5):
            assert (await store.read_whole(row) if size <= 131072 else await read(store, row)) == data
        assert {finding.problem for finding in store.findings} <= {"unreadable"}


async def test_what_the_sink_raises_comes_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        row = await put(store, "k", bytes(1_000_000))

        async def sink(piece: Buffer) -> None:
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            await store.read(row, 0, row.size, sink)


async def test_verify_tells_each_damaged_chunk_and_no_other(tmp_path: Path) -> None:
    rng = random.Random(4)
    async with opened(tmp_path, 9) as store:
        row = await put(store, "k", rng.randbytes(2_000_000))
        layout = Layout.parse(row.layout)
        assert [finding async for finding in store.verify(row, "bucket")] == []
        chunks = list(layout.metachunks[0].chunks)
        expected = {}
        for chunk, kind in zip(chunks, KINDS, strict=False):
            damage(store, layout, chunk, [chunks[8]], kind, rng)
            expected[chunk.name] = "missing" if kind == "delete" else "corrupt"
        found = {finding.chunk: finding.problem async for finding in store.verify(row, "bucket")}
        assert found == expected


async def test_reading_leaves_no_descriptor_open(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        row = await put(store, "k", bytes(2_000_000))
        await read(store, row)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            await read(store, row, 5, 1_500_000)
        assert len(os.listdir("/proc/self/fd")) <= before
        assert chunk_files(tmp_path)
