"""Chunks whose bytes lie elsewhere: emptied, marked, filled, and what everybody else sees of them meanwhile."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from node.errors import ChunkCold, ChunkCorrupt, ChunkNotFound, PeerUnreachable
from rawx import system
from rawx.cold import ColdChunks
from rawx.mark import COLD, FILLED, LOST, MARK_ATTRIBUTE, Mark, marked
from rawx.protocol import Rawx
from rawx.volume import Volume, open_volume
from tests.component.rawx.conftest import NAMESPACE, UNIT, Sample, file_of, put, sample

PLACE = "mrfreeze/0/17"


async def read_all(volume: Rawx, made: Sample) -> bytes:
    reader = await volume.open(made.chunk, made.checksum)
    try:
        buffer = bytearray(len(made.data))
        await reader.read(0, memoryview(buffer))
        return bytes(buffer)
    finally:
        await reader.aclose()


async def fill(cold: ColdChunks, made: Sample, mark: Mark | None) -> None:
    for offset in range(0, len(made.data), UNIT):
        await cold.fill(made.chunk, offset, made.data[offset : offset + UNIT])
    await cold.finish(made.chunk, mark)


async def test_an_emptied_chunk_keeps_all_but_its_blocks(volume: Volume) -> None:
    made = await put(volume, sample(8 * UNIT + 5))
    path = file_of(volume, made.chunk)
    assert path.stat().st_blocks * 512 >= 8 * UNIT
    await ColdChunks(volume).empty(made.chunk, PLACE)
    assert path.stat().st_blocks * 512 < UNIT
    assert path.stat().st_size == len(made.data)
    assert (await volume.head(made.chunk, deep=False)).record == made.record
    assert os.getxattr(path, MARK_ATTRIBUTE) == b'{"state":"cold","place":"mrfreeze/0/17","until_us":0,"v":1}'


async def test_reading_a_cold_chunk_says_where_its_bytes_are(rawx: Rawx, volume: Volume) -> None:
    small, large = await put(volume, sample(1000)), await put(volume, sample(3 * UNIT))
    for made in (small, large):
        await ColdChunks(volume).empty(made.chunk, PLACE)
    with pytest.raises(ChunkCold, match=PLACE):
        await rawx.get(small.chunk, 1000, small.checksum)
    assert rawx.get_now(small.chunk, 1000, small.checksum) is None
    with pytest.raises(ChunkCold, match=PLACE):
        await read_all(rawx, large)
    with pytest.raises(ChunkCold, match=PLACE):
        await rawx.head(large.chunk, deep=True)
    assert volume.health.errors["ChunkCorrupt"] == 0


async def test_a_filled_chunk_is_read_as_before(rawx: Rawx, volume: Volume) -> None:
    made, cold = await put(volume, sample(3 * UNIT + 7)), ColdChunks(volume)
    await cold.empty(made.chunk, PLACE)
    await fill(cold, made, Mark(FILLED, PLACE, 99))
    assert await read_all(rawx, made) == made.data
    assert (await cold.stored(made.chunk))[1] == Mark(FILLED, PLACE, 99)
    await cold.set_mark(made.chunk, None)
    assert MARK_ATTRIBUTE not in os.listxattr(file_of(volume, made.chunk))


async def test_only_the_bytes_that_left_come_back(volume: Volume) -> None:
    made, cold = await put(volume, sample(2 * UNIT)), ColdChunks(volume)
    await cold.empty(made.chunk, PLACE)
    with pytest.raises(ChunkCorrupt):
        await cold.fill(made.chunk, 0, os.urandom(UNIT))
    await cold.fill(made.chunk, 0, made.data[:UNIT])
    with pytest.raises(ChunkCorrupt):
        await cold.finish(made.chunk, Mark(FILLED, PLACE))
    assert (await cold.stored(made.chunk))[1] == Mark(COLD, PLACE)


async def test_a_reader_that_met_a_hole_reads_again_when_the_chunk_was_filled_meanwhile(volume: Volume) -> None:
    made, cold = await put(volume, sample(2 * UNIT)), ColdChunks(volume)
    await cold.empty(made.chunk, PLACE)
    reader = await volume.open(made.chunk, made.checksum)
    await fill(cold, made, Mark(FILLED, PLACE))
    buffer = bytearray(2 * UNIT)
    await reader.read(0, memoryview(buffer))
    await reader.aclose()
    assert bytes(buffer) == made.data


async def test_rot_in_a_filled_chunk_is_damage(volume: Volume) -> None:
    made, cold = await put(volume, sample(2 * UNIT)), ColdChunks(volume)
    await cold.empty(made.chunk, PLACE)
    await fill(cold, made, Mark(FILLED, PLACE))
    with file_of(volume, made.chunk).open("r+b") as file:
        file.write(b"rot")
    with pytest.raises(ChunkCorrupt):
        await read_all(volume, made)


async def test_scrubs_take_a_cold_chunk_for_well_and_a_lost_one_for_damaged(rawx: Rawx, volume: Volume) -> None:
    made, cold = await put(volume, sample(2 * UNIT)), ColdChunks(volume)
    await cold.empty(made.chunk, PLACE)
    for deep in (False, True):
        (look,) = await rawx.examine([made.chunk], deep=deep)
        assert (look.problem, look.size, look.checksum, look.cold) == ("", len(made.data), made.checksum, PLACE)
    await cold.set_mark(made.chunk, Mark(LOST, PLACE))
    (look,) = await rawx.examine([made.chunk], deep=False)
    assert look.problem == "corrupt"
    with pytest.raises(ChunkCorrupt, match="lost"):
        await read_all(volume, made)


async def test_a_mark_finds_room_beside_a_record_that_fills_the_attributes(volume: Volume) -> None:
    cold = ColdChunks(volume)
    for size in range(3400, 4100, 20):
        made = await put(volume, sample(2 * UNIT, attributes={"x": "y" * size}))
        await cold.empty(made.chunk, PLACE)
        stored, mark = await cold.stored(made.chunk)
        assert (stored.record, mark) == (made.record, Mark(COLD, PLACE))


async def test_records_of_cold_chunks_still_change(volume: Volume) -> None:
    made = await put(volume, sample(2 * UNIT))
    await ColdChunks(volume).empty(made.chunk, PLACE)
    newer = sample(2 * UNIT, key="renamed", seq=1).record
    await volume.update(made.chunk, newer)
    stat = await volume.head(made.chunk, deep=False)
    assert stat.record.key == "renamed"


async def test_a_chunk_that_is_gone_can_be_neither_emptied_nor_filled(volume: Volume) -> None:
    made, cold = sample(UNIT), ColdChunks(volume)
    for call in (cold.empty(made.chunk, PLACE), cold.fill(made.chunk, 0, made.data), cold.finish(made.chunk, None)):
        with pytest.raises(ChunkNotFound):
            await call
    assert marked(volume.root, volume.health, [made.chunk]) == []


@pytest.mark.parametrize("answers", [True, False])
async def test_a_cold_chunk_is_deleted_only_when_its_keeper_knows(tmp_path: Path, answers: bool) -> None:
    told: list[tuple[str, list[str]]] = []

    async def forget(volume_id: str, chunks: Sequence[str]) -> None:
        told.append((volume_id, list(chunks)))
        if not answers:
            raise PeerUnreachable("the worker does not answer")

    volume = open_volume(tmp_path, namespace=NAMESPACE, create=True, forget=forget)
    hot, cold = await put(volume, sample(10)), await put(volume, sample(UNIT))
    await ColdChunks(volume).empty(cold.chunk, PLACE)
    failed = await volume.delete([hot.chunk, cold.chunk])
    assert told == [(volume.volume_id, [cold.chunk])]
    assert failed == ([] if answers else [cold.chunk])
    assert not file_of(volume, hot.chunk).exists()
    assert file_of(volume, cold.chunk).exists() is not answers
    volume.close()


def test_holes_are_really_punched_here(tmp_path: Path) -> None:
    """What the other tests rest on: this file system can give blocks back."""
    path = tmp_path / "file"
    path.write_bytes(struct.pack("Q", 1) * 100_000)
    with path.open("r+b") as file:
        system.punch(file.fileno(), path.stat().st_size)
    assert path.stat().st_size == 800_000
    assert path.stat().st_blocks == 0 or path.stat().st_blocks * 512 < 8192
