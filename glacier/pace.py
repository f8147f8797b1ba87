"""A limit on the bytes to a freezer and from it, for boards in another data centre: a stream around the stream."""

from __future__ import annotations

from math import inf

import trio

STEP_BYTES = 64 << 10
RATE_BYTES_MIN = STEP_BYTES
"""Per second: a frame of a mebibyte must be over within a minute."""


class Rate:
    """Bytes per second, of both directions together; may be set while it is used. 0: no limit."""

    def __init__(self, bytes_s: float = 0.0) -> None:
        self.bytes_s = bytes_s
        self._free_at = -inf

    def __repr__(self) -> str:
        return f"<Rate {self.bytes_s:g} bytes per second>"

    async def spend(self, count: int) -> None:
        """Waits until what was spent before is paid for."""
        now = trio.current_time()
        at = max(now, self._free_at)
        self._free_at = at + count / self.bytes_s if self.bytes_s else -inf
        if at > now:
            await trio.sleep(at - now)


class PacedStream(trio.abc.Stream):
    def __init__(self, stream: trio.abc.Stream, rate: Rate) -> None:
        self._stream = stream
        self._rate = rate

    def __repr__(self) -> str:
        return f"<PacedStream {self._rate!r}>"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        for at in range(0, len(view), STEP_BYTES):
            part = view[at : at + STEP_BYTES]
            await self._rate.spend(len(part))
            await self._stream.send_all(part)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Takes no more than is allowed: the kernel's buffers fill, and the other end waits."""
        data = await self._stream.receive_some(min(max_bytes or STEP_BYTES, STEP_BYTES))
        await self._rate.spend(len(data))
        return data

    async def aclose(self) -> None:
        await self._stream.aclose()
