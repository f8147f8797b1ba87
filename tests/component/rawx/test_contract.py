"""What every implementation of rawx.protocol.Rawx promises."""

from __future__ import annotations

import os
from contextlib import closing

import msgspec
import pytest
import trio

from node.errors import AlreadyExists, BadRequest, ChunkCorrupt, ChunkNotFound, FrazilError, InvalidArgument, RecordCorrupt, VolumeReadOnly
from rawx.chunk import chunk_checksum, new_chunk_id, unit_digests
from rawx.fanout import write_all
from rawx.protocol import Rawx
from rawx.volume import Volume, open_volume
from tests.component.rawx.conftest import NAMESPACE, UNIT, file_of, put, sample


@pytest.mark.parametrize("size", [0, 1, 4096, UNIT])
async def test_a_small_chunk_comes_back(rawx: Rawx, size: int) -> None:
    made = await put(rawx, sample(size))
    assert await rawx.get(made.chunk, size, made.checksum) == made.data
    stat = await rawx.head(made.chunk, deep=True)
    assert (stat.record, stat.size, stat.units) == (made.record, size, made.units)
    assert stat.mtime_us > 0


async def test_many_puts_at_once_all_arrive(rawx: Rawx) -> None:
    samples = [sample(1000 + index) for index in range(40)]
    async with trio.open_nursery() as nursery:
        for made in samples:
            nursery.start_soon(put, rawx, made)
    for made in samples:
        assert await rawx.get(made.chunk, len(made.data), made.checksum) == made.data


async def test_a_missing_chunk_is_told(rawx: Rawx) -> None:
    chunk = new_chunk_id()
    with pytest.raises(ChunkNotFound):
        await rawx.get(chunk, 1, b"x" * 16)
    with pytest.raises(ChunkNotFound):
        await rawx.open(chunk, b"x" * 16)
    with pytest.raises(ChunkNotFound):
        await rawx.head(chunk, deep=False)
    with pytest.raises(ChunkNotFound):
        await rawx.update(chunk, sample(1).record)
    with pytest.raises(ChunkNotFound):
        await rawx.copy(chunk, new_chunk_id(), sample(1).record)
    with pytest.raises(ChunkNotFound):
        await rawx.quarantine(chunk, "gone")
    assert await rawx.delete([chunk]) == []


@pytest.mark.parametrize(
    "name", ["", "..", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 65, "0" * 32 + "/", "0" * 32 + "\n", "0" * 32 + ".record"]
)
async def test_nothing_but_an_id_names_a_chunk(rawx: Rawx, name: str) -> None:
    made = sample(3)
    for call in (
        rawx.put(name, made.data, made.record, made.units),
        rawx.get(name, 3, made.checksum),
        rawx.open(name, made.checksum),
        rawx.head(name, deep=False),
        rawx.delete([name]),
        rawx.update(name, made.record),
        rawx.copy(name, made.chunk, made.record),
        rawx.copy(made.chunk, name, made.record),
        rawx.quarantine(name, ""),
        rawx.create(name, 3),
    ):
        with pytest.raises(BadRequest):
            await call


async def test_an_id_is_taken_once(rawx: Rawx) -> None:
    first = await put(rawx, sample(10))
    other = sample(10)
    with pytest.raises(AlreadyExists):
        await rawx.put(first.chunk, other.data, other.record, other.units)
    upload = await rawx.create(first.chunk, 10)
    await upload.write(other.data)
    with pytest.raises(AlreadyExists):
        await upload.commit(other.record, other.units)
    await upload.abort()
    assert await rawx.get(first.chunk, 10, first.checksum) == first.data


async def test_contradictions_are_refused(rawx: Rawx) -> None:
    made = sample(10)
    for record, units in (
        (msgspec.structs.replace(made.record, size=11), made.units),
        (msgspec.structs.replace(made.record, unit_bytes=0), made.units),
        (msgspec.structs.replace(made.record, unit_bytes=2 << 20), made.units),
        (made.record, b""),
        (made.record, made.units * 2),
    ):
        with pytest.raises(InvalidArgument):
            await rawx.put(made.chunk, made.data, record, units)
    assert (await rawx.list("", 10)).chunks == []


@pytest.mark.parametrize("size", [0, 1, UNIT, UNIT + 1, 3 * UNIT - 1, 40 * UNIT])
async def test_a_streamed_chunk_comes_back(rawx: Rawx, size: int) -> None:
    made = sample(size)
    upload = await rawx.create(made.chunk, size)
    view = memoryview(made.data)
    for at in range(0, size, 3 * UNIT):
        await upload.write(view[at : at + 3 * UNIT])
    assert (await rawx.list("", 10)).chunks == []
    await upload.commit(made.record, made.units)
    reader = await rawx.open(made.chunk, made.checksum)
    assert (reader.size, reader.unit_bytes, reader.units) == (size, UNIT, made.units)
    got = bytearray(size)
    for at in range(0, size, 2 * UNIT):
        await reader.read(at, memoryview(got)[at : at + 2 * UNIT])
    await reader.aclose()
    assert got == made.data


async def test_a_range_starts_and_ends_at_units(rawx: Rawx) -> None:
    made = await put(rawx, sample(3 * UNIT + 5))
    reader = await rawx.open(made.chunk, made.checksum)
    for offset, count in ((UNIT, UNIT), (0, 2 * UNIT), (2 * UNIT, UNIT + 5), (3 * UNIT, 5)):
        got = bytearray(count)
        await reader.read(offset, memoryview(got))
        assert got == made.data[offset : offset + count]
    for offset, count in ((1, UNIT - 1), (0, 5), (3 * UNIT, 6), (4 * UNIT, 1)):
        with pytest.raises(InvalidArgument):
            await reader.read(offset, memoryview(bytearray(count)))
    await reader.aclose()


async def test_an_aborted_upload_leaves_nothing(rawx: Rawx, volume: Volume) -> None:
    made = sample(UNIT)
    upload = await rawx.create(made.chunk, UNIT)
    await upload.write(made.data)
    await upload.abort()
    await upload.abort()
    with pytest.raises(FrazilError):
        await upload.commit(made.record, made.units)
    assert (await rawx.list("", 10)).chunks == []
    assert list(volume.path.glob("???/*")) == []
    await put(rawx, made)


async def test_a_commit_of_another_size_is_refused(rawx: Rawx) -> None:
    made = sample(UNIT)
    upload = await rawx.create(made.chunk, UNIT)
    await upload.write(made.data[:-1])
    with pytest.raises(BadRequest):
        await upload.commit(made.record, made.units)
    await upload.abort()
    assert (await rawx.list("", 10)).chunks == []


async def test_a_stripe_is_written_to_all_its_uploads(rawx: Rawx) -> None:
    samples = [sample(2 * UNIT) for _ in range(3)]
    uploads = [await rawx.create(made.chunk, 2 * UNIT) for made in samples]
    await uploads[1].abort()
    for at in (0, UNIT):
        outcomes = await write_all([(upload, made.data[at : at + UNIT]) for upload, made in zip(uploads, samples, strict=True)])
        assert [outcome is None for outcome in outcomes] == [True, False, True]
    for index in (0, 2):
        await uploads[index].commit(samples[index].record, samples[index].units)
        assert (await rawx.head(samples[index].chunk, deep=True)).units == samples[index].units


async def test_a_flipped_bit_never_leaves(rawx: Rawx, volume: Volume) -> None:
    made = await put(rawx, sample(3 * UNIT))
    with file_of(volume, made.chunk).open("r+b") as file:
        file.seek(UNIT + 7)
        file.write(bytes([made.data[UNIT + 7] ^ 1]))
    reader = await rawx.open(made.chunk, made.checksum)
    got = bytearray(UNIT)
    await reader.read(0, memoryview(got))
    assert got == made.data[:UNIT]
    with pytest.raises(ChunkCorrupt):
        await reader.read(UNIT, memoryview(got))
    with pytest.raises(ChunkCorrupt):
        await reader.read(0, memoryview(bytearray(3 * UNIT)))
    await reader.aclose()
    with pytest.raises(ChunkCorrupt):
        await rawx.head(made.chunk, deep=True)
    small = await put(rawx, sample(100))
    file_of(volume, small.chunk).write_bytes(b"x" * 100)
    with pytest.raises(ChunkCorrupt):
        await rawx.get(small.chunk, 100, small.checksum)


@pytest.mark.parametrize("size", [0, 1, UNIT - 1, UNIT + 1])
async def test_another_length_is_corrupt(rawx: Rawx, volume: Volume, size: int) -> None:
    made = await put(rawx, sample(UNIT))
    os.truncate(file_of(volume, made.chunk), size)
    with pytest.raises(ChunkCorrupt):
        await rawx.get(made.chunk, UNIT, made.checksum)
    with pytest.raises(ChunkCorrupt):
        await rawx.head(made.chunk, deep=False)
    with pytest.raises(ChunkCorrupt):
        await rawx.open(made.chunk, made.checksum)


async def test_a_swapped_chunk_is_seen(rawx: Rawx, volume: Volume) -> None:
    first, second = await put(rawx, sample(UNIT)), await put(rawx, sample(UNIT))
    os.replace(file_of(volume, second.chunk), file_of(volume, first.chunk))
    with pytest.raises(ChunkCorrupt):
        await rawx.get(first.chunk, UNIT, first.checksum)
    with pytest.raises(ChunkCorrupt):
        await rawx.open(first.chunk, first.checksum)


@pytest.mark.parametrize("name", ["user.frazil.chunk", "user.frazil.units"])
@pytest.mark.parametrize("value", [None, b"", b"{}", b"\x01\xff\xff\xff\xff12345678"])
async def test_a_damaged_attribute_is_told(rawx: Rawx, volume: Volume, name: str, value: bytes | None) -> None:
    made = await put(rawx, sample(UNIT))
    if value is None:
        os.removexattr(file_of(volume, made.chunk), name)
    else:
        os.setxattr(file_of(volume, made.chunk), name, value)
    with pytest.raises(RecordCorrupt):
        await rawx.head(made.chunk, deep=False)
    with pytest.raises(RecordCorrupt):
        await rawx.open(made.chunk, made.checksum)
    assert await rawx.get(made.chunk, UNIT, made.checksum) == made.data


async def test_the_newest_record_wins(rawx: Rawx) -> None:
    made = await put(rawx, sample(10, seq=5))
    for seq, key, expected in ((5, "same", "a/key"), (4, "older", "a/key"), (7, "newer", "newer"), (6, "between", "newer")):
        await rawx.update(made.chunk, msgspec.structs.replace(made.record, seq=seq, key=key))
        stat = await rawx.head(made.chunk, deep=True)
        assert stat.record.key == expected
        assert stat.units == made.units
    with pytest.raises(InvalidArgument):
        await rawx.update(made.chunk, msgspec.structs.replace(made.record, seq=9, size=11))


async def test_records_of_one_chunk_change_at_once(rawx: Rawx) -> None:
    """They wait together and go in one batch, which once waited for a lock of its own."""
    made = await put(rawx, sample(10))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for seq in range(1, 9):
                nursery.start_soon(rawx.update, made.chunk, msgspec.structs.replace(made.record, seq=seq, key=f"key {seq}"))
    assert (await rawx.head(made.chunk, deep=True)).record.key == "key 8"


@pytest.mark.parametrize("size", [0, 10, 40 * UNIT + 1])
async def test_a_copy_stands_alone(rawx: Rawx, size: int) -> None:
    made = await put(rawx, sample(size))
    target, record = new_chunk_id(), msgspec.structs.replace(made.record, key="copy", seq=1)
    await rawx.copy(made.chunk, target, record)
    assert await rawx.delete([made.chunk]) == []
    stat = await rawx.head(target, deep=True)
    assert (stat.record, stat.units) == (record, made.units)
    with pytest.raises(ChunkNotFound):
        await rawx.head(made.chunk, deep=False)


async def test_a_damaged_chunk_is_not_copied(rawx: Rawx, volume: Volume) -> None:
    made = await put(rawx, sample(UNIT))
    file_of(volume, made.chunk).write_bytes(b"x" * UNIT)
    target = new_chunk_id()
    with pytest.raises(ChunkCorrupt):
        await rawx.copy(made.chunk, target, made.record)
    assert (await rawx.list("", 10)).chunks == [made.chunk]


async def test_the_list_is_paged_in_order_and_stable(rawx: Rawx) -> None:
    chunks = sorted([(await put(rawx, sample(1))).chunk for _ in range(30)])
    seen: list[str] = []
    while True:
        page = await rawx.list(seen[-1] if seen else "", 7)
        seen += page.chunks
        if not page.truncated:
            break
        assert len(page.chunks) == 7
        if len(seen) == 14:
            await rawx.delete([chunks[0], chunks[-1]])
    assert seen == chunks[:-1]
    assert (await rawx.list(chunks[-2], 7)).chunks == []
    for limit in (0, -1, 1 << 30):
        with pytest.raises(InvalidArgument):
            await rawx.list("", limit)


async def test_quarantine_takes_a_chunk_out_of_the_way(rawx: Rawx, volume: Volume) -> None:
    made = await put(rawx, sample(10))
    await rawx.quarantine(made.chunk, "wrong checksum")
    assert (await rawx.list("", 10)).chunks == []
    with pytest.raises(ChunkNotFound):
        await rawx.get(made.chunk, 10, made.checksum)
    [kept] = (volume.path / "quarantine").iterdir()
    assert kept.read_bytes() == made.data
    assert b"wrong checksum" in os.getxattr(kept, "user.frazil.quarantine")
    await put(rawx, made)
    await rawx.quarantine(made.chunk, "again")
    assert len(list((volume.path / "quarantine").iterdir())) == 2


async def test_the_quarantine_is_listed_in_pages_and_purged(rawx: Rawx) -> None:
    chunks = sorted([(await put(rawx, sample(size))).chunk for size in (1, 20, 300)])
    for chunk in chunks:
        await rawx.quarantine(chunk, f"why {chunk}")
    first = await rawx.quarantined("", 2)
    (last,) = await rawx.quarantined(first[-1].name, 2)
    found = [*first, last]
    assert [each.name.partition(".")[0] for each in found] == chunks
    assert [each.reason for each in found] == [f"why {chunk}" for chunk in chunks]
    assert sorted(each.size for each in found) == [1, 20, 300]
    assert all(each.record is not None and each.time_us for each in found)
    await rawx.purge([first[0].name, last.name])
    await rawx.purge([last.name])
    assert await rawx.quarantined("", 10) == [first[1]]


@pytest.mark.parametrize("name", ["..", "../" + "0" * 32, "0" * 32, "0" * 32 + ".1/..", "0" * 32 + ".x"])
async def test_nothing_but_what_lies_in_quarantine_is_purged(rawx: Rawx, name: str) -> None:
    with pytest.raises(BadRequest):
        await rawx.purge([name])


async def test_recent_chunks_are_told_until_settled(rawx: Rawx) -> None:
    chunks = [(await put(rawx, sample(1))).chunk for _ in range(3)]
    assert await rawx.recent() == chunks
    await rawx.settle(chunks[:2])
    assert await rawx.recent() == chunks[2:]
    await rawx.settle([*chunks, new_chunk_id()])
    assert await rawx.recent() == []


async def test_the_volume_says_how_it_is(rawx: Rawx, volume: Volume) -> None:
    stat = await rawx.stat()
    assert stat.volume == rawx.volume_id == volume.volume_id
    assert 0 < stat.bytes_free <= stat.bytes_total
    assert (stat.sick, stat.read_only) == ("", False)


async def test_many_are_deleted_at_once(rawx: Rawx) -> None:
    chunks = [(await put(rawx, sample(1))).chunk for _ in range(20)]
    assert await rawx.delete([*chunks[:15], new_chunk_id()]) == []
    assert (await rawx.list("", 100)).chunks == sorted(chunks[15:])
    assert await rawx.delete([]) == []


async def test_a_key_of_1024_bytes_with_2_kib_of_metadata_is_kept(rawx: Rawx) -> None:
    made = await put(rawx, sample(3 * UNIT, key="ü" * 512, attributes={"x-amz-meta-long": "é" * 1024}))
    stat = await rawx.head(made.chunk, deep=True)
    assert (stat.record, stat.units) == (made.record, made.units)
    newer = msgspec.structs.replace(made.record, seq=1, key="ö" * 512)
    await rawx.update(made.chunk, newer)
    assert (await rawx.head(made.chunk, deep=True)).record == newer
    assert (await rawx.list("", 10)).chunks == [made.chunk]
    reader = await rawx.open(made.chunk, chunk_checksum(unit_digests(made.data, UNIT)))
    await reader.aclose()
    await rawx.delete([made.chunk])
    assert (await rawx.list("", 10)).chunks == []


async def test_a_look_tells_what_is_wrong_with_each_chunk(rawx: Rawx, volume: Volume) -> None:
    made = {name: await put(rawx, sample(3 * UNIT - 5)) for name in ("well", "flipped", "short", "long", "nameless", "sums")}
    missing = new_chunk_id()
    files = {name: file_of(volume, each.chunk) for name, each in made.items()}
    files["flipped"].write_bytes(bytes(3 * UNIT - 5))
    os.truncate(files["short"], UNIT)
    os.truncate(files["long"], 5 * UNIT)
    os.removexattr(files["nameless"], "user.frazil.chunk")
    os.setxattr(files["sums"], "user.frazil.units", os.getxattr(files["flipped"], "user.frazil.units"))
    chunks = [*(each.chunk for each in made.values()), missing]

    async def problems(*, deep: bool) -> list[str]:
        return [each.problem for each in await rawx.examine(chunks, deep=deep)]

    assert await problems(deep=False) == ["", "", "truncated", "truncated", "record", "corrupt", "missing"]
    assert await problems(deep=True) == ["", "corrupt", "truncated", "truncated", "record", "corrupt", "missing"]
    (look,) = await rawx.examine(chunks[:1], deep=True)
    assert (look.record, look.size, look.checksum) == (made["well"].record, 3 * UNIT - 5, made["well"].checksum)
    assert [each.chunk for each in await rawx.examine(chunks, deep=True)] == chunks


async def test_a_look_at_many_chunks_goes_on_in_pieces(rawx: Rawx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rawx.examine.HOP_BYTES", 2 * UNIT)
    made = [await put(rawx, sample(UNIT)) for _ in range(7)]
    found = await rawx.examine([each.chunk for each in made], deep=True)
    assert [each.checksum for each in found] == [each.checksum for each in made]


async def test_noted_chunks_are_those_not_settled(rawx: Rawx) -> None:
    made = [await put(rawx, sample(10)) for _ in range(3)]
    await rawx.settle([made[0].chunk])
    assert sorted(await rawx.noted()) == sorted(each.chunk for each in made[1:])


async def test_a_retired_volume_takes_nothing_new_tells_what_was_begun_and_lets_that_end(rawx: Rawx, volume: Volume) -> None:
    begun, there = sample(3 << 20), await put(rawx, sample(1_000))
    upload = await rawx.create(begun.chunk, 0)
    await upload.write(begun.data)
    with trio.fail_after(10):
        while begun.chunk not in await volume.noted():  # noqa: ASYNC110 - the bytes are on their way
            await trio.sleep(0.01)
    assert set(await rawx.retire(True)) == {begun.chunk, there.chunk}
    assert (await rawx.stat()).retired
    with pytest.raises(VolumeReadOnly):
        await put(rawx, sample(1_000))
    late = sample(3 << 20)
    large = await rawx.create(late.chunk, 0)
    with pytest.raises(VolumeReadOnly):
        await large.write(late.data)
        await large.commit(late.record, late.units)
    await large.abort()
    with pytest.raises(VolumeReadOnly):
        await rawx.copy(there.chunk, new_chunk_id(), there.record)
    await upload.commit(begun.record, begun.units)
    await rawx.settle([there.chunk])
    assert await rawx.retire(True) == [begun.chunk]
    await rawx.settle([begun.chunk])
    assert await rawx.retire(True) == []
    assert await rawx.retire(False) == []
    await put(rawx, sample(1_000))


async def test_of_what_a_dead_process_noted_a_retired_volume_tells_what_became_visible(rawx: Rawx, volume: Volume) -> None:
    """The gateway of another host, whose chunk that process wrote, may name it yet."""
    with closing(open_volume(volume.path, namespace=NAMESPACE)) as other:
        there = await put(other, sample(1_000))
        other.journal.add([new_chunk_id()])  # as of an upload that went with the process
    assert await rawx.retire(True) == [there.chunk]
    await rawx.settle([there.chunk])
    assert await rawx.retire(True) == []


async def test_an_upload_that_is_given_up_is_not_told_as_begun(rawx: Rawx, volume: Volume) -> None:
    made = sample(3 * UNIT)
    upload = await rawx.create(made.chunk, 0)
    await upload.write(bytes(3 << 20))
    await upload.abort()
    with trio.fail_after(10):
        while await rawx.retire(True):  # noqa: ASYNC110 - the other end hears of it
            await trio.sleep(0.01)
