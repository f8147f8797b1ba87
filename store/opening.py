"""Decryption on the way out: ranges of plain bytes from an encrypted object.

Theory of operation. A range of a content is a run of whole sealed units; the store hands their bytes on in pieces of its own size, each
verified against its checksum. Frames (the header, then units) are cut from the pieces and opened as they come (inline: 64 KiB take 7 us);
one that straddles two pieces is gathered aside. What a piece gave is handed on in one call. Nothing of a unit that does not open is
handed on. A range that reaches the end of a content opens its last unit as well, even an empty one: so nobody can cut it off unseen.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import msgspec

from meta.protocol.object import ObjectRow
from node.buffers import BufferPool
from node.errors import SealBroken
from rawx.chunk import Buffer
from store.cipher import HEADER_BYTES, SEALED_UNIT_BYTES, TAG_BYTES, UNIT_BYTES, UnitCipher, check_header, sealed_bytes
from store.context import Context
from store.envelope import ENCRYPTION, Envelope, envelope_of, parts_of
from store.fleet import Fleet
from store.get import Sink, Subject, read_content
from store.layout import Layout

OPEN_BYTES_MAX = 5 * UNIT_BYTES
"""Plain bytes handed on at once: what a store's unit of 256 KiB ends or holds."""


class _Part(msgspec.Struct, frozen=True):
    """One content of an object. number: as in its header; size: plain bytes; offset: where they begin in the object; at: in the chunks."""

    number: int
    size: int
    offset: int
    at: int


def _parts(row: ObjectRow, envelope: Envelope) -> Iterator[_Part]:
    numbers = envelope.parts or (range(1, len(row.attributes.parts) + 1) if row.attributes.parts else (0,))
    offset = at = 0
    for number, size in zip(numbers, parts_of(row), strict=True):
        yield _Part(number, size, offset, at)
        offset += size
        at += sealed_bytes(size)


Read = Callable[[int, int, Sink], Awaitable[None]]
"""Hands the bytes [start, stop) of an object on, in order; the buffer given to the sink is used again when it returns."""


def reader_of(context: Context, row: ObjectRow, *, bucket: str = "", data_key: bytes = b"") -> Read:
    """Reads the plain bytes of an object, encrypted or not. data_key: b"" for one that is not.

    Raises, as the reading does: ContentLost, ContentAway, SealBroken, Busy; what the sink raises.
    """
    if ENCRYPTION in row.attributes.extra:
        return Opener(context.fleet, context.reads, row, data_key, bucket=bucket).read
    return stored_reader(context, row, bucket=bucket)


def stored_reader(context: Context, row: ObjectRow, *, bucket: str = "") -> Read:
    """Reads an object's bytes as they are stored."""
    return partial(read_content, context.fleet, context.reads, Subject(bucket, row.key, row.version), Layout.parse(row.layout))


class Opener:
    """Reads plain bytes of one encrypted version."""

    def __init__(self, fleet: Fleet, buffers: BufferPool, row: ObjectRow, data_key: bytes, *, bucket: str = "") -> None:
        """Raises: SealBroken when the chunks don't hold as many bytes as the row says; RecordCorrupt."""
        self._layout = Layout.parse(row.layout)
        self._fleet = fleet
        self._buffers = buffers
        self._subject = Subject(bucket, row.key, row.version)
        envelope = envelope_of(row.attributes)
        assert envelope is not None
        assert data_key, "an encrypted object is read with its data key"
        self._data_key = data_key
        self._parts = list(_parts(row, envelope))
        self._ciphers: dict[int, UnitCipher] = {}
        stored = sum(sealed_bytes(part.size) for part in self._parts)
        if self._layout.size != stored:
            raise SealBroken(f"the encrypted object has {self._layout.size} bytes in its chunks instead of {stored}")

    def __repr__(self) -> str:
        return f"<Opener {self._subject} parts={len(self._parts)}>"

    async def read(self, start: int, stop: int, sink: Sink) -> None:
        """Hands the plain bytes [start, stop) on, in order; the buffer given to sink is used again when it returns.

        Raises: SealBroken, ContentLost, ContentAway, Busy; what the sink raises.
        """
        for part in self._parts:
            if start < part.offset + part.size and part.offset < stop:
                await self._read_part(part, max(start - part.offset, 0), min(stop - part.offset, part.size), sink)

    async def _read_part(self, part: _Part, start: int, stop: int, sink: Sink) -> None:
        first = start // UNIT_BYTES
        if first and part.number not in self._ciphers:
            header = bytearray()

            async def keep(piece: Buffer) -> None:
                header.extend(piece)

            await self._stored(part.at, part.at + HEADER_BYTES, keep)
            self.begin(part, bytes(header))
        cipher = self._ciphers.get(part.number)
        body = part.at + HEADER_BYTES
        begin = body + first * SEALED_UNIT_BYTES if cipher is not None else part.at
        end = part.at + sealed_bytes(part.size)
        if stop < part.size:
            end = min(end, body + -(-stop // UNIT_BYTES) * SEALED_UNIT_BYTES)
        frames = _Frames(self, part, cipher, first, start, stop, sink)
        await self._stored(begin, end, frames.take)
        frames.check_end(end - body)

    def begin(self, part: _Part, header: bytes) -> UnitCipher:
        check_header(header, part.number)
        cipher = self._ciphers[part.number] = UnitCipher(self._data_key, header)
        return cipher

    async def _stored(self, begin: int, end: int, sink: Sink) -> None:
        await read_content(self._fleet, self._buffers, self._subject, self._layout, begin, end, sink)


class _Frames:
    """Cuts a run of sealed bytes into units and hands on what of them lies in [start, stop) of the part."""

    def __init__(self, opener: Opener, part: _Part, cipher: UnitCipher | None, index: int, start: int, stop: int, sink: Sink) -> None:
        self._opener, self._part, self._cipher = opener, part, cipher
        self._index = index
        self._start, self._stop = start, stop
        self._sink = sink
        self._room = min(OPEN_BYTES_MAX, part.size - index * UNIT_BYTES)
        self._out = memoryview(b"")  # made with the first bytes: a read that waits for its buffer holds nothing
        self._out_at = index * UNIT_BYTES  # the place in the part of what is in `_out`
        self._opened = 0
        self._aside = memoryview(b"")
        self._held = 0

    async def take(self, piece: Buffer) -> None:
        view = memoryview(piece)
        if not self._out:
            self._out = memoryview(bytearray(self._room))
        while view:
            size = self._frame_bytes()
            if not self._held and len(view) >= size:
                frame, view = view[:size], view[size:]
            else:
                view = self._gather(view, size)
                if self._held < size:
                    break
                frame, self._held = self._aside[:size], 0
            if len(frame) - TAG_BYTES > len(self._out) - self._opened:
                await self._hand_on()
            self._open(frame)
        await self._hand_on()

    def check_end(self, size: int) -> None:
        """size: bytes from the first unit on to where the run ends. Raises: SealBroken when it ended before."""
        units, rest = divmod(size, SEALED_UNIT_BYTES)
        if self._held or self._index != units + (rest > 0):
            raise SealBroken("the encrypted content is cut off")

    def _frame_bytes(self) -> int:
        if self._cipher is None:
            return HEADER_BYTES
        return min(self._part.size - self._index * UNIT_BYTES, UNIT_BYTES) + TAG_BYTES

    def _gather(self, view: memoryview, size: int) -> memoryview:
        """Takes of the view what the frame still lacks; the rest of it."""
        if not self._aside:
            self._aside = memoryview(bytearray(SEALED_UNIT_BYTES))
        count = min(size - self._held, len(view))
        self._aside[self._held : self._held + count] = view[:count]
        self._held += count
        return view[count:]

    def _open(self, frame: memoryview) -> None:
        if self._cipher is None:
            self._cipher = self._opener.begin(self._part, bytes(frame))
            return
        size = len(frame) - TAG_BYTES
        self._cipher.open_into(self._index, frame, self._out[self._opened : self._opened + size])
        self._index += 1
        self._opened += size

    async def _hand_on(self) -> None:
        base, size, self._opened = self._out_at, self._opened, 0
        self._out_at += size
        wanted = self._out[max(self._start - base, 0) : min(self._stop - base, size)]
        if wanted:
            await self._sink(wanted)
