"""The body of a received message, read once and in order, with back-pressure: nothing is received that nobody asked for."""

from __future__ import annotations

from node.errors import BodyIncomplete, BodyTooLarge
from node.http.chunked import ChunkDecoder
from node.http.limits import Limits
from node.http.message import NO_HEADERS, Headers, MalformedMessage
from node.http.transport import Transport

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_scratch = memoryview(bytearray(64 * 1024))
"""Where dropped bytes go; its content is never read, so all connections share it."""


class Body:
    """Bytes of one message. `length` None: chunked, or up to the end of the connection when `until_end`.

    With a length, bytes go from the kernel into the reader's buffer: no copy in between.
    Raises (all methods that read): BodyIncomplete, BodyTooSlow, MalformedMessage, PeerUnreachable.
    """

    __slots__ = ("_continue", "_decoder", "_left", "_limits", "_malformed", "_transport", "_until_end", "ended")

    def __init__(
        self,
        transport: Transport,
        limits: Limits,
        *,
        length: int | None,
        chunked: bool = False,
        until_end: bool = False,
        expect_continue: bool = False,
    ) -> None:
        self._transport = transport
        self._limits = limits
        self._left = length or 0
        self._decoder = ChunkDecoder(limits) if chunked else None
        self._until_end = until_end
        self._continue = expect_continue
        self._malformed = False
        self.ended = not (chunked or until_end or self._left)

    def __repr__(self) -> str:
        return f"<Body {'ended' if self.ended else self._decoder or f'left={self._left}'}>"

    @property
    def trailers(self) -> Headers:
        """Empty before the end."""
        return self._decoder.trailers if self._decoder is not None else NO_HEADERS

    @property
    def unclaimed(self) -> bool:
        """The client waits for 100 Continue: nothing of the body is on its way."""
        return self._continue and not self.ended

    @property
    def left(self) -> int | None:
        """Bytes not read yet; None when unknown."""
        return None if self._decoder is not None or self._until_end else self._left

    @property
    def drainable(self) -> bool:
        """What is left may be dropped by `drain` to keep the connection."""
        return not self.unclaimed and not self._malformed and (self.left or 0) <= self._limits.drain_bytes_max

    async def read_into(self, buffer: memoryview) -> int:
        """At least one byte into `buffer`; 0 at the end."""
        if self.ended:
            return 0
        if self._continue:
            self._continue = False
            if not self._transport.rest:
                await self._transport.send(CONTINUE)
        if self._decoder is not None:
            return await self._read_chunked(buffer, self._decoder)
        left = self._left
        if left and len(buffer) > left:
            buffer = buffer[:left]
        count = await self._transport.receive_into(buffer)
        if not count:
            if not self._until_end:
                raise BodyIncomplete(f"the connection ended {left} bytes before the body")
            self.ended = True
        elif left:
            self._left = left - count
            self.ended = left == count
        return count

    async def _read_chunked(self, buffer: memoryview, decoder: ChunkDecoder) -> int:
        transport = self._transport
        while not decoder.remaining:
            data = transport.rest or await transport.receive()
            if not data:
                raise BodyIncomplete("the connection ended before the last chunk")
            try:
                transport.rest = data[decoder.feed(data) :]
            except MalformedMessage:
                self._malformed = True  # where this body ends is unknown, and so is where the next request begins
                raise
            if decoder.done:
                self.ended = True
                return 0
        if len(buffer) > decoder.remaining:
            buffer = buffer[: decoder.remaining]
        count = await transport.receive_into(buffer)
        if not count:
            raise BodyIncomplete("the connection ended within a chunk")
        decoder.took(count)
        return count

    async def fill(self, buffer: memoryview) -> int:
        """Reads until `buffer` is full or the body ends; returns the bytes read."""
        filled = 0
        size = len(buffer)
        while filled < size and not self.ended:
            filled += await self.read_into(buffer[filled:] if filled else buffer)
        return filled

    async def read(self, max_bytes: int) -> bytes:
        """All that is left. Raises: BodyTooLarge, as soon as it is known, when that is more than `max_bytes`."""
        if self.ended:
            return b""
        if self._decoder is None and not self._until_end:
            if self._left > max_bytes:
                raise BodyTooLarge(f"the body has {self._left} bytes, {max_bytes} are allowed")
            rest = self._transport.rest
            if len(rest) >= self._left:  # a small body came with its head
                data, self._transport.rest = rest[: self._left], rest[self._left :]
                self._left = 0
                self.ended = True
                return data
            exact = bytearray(self._left)
            await self.fill(memoryview(exact))
            return bytes(exact)
        pieces: list[bytes] = []
        total = 0
        piece = bytearray(min(max_bytes + 1, 64 * 1024))
        with memoryview(piece) as view:
            while count := await self.read_into(view):
                total += count
                if total > max_bytes:
                    raise BodyTooLarge(f"the body has more than {max_bytes} bytes")
                pieces.append(bytes(view[:count]))
        return b"".join(pieces)

    async def drain(self) -> None:
        """Drops what is left, up to drain_bytes_max; `ended` tells whether that was all. A malformed rest counts as not ended."""
        dropped = 0
        if self.unclaimed or self._malformed:
            return
        while not self.ended and dropped < self._limits.drain_bytes_max:
            try:
                dropped += await self.read_into(_scratch)
            except MalformedMessage:
                return
