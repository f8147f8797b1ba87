"""Clients' writes at a leader: each is carried out once, and answered as often as it is asked for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

from node.errors import Busy, Unavailable

CALLS_MAX = 4_096
"""Writes under way, and such whose answers are kept for clients that ask again."""
ANSWERS_BYTES_MAX = 16 << 20
"""Of all answers that are kept; one alone may be larger for as long as it is the newest."""

Make = Callable[[], Awaitable[bytes]]


class Calls:
    """By number, which the client draws and keeps when it asks again. The oldest that are answered go first."""

    def __init__(self, *, calls_max: int = CALLS_MAX, bytes_max: int = ANSWERS_BYTES_MAX) -> None:
        self._calls: OrderedDict[bytes, _Call] = OrderedDict()
        self._calls_max = calls_max
        self._bytes_max = bytes_max
        self._bytes = 0

    def __repr__(self) -> str:
        return f"<Calls {len(self._calls)} bytes={self._bytes}>"

    async def answer(self, number: bytes, make: Make) -> bytes:
        """What `make` answers, or answered before. Raises: Busy when too many are under way; what `make` raises."""
        known = self._calls.get(number)
        if known is not None:
            return await known.result()
        call = self._calls[number] = _Call()
        try:
            self._make_room()
            answer = await call.make(make)
        except Unavailable:
            self._calls.pop(number, None)  # who asks again wants it tried again
            raise
        self._bytes += len(answer)
        self._make_room()
        return answer

    def _make_room(self) -> None:
        while len(self._calls) > self._calls_max or (self._bytes > self._bytes_max and len(self._calls) > 1):
            number = next((number for number, call in self._calls.items() if call.over), None)
            if number is None:
                raise Busy(f"{len(self._calls) - 1} writes are under way")
            self._bytes -= self._calls.pop(number).size


class _Call:
    def __init__(self) -> None:
        self._done = trio.Event()
        self._answer: bytes | None = None
        self._error: Exception | None = None

    @property
    def over(self) -> bool:
        return self._done.is_set()

    @property
    def size(self) -> int:
        return len(self._answer or b"")

    async def make(self, function: Make) -> bytes:
        try:
            with trio.CancelScope(shield=True):  # a writer's lane does not let its callers go either
                self._answer = answer = await function()
            return answer
        except Exception as error:
            self._error = error
            raise
        finally:
            self._done.set()

    async def result(self) -> bytes:
        await self._done.wait()
        if self._error is not None:
            raise self._error
        assert self._answer is not None
        return self._answer
