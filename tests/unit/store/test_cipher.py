"""The sealed form: any range is the plain slice, any change is noticed."""

from __future__ import annotations

import hashlib
import os

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from meta.protocol.object import Attributes, ObjectRow
from node.buffers import BufferPool
from node.errors import FrazilError, SealBroken
from rawx.chunk import Buffer
from store import opening
from store.cipher import (
    HEADER_BYTES,
    SEALED_UNIT_BYTES,
    TAG_BYTES,
    UNIT_BYTES,
    UnitCipher,
    check_header,
    new_header,
    open_content,
    plain_bytes,
    sealed_bytes,
)
from store.envelope import MANAGED, Envelope
from store.layout import Draft
from store.policy import SINGLE
from store.sealing import SealingSource
from store.source import BytesSource

KEY = bytes(range(32))
SIZES = [0, 1, UNIT_BYTES - 1, UNIT_BYTES, UNIT_BYTES + 1, 3 * UNIT_BYTES - 5, 3 * UNIT_BYTES, 20 * UNIT_BYTES + 17]
sizes = st.one_of(st.sampled_from(SIZES), st.integers(0, 5 * UNIT_BYTES))


def seal(data: bytes, part: int = 0, *, room: int = 1 << 20, known: bool = True, key: bytes = KEY) -> bytes:
    """As a writer fetches it: into buffers of `room` bytes."""

    async def run() -> bytes:
        inner = BytesSource(data, frozenset({"crc64nvme"}))
        if not known:
            inner.length = None
        source = SealingSource(inner, key, part, md5=True)
        out = bytearray()
        buffer = memoryview(bytearray(room))
        while count := await source.fill(buffer):
            out += buffer[:count]
            source.update(buffer[:count])
            if count < room:
                break
        assert await source.fill(buffer) == 0
        summary = source.summary()
        assert summary.etag == hashlib.md5(data).hexdigest()
        assert summary.size == len(data)
        assert source.length in (None, len(out))
        return bytes(out)

    return trio.run(run)


def reader(
    parts: list[bytes], sizes: list[int], numbers: tuple[int, ...], monkeypatch: pytest.MonkeyPatch, *, piece: int, key: bytes = KEY
):  # type: ignore[no-untyped-def]
    """An Opener over sealed bytes that come in pieces of `piece` bytes, as a store's units do."""
    stored = b"".join(parts)

    async def read(_fleet: object, _buffers: object, _subject: object, _layout: object, begin: int, end: int, sink: opening.Sink) -> None:
        at = begin // piece * piece
        while at < min(end, len(stored)):
            await sink(memoryview(bytearray(stored[max(at, begin) : min(at + piece, end)])))
            at += piece

    monkeypatch.setattr(opening, "read_content", read)
    draft = Draft()
    draft.add(SINGLE, sum(map(sealed_bytes, sizes)), [])
    draft.add(SINGLE, 0, [])  # more than one metachunk: never read in one piece
    plural = numbers != (0,)
    attributes = Attributes(parts=tuple(sizes) if plural else ())
    attributes = Envelope(MANAGED, "", parts=numbers if plural else ()).into(attributes)
    row = ObjectRow("k", size=sum(sizes), layout=draft.layout().encode(), attributes=attributes)
    return opening.Opener(None, BufferPool(1 << 20), row, key)  # type: ignore[arg-type]


def read(opener: opening.Opener, start: int, stop: int) -> bytes:
    out = bytearray()

    async def sink(data: Buffer) -> None:
        out.extend(data)

    trio.run(opener.read, start, stop, sink)
    return bytes(out)


@given(sizes, st.sampled_from([1 << 20, 300_000, 65_553, 4096]), st.booleans())
@settings(max_examples=30, deadline=None)
def test_sealed_bytes_are_the_same_whatever_buffers_fetch_them(size: int, room: int, known: bool) -> None:
    data = os.urandom(size)
    sealed = seal(data, room=room, known=known)
    assert len(sealed) == sealed_bytes(size)
    assert plain_bytes(len(sealed)) == size
    cipher = UnitCipher(KEY, sealed[:HEADER_BYTES])
    out = bytearray()
    for index, at in enumerate(range(HEADER_BYTES, len(sealed), SEALED_UNIT_BYTES)):
        unit = memoryview(sealed)[at : at + SEALED_UNIT_BYTES]
        plain = bytearray(len(unit) - TAG_BYTES)
        cipher.open_into(index, unit, memoryview(plain))
        out += plain
    assert out == data == open_content(sealed, size, 0, KEY)
    for wrong in (sealed[:-1], sealed + b"x", sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(SealBroken):
            open_content(wrong, size, 0, KEY)


@given(st.lists(sizes, min_size=1, max_size=3), st.data())
@settings(max_examples=30, deadline=None)
def test_any_range_is_the_slice_of_the_plain_bytes(lengths: list[int], data: st.DataObject) -> None:
    contents = [os.urandom(length) for length in lengths]
    whole = b"".join(contents)
    numbers = (0,) if len(contents) == 1 and data.draw(st.booleans()) else tuple(range(3, 3 + len(contents)))
    sealed = [seal(each, number) for each, number in zip(contents, numbers, strict=True)]
    piece = data.draw(st.sampled_from([4097, 65_552, 256 << 10, 1 << 20]))
    with pytest.MonkeyPatch.context() as patch:
        opener = reader(sealed, lengths, numbers, patch, piece=piece)
        for _ in range(4):
            start = data.draw(st.integers(0, len(whole)))
            stop = data.draw(st.integers(start, len(whole)))
            assert read(opener, start, stop) == whole[start:stop]
        assert read(opener, 0, len(whole)) == whole


@given(st.sampled_from([1, 100, UNIT_BYTES, 2 * UNIT_BYTES + 9]), st.data())
@settings(max_examples=30, deadline=None)
def test_any_flipped_bit_is_noticed(size: int, data: st.DataObject) -> None:
    sealed = bytearray(seal(bytes(size)))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << (bit % 8)
    with pytest.MonkeyPatch.context() as patch:
        opener = reader([bytes(sealed)], [size], (0,), patch, piece=256 << 10)
        with pytest.raises(SealBroken):
            read(opener, 0, size)


def broken(parts: list[bytes], lengths: list[int], numbers: tuple[int, ...], *, key: bytes = KEY, start: int = 0) -> bool:
    with pytest.MonkeyPatch.context() as patch:
        try:
            read(reader(parts, lengths, numbers, patch, piece=256 << 10, key=key), start, sum(lengths))
        except SealBroken:
            return True
    return False


@pytest.mark.parametrize("size", [UNIT_BYTES, 3 * UNIT_BYTES, 3 * UNIT_BYTES + 7])
def test_no_unit_can_be_cut_off_swapped_repeated_or_made_the_last(size: int) -> None:
    sealed = seal(os.urandom(size))
    header, body = sealed[:HEADER_BYTES], sealed[HEADER_BYTES:]
    units = [body[at : at + SEALED_UNIT_BYTES] for at in range(0, len(body), SEALED_UNIT_BYTES)]
    assert not broken([sealed], [size], (0,))
    for kept in range(len(sealed)):
        if kept % 9973 and kept not in (len(header), len(header) + SEALED_UNIT_BYTES, len(sealed) - TAG_BYTES, len(sealed) - 1):
            continue
        assert broken([sealed[:kept]], [size], (0,)), kept
        if kept >= HEADER_BYTES + TAG_BYTES and (kept - HEADER_BYTES) % SEALED_UNIT_BYTES >= TAG_BYTES:
            assert broken([sealed[:kept]], [plain_bytes(kept)], (0,)), "cut off, and the row says so too"
    if len(units) > 2:
        assert broken([header + units[1] + units[0] + b"".join(units[2:])], [size], (0,))
        assert broken([header + units[0] + units[0] + b"".join(units[2:])], [size], (0,))


def test_contents_cannot_stand_in_for_each_other() -> None:
    data = [os.urandom(UNIT_BYTES + 5), os.urandom(UNIT_BYTES + 5)]
    first, second, again = seal(data[0], 1), seal(data[1], 2), seal(data[0], 1)
    lengths = [UNIT_BYTES + 5] * 2
    assert not broken([first, second], lengths, (1, 2))
    assert broken([second, first], lengths, (1, 2))
    assert broken([first, first], lengths, (1, 2))
    assert broken([first, second], lengths, (1, 3))
    mixed = again[: HEADER_BYTES + SEALED_UNIT_BYTES] + first[HEADER_BYTES + SEALED_UNIT_BYTES :]
    assert broken([mixed, second], lengths, (1, 2)), "units of two uploads of one part don't mix"
    assert broken([first, second], lengths, (1, 2), key=bytes(32))
    assert broken([first[HEADER_BYTES:] + first[:HEADER_BYTES], second], lengths, (1, 2))


def test_the_same_bytes_are_sealed_differently_each_time() -> None:
    assert seal(b"x" * 100)[HEADER_BYTES:] != seal(b"x" * 100)[HEADER_BYTES:]
    assert b"x" * 16 not in seal(b"x" * 100_000)


@pytest.mark.parametrize("size", [0, HEADER_BYTES, HEADER_BYTES + TAG_BYTES - 1, HEADER_BYTES + SEALED_UNIT_BYTES + TAG_BYTES - 1])
def test_sizes_that_no_content_has(size: int) -> None:
    with pytest.raises(SealBroken):
        plain_bytes(size)


@pytest.mark.parametrize(
    "header",
    [b"", new_header(0)[:-1], b"FZX" + new_header(0)[3:], b"FZE\x02" + new_header(0)[4:], new_header(1)],
    ids=["empty", "short", "other magic", "other version", "other part"],
)
def test_headers_that_are_refused(header: bytes) -> None:
    with pytest.raises(SealBroken):
        check_header(header, 0)


class Lying(BytesSource):
    """Gives more than it announced."""

    def __init__(self, data: bytes, length: int) -> None:
        super().__init__(data)
        self.length = length


@pytest.mark.parametrize("announced", [5, UNIT_BYTES + 3])
async def test_a_source_that_gives_more_than_it_announced_is_refused(announced: int) -> None:
    source = SealingSource(Lying(bytes(3 * UNIT_BYTES), announced), KEY, 0, md5=True)
    with pytest.raises(FrazilError):
        while await source.fill(memoryview(bytearray(1 << 20))):
            pass
