"""Encryption on the way in: a Source whose bytes are the sealed form of another's, and who knows the summary of the plain ones.

Theory of operation. Plain bytes are received into a piece; units are sealed from it straight into the caller's buffer (a memory copy that
also encrypts: 0.1 ms per MiB, so inline), and the piece is hashed. Where hashing is dear (MD5, SHA: milliseconds per MiB) two pieces take
turns, and the full one is hashed in a thread while the other is received. The unit that straddles the end of the caller's buffer is kept
aside. A piece is as large as the buffer that the caller could get, so a pressed pool makes small pieces, and an upload takes at most
three times the memory of its slabs.
"""

from __future__ import annotations

import os

import trio

from meta.protocol import Attributes
from node.errors import BodyTooLarge
from node.threads import run_blocking
from store.cipher import SEALED_UNIT_BYTES, TAG_BYTES, UNIT_BYTES, UnitCipher, new_header, sealed_bytes
from store.digests import DIGEST_INLINE_BYTES_MAX, Digests
from store.envelope import MANAGED, envelope_of
from store.parallel import Errand, crew
from store.policy import round_up
from store.source import Source, Summary

PIECE_BYTES_MAX = 1 << 20
"""What one hop to a thread hashes."""
_DEAR = frozenset({"md5", "sha1", "sha256", "sha512"})


class SealingSource:
    """Gives the sealed bytes of another source, as `Source.fill` does; `summary` says what is kept of the plain ones."""

    def __init__(self, inner: Source, data_key: bytes, part: int, threads: trio.Semaphore, *, md5: bool) -> None:
        """part: number of the part, 0 for an object in one piece; md5: the ETag is the MD5 of the plain bytes, else it is random."""
        self.length = None if inner.length is None else sealed_bytes(inner.length)
        self._inner = inner
        self._threads = threads
        self._md5 = md5
        names = inner.digests | {"md5"} if md5 else inner.digests
        self._digests = Digests(names, etag=False)
        self._dear = not names.isdisjoint(_DEAR)
        header = new_header(part)
        self._cipher = UnitCipher(data_key, header)
        self._rest = memoryview(header)  # sealed, not yet handed on
        self._aside: memoryview | None = None
        self._pieces: list[memoryview] = []
        self._turn = 0
        self._piece = memoryview(b"")  # plain bytes that are received and not yet sealed
        self._unhashed: memoryview | None = None
        self._index = 0
        self._ended = self._sealed = False
        self._size = 0

    def __repr__(self) -> str:
        return f"<SealingSource units={self._index} sealed={self._sealed}>"

    async def fill(self, buffer: memoryview) -> int:
        """Raises: as the inner source; Busy."""
        filled = self._hand_on(buffer, 0)
        while filled < len(buffer) and not self._sealed:
            if not self._piece and not self._ended:
                await self._receive(len(buffer))
            filled = self._seal(buffer, filled)
        return filled

    def summary(self) -> Summary:
        """Of the plain bytes, once all are there. Raises: as `Source.complete`."""
        found = self._digests.finish()
        return Summary(self._size, found["md5"].hex() if self._md5 else os.urandom(16).hex(), self._inner.complete(found))

    async def _receive(self, room: int) -> None:
        """Receives the next piece, while the one before it is hashed."""
        piece = self._next_piece(room)
        if self._unhashed is None:
            count = await self._inner.fill(piece)
        else:
            async with crew() as nursery:
                hashing = Errand(nursery, self._hash)
                count = await self._inner.fill(piece)
                await hashing.result()
        self._ended = count < len(piece)
        if not self._ended and count % UNIT_BYTES:
            raise BodyTooLarge(f"more than the {self._inner.length} bytes that were announced came")
        self._size += count
        self._piece = self._unhashed = piece[:count]
        if self._ended or not self._dear:
            await self._hash()

    def _next_piece(self, room: int) -> memoryview:
        """Whole units, or all that is announced and one byte more."""
        if self._turn == len(self._pieces):
            size = min(round_up(room, UNIT_BYTES), PIECE_BYTES_MAX)
            if self._inner.length is not None:
                size = min(size, self._inner.length + 1)
            self._pieces.append(memoryview(bytearray(size)))
        piece = self._pieces[self._turn]
        self._turn = 1 - self._turn if self._dear else 0
        return piece

    async def _hash(self) -> None:
        piece, self._unhashed = self._unhashed, None
        assert piece is not None
        if not self._dear or len(piece) <= DIGEST_INLINE_BYTES_MAX:
            self._digests.update(piece)
        else:
            async with self._threads:
                await run_blocking(self._digests.update, piece)

    def _seal(self, buffer: memoryview, filled: int) -> int:
        """Seals units into the buffer from `filled` on, as long as there are plain bytes and room; where it is filled to then."""
        while filled < len(buffer) and not self._sealed and (self._piece or self._ended):
            plain = self._piece[:UNIT_BYTES]
            size = len(plain) + TAG_BYTES
            fits = size <= len(buffer) - filled
            target = buffer[filled : filled + size] if fits else self._put_aside(size)
            self._cipher.seal_into(self._index, plain, target)
            self._index += 1
            self._sealed = len(plain) < UNIT_BYTES
            self._piece = self._piece[UNIT_BYTES:]
            if fits:
                filled += size
            else:
                self._rest = target
                filled = self._hand_on(buffer, filled)
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


def sealed(source: Source, attributes: Attributes, data_key: bytes, part: int, threads: trio.Semaphore) -> Source | SealingSource:
    """The source as it is to be written: itself when the attributes tell of no encryption. part: see SealingSource."""
    envelope = envelope_of(attributes)
    if envelope is None:
        return source
    assert data_key, "an encrypted object needs its data key"
    return SealingSource(source, data_key, part, threads, md5=envelope.mode == MANAGED)
