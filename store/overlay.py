"""The bytes of an object as they are to be: what is stored, with patches over it, and zeros where neither is."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from node.errors import InvalidArgument
from node.threads import run_blocking
from rawx.chunk import Buffer
from store.digests import DIGEST_INLINE_BYTES_MAX, Digests
from store.opening import Read
from store.source import Source


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes that an object is to have from `start` on. The length of the source is known, but for the last one's that ends the object."""

    start: int
    source: Source

    @property
    def stop(self) -> int | None:
        return None if self.source.length is None else self.start + self.source.length


class Overlay:
    """The bytes [start, stop) as a Source. `digests` are computed over them and kept; those of a patch's own source are over its bytes."""

    def __init__(
        self,
        read: Read,
        stored: int,
        patches: Sequence[Patch],
        start: int,
        stop: int | None,
        digests: frozenset[str] = frozenset(),
    ) -> None:
        """read, stored: the object as it is, and its size; patches: those that begin in the range, in order; stop None: where the last
        patch ends."""
        self.length: int | None = None if stop is None else stop - start
        self.digests = digests
        self._read, self._stored = read, stored
        self._at, self._stop = start, stop
        self._patches = [*patches]
        self._sums = self._next_sums()

    def __repr__(self) -> str:
        return f"<Overlay at={self._at} stop={self._stop} patches={len(self._patches)}>"

    async def fill(self, buffer: memoryview) -> int:
        """Raises: ContentLost, ContentAway, SealBroken, Busy; what the patches' sources raise; InvalidArgument for one of other length."""
        filled = 0
        while self._patches or self._stop is None or self._at < self._stop:
            patch = self._patches[0] if self._patches else None
            if patch is not None and patch.start <= self._at:
                got = await self._fill_patch(patch, buffer[filled:])
            elif filled == len(buffer):
                break
            else:
                got = await self._fill_stored(buffer[filled:], self._stop if patch is None else patch.start)
            filled, self._at = filled + got, self._at + got
            if filled == len(buffer) and self._patches and self._patches[0].stop != self._at:
                break
        return filled

    @property
    def end(self) -> int:
        """Where it ends in the object; known once it was read, at the latest."""
        assert self._stop is not None
        return self._stop

    def complete(self, digests: dict[str, bytes]) -> dict[str, str]:
        return {name: b64encode(digests[name]).decode() for name in sorted(self.digests)}

    async def _fill_patch(self, patch: Patch, room: memoryview) -> int:
        """As much of the patch as there is room for; the patch is done with when it ends."""
        if patch.stop is not None:
            room = room[: patch.stop - self._at]
        got = await patch.source.fill(room)
        if got:
            await self._hash(room[:got])
        end = self._at + got
        if got < len(room):
            if patch.stop is not None:
                raise InvalidArgument(f"a patch ends at {end} instead of {patch.stop}")
            self._stop = end
        elif end != patch.stop:
            return got
        elif await patch.source.fill(memoryview(bytearray(1))):
            raise InvalidArgument(f"a patch goes on behind {end}")
        patch.source.complete(self._sums.finish())
        del self._patches[0]
        self._sums = self._next_sums()
        return got

    async def _fill_stored(self, room: memoryview, limit: int | None) -> int:
        assert limit is not None, "without an end the last patch is the end"
        count = min(len(room), limit - self._at)
        if self._at >= self._stored:
            room[:count] = bytes(count)
            return count
        count = min(count, self._stored - self._at)
        filled = 0

        async def sink(piece: Buffer) -> None:
            nonlocal filled
            room[filled : filled + len(piece)] = piece
            filled += len(piece)

        await self._read(self._at, self._at + count, sink)
        return count

    async def _hash(self, data: memoryview) -> None:
        if self._sums.dear and len(data) > DIGEST_INLINE_BYTES_MAX:
            await run_blocking(self._sums.update, data)
        else:
            self._sums.update(data)

    def _next_sums(self) -> Digests:
        return Digests(self._patches[0].source.digests if self._patches else (), etag=False)
