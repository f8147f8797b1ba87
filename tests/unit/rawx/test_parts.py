"""The pure parts of rawx."""

from __future__ import annotations

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import (
    AlreadyExists,
    Busy,
    ChunkCorrupt,
    ChunkNotFound,
    InvalidArgument,
    RecordCorrupt,
    VolumeFull,
    VolumeReadOnly,
    VolumeSick,
)
from rawx.attributes import check_units, decode_units, encode_units
from rawx.chunk import ChunkRecord, ObjectRecord, check_chunk_id, new_chunk_id, unit_digests
from rawx.durability import EXPLORE_EVERY, SyncChoice
from rawx.geometry import UNITS_CACHE_BYTES_MAX, Geometry, UnitsCache
from rawx.health import Health, translate
from rawx.journal import _parse


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, ChunkNotFound),
        (errno.EEXIST, AlreadyExists),
        (errno.ENOSPC, VolumeFull),
        (errno.EDQUOT, VolumeFull),
        (errno.EROFS, VolumeReadOnly),
        (errno.EMFILE, Busy),
        (errno.EIO, VolumeSick),
        (errno.ENODEV, VolumeSick),
    ],
)
def test_each_errno_has_a_meaning(number: int, kind: type[Exception]) -> None:
    assert type(translate(OSError(number, os.strerror(number)), "doing")) is kind


def test_a_failed_write_makes_sick_and_a_failed_read_damns_the_chunk() -> None:
    health = Health()
    assert isinstance(health.read_failed(OSError(errno.EIO, "bad"), "reading"), ChunkCorrupt)
    health.admit_write()
    assert isinstance(health.write_failed(OSError(errno.EIO, "bad"), "writing"), VolumeSick)
    with pytest.raises(VolumeSick, match="writing: bad"):
        health.admit_read()
    assert repr(health) == "<Health sick='writing: bad' full='' read_only=False>"
    assert health.errors == {"ChunkCorrupt": 1, "VolumeSick": 1}


def test_one_alone_is_synced_by_itself_and_many_together() -> None:
    choice = SyncChoice()
    assert not choice.together(1)
    assert choice.together(16)


def test_a_slow_syncfs_is_left_and_tried_again_later() -> None:
    choice = SyncChoice()
    for _ in range(20):
        choice.measured(together=True, count=16, seconds=0.5)
        choice.measured(together=False, count=16, seconds=16 * 0.0005)
    picks = [choice.together(16) for _ in range(EXPLORE_EVERY)]
    assert picks.count(True) == 1


@given(st.integers(1, 1 << 20), st.binary(max_size=80).map(lambda data: data[: len(data) // 8 * 8]))
def test_unit_checksums_come_back(unit_bytes: int, units: bytes) -> None:
    assert decode_units(encode_units(unit_bytes, units)) == (unit_bytes, units)


@given(st.binary(max_size=30))
def test_damaged_unit_checksums_are_told_not_crashed_on(data: bytes) -> None:
    try:
        unit_bytes, units = decode_units(data)
    except RecordCorrupt:
        return
    assert encode_units(unit_bytes, units) == data


@given(st.integers(0, 5000), st.integers(1, 600))
def test_as_many_checksums_as_units_are_taken(size: int, unit_bytes: int) -> None:
    record = ChunkRecord("b", "k", "c", "p", size=size, unit_bytes=unit_bytes)
    units = unit_digests(bytes(size), unit_bytes)
    check_units(record, size, units)
    with pytest.raises(InvalidArgument):
        check_units(record, size, units + b"12345678")


@given(st.text(max_size=70))
def test_only_hex_is_a_chunk_id(text: str) -> None:
    try:
        check_chunk_id(text)
    except InvalidArgument:
        return
    assert set(text) <= set("0123456789abcdef")
    assert 32 <= len(text) <= 64


def test_a_record_comes_back_and_a_strange_one_is_told() -> None:
    about = ObjectRecord(version=1, size=2, etag="e", mtime_us=3, attributes={"tags": {"a": "b"}})
    record = ChunkRecord("b", "k", "c", "p", object=about)
    assert ChunkRecord.parse(record.encode()) == record
    for data in (b"", b"{}", b"[]", record.encode().replace(b'"v":1', b'"v":2')):
        with pytest.raises(RecordCorrupt):
            ChunkRecord.parse(data)


@given(st.lists(st.sampled_from(["a" * 32, "b" * 32, "c" * 32])), st.integers(0, 100))
def test_a_torn_journal_says_what_was_whole(chunks: list[str], cut: int) -> None:
    content = "".join(f"+{chunk}\n" for chunk in chunks).encode()[: 34 * len(chunks) - min(cut, 34 * len(chunks))]
    whole = list(dict.fromkeys(chunks[: len(content) // 34]))
    assert list(_parse(content)) == whole
    assert list(_parse(content + b"!\n" + f"-{'a' * 32}\n".encode())) == [chunk for chunk in whole if chunk[0] != "a"]


def test_the_cache_of_checksums_is_bounded() -> None:
    cache = UnitsCache()
    units = bytes(2048)
    ids = [new_chunk_id() for _ in range(1000)]
    for chunk in ids:
        cache.put(chunk, b"sum", Geometry(1, 2, units))
    assert cache._bytes <= UNITS_CACHE_BYTES_MAX
    assert cache.get(ids[0], b"sum") is None
    assert cache.get(ids[-1], b"sum") == Geometry(1, 2, units)
    assert cache.get(ids[-1], b"other") is None
