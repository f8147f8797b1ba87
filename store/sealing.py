"""Encryption on the way in: a Source whose bytes are the sealed form of another's, and who knows the summary of the plain ones.

Theory of operation. Each `fill` receives as many plain bytes as the caller's buffer can hold sealed, into a piece of memory of its own,
and seals them from there into the buffer: a memory copy that also encrypts, 0.1 ms per MiB, so inline. The unit that straddles the
buffer's end is kept aside for the next call. The writer hashes what one `fill` gave while the next one runs, as it does with plain bytes,
only that `update` then takes the plain piece in place of the sealed slab: hence two pieces, in turn. Where hashing is cheap (CRCs) it is
done at once, and one piece does. A piece is as large as the caller's buffer, so that a pressed pool makes small ones: an encrypted
upload takes twice the memory of a plain one.
"""

from __future__ import annotations

import os
from collections import deque

from meta.protocol.object import Attributes
from node.errors import BodyTooLarge
from store.cipher import SEALED_UNIT_BYTES, TAG_BYTES, UNIT_BYTES, UnitCipher, new_header, sealed_bytes
from store.digests import Digests
from store.envelope import MANAGED, envelope_of
from store.source import Source, Summary


class SealingSource:
    """Gives the sealed bytes of another source, as `Source.fill` does, and stands in for the Digests over what it gave."""

    def __init__(self, inner: Source, data_key: bytes, part: int, *, md5: bool) -> None:
        """part: number of the part, 0 for an object in one piece; md5: the ETag is the MD5 of the plain bytes, else it is random."""
        self.length = None if inner.length is None else sealed_bytes(inner.length)
        self._inner = inner
        self._md5 = md5
        self._digests = Digests(inner.digests | {"md5"} if md5 else inner.digests, etag=False)
        self.dear = self._digests.dear
        header = new_header(part)
        self._cipher = UnitCipher(data_key, header)
        self._rest = memoryview(header)  # sealed, not yet handed on
        self._aside: memoryview | None = None
        self._pieces: deque[memoryview] = deque()  # the one that was used longest ago first
        self._unhashed: deque[memoryview] = deque()
        self._index = 0
        self._sealed = False
        self._size = 0

    def __repr__(self) -> str:
        return f"<SealingSource units={self._index} sealed={self._sealed}>"

    async def fill(self, buffer: memoryview) -> int:
        """Raises: as the inner source; BodyTooLarge."""
        filled = self._hand_on(buffer, 0)
        plain = memoryview(b"")
        if filled < len(buffer) and not self._sealed:
            plain = await self._receive(-(-(len(buffer) - filled) // SEALED_UNIT_BYTES) * UNIT_BYTES)
            filled = self._seal(plain, buffer, filled)
        if self.dear:
            self._unhashed.append(plain)
        else:
            self._digests.update(plain)
        return filled

    def update(self, _sealed: memoryview) -> None:
        """Hashes the plain bytes of what an earlier `fill` gave; called once for each, in order. Blocking, as `Digests.update`."""
        if self.dear:
            self._digests.update(self._unhashed.popleft())

    def summary(self) -> Summary:
        """Of the plain bytes, once all are there and hashed. Raises: as `Source.complete`."""
        found = self._digests.finish()
        return Summary(self._size, found["md5"].hex() if self._md5 else os.urandom(16).hex(), self._inner.complete(found))

    async def _receive(self, wanted: int) -> memoryview:
        """The next plain bytes; fewer than `wanted`, which are whole units, at the end only."""
        room = wanted if self._inner.length is None else min(wanted, self._inner.length - self._size + 1)
        piece = self._next_piece(room)
        count = await self._inner.fill(piece)
        if count == room < wanted:
            raise BodyTooLarge(f"more than the {self._inner.length} bytes that were announced came")
        self._size += count
        self._sealed = count < wanted
        return piece[:count]

    def _next_piece(self, size: int) -> memoryview:
        piece = self._pieces.popleft() if len(self._pieces) == (2 if self.dear else 1) else memoryview(b"")
        if len(piece) < size:
            piece = memoryview(bytearray(size))
        self._pieces.append(piece)
        return piece[:size]

    def _seal(self, plain: memoryview, buffer: memoryview, filled: int) -> int:
        """Seals the units into the buffer from `filled` on; the one that doesn't fit goes aside. Where the buffer is filled to."""
        for at in range(0, len(plain) + self._sealed, UNIT_BYTES):
            unit = plain[at : at + UNIT_BYTES]
            size = len(unit) + TAG_BYTES
            if size <= len(buffer) - filled:
                self._cipher.seal_into(self._index, unit, buffer[filled : filled + size])
                filled += size
            else:
                self._rest = self._put_aside(size)
                self._cipher.seal_into(self._index, unit, self._rest)
                filled = self._hand_on(buffer, filled)
            self._index += 1
        return filled

    def _put_aside(self, size: int) -> memoryview:
        if self._aside is None:
            self._aside = memoryview(bytearray(SEALED_UNIT_BYTES))
        return self._aside[:size]

    def _hand_on(self, buffer: memoryview, filled: int) -> int:
        piece = self._rest[: len(buffer) - filled]
        buffer[filled : filled + len(piece)] = piece
        self._rest = self._rest[len(piece) :]
        return filled + len(piece)


def sealed(source: Source, attributes: Attributes, data_key: bytes, part: int) -> Source | SealingSource:
    """The source as it is to be written: itself when the attributes tell of no encryption. part: see SealingSource."""
    envelope = envelope_of(attributes)
    if envelope is None:
        return source
    assert data_key, "an encrypted object needs its data key"
    return SealingSource(source, data_key, part, md5=envelope.mode == MANAGED)
