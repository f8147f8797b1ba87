"""Puts that travel together: those that come while messages are under way to the writer of their bucket share the next one.

A message and its answer cost both processes more than the put itself. The task that waits longest sends for all, and is not cancelled
meanwhile; who is cancelled before its put was sent takes it back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import trio

from meta.protocol.container import Container, PutOutcomes
from meta.protocol.object import NO_CONDITION, PUT_MANY_MAX, Condition, ObjectRow, PutOutcome, PutResult
from meta.wire import CALL_BYTES_MAX
from node.errors import FrazilError, NotFound, decode_error, encode_error

MESSAGES_AT_ONCE = 2
"""One is on its way while the writer works on the other."""
LAYOUT_BYTES_MAX = CALL_BYTES_MAX // PUT_MANY_MAX // 2
"""The layout of a put that travels with others; the other half is for its attributes. A larger one is a message of its own."""


class _Place:
    """One put that waits. answer: None until it is there."""

    __slots__ = ("answer", "row", "woken")

    def __init__(self, row: ObjectRow) -> None:
        self.row = row
        self.answer: PutResult | BaseException | None = None
        self.woken = trio.Event()


class Gathered:
    """Implements Container by another, which is asked for everything else as it comes."""

    def __init__(self, container: Container) -> None:
        self._container = container
        self._waiting: deque[_Place] = deque()
        self._under_way = 0

    def __repr__(self) -> str:
        return f"<Gathered waiting={len(self._waiting)} {self._container!r}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    async def put(self, row: ObjectRow, condition: Condition = NO_CONDITION) -> PutResult:
        if condition != NO_CONDITION or len(row.layout) > LAYOUT_BYTES_MAX:
            return await self._container.put(row, condition)
        place = _Place(row)
        if self._under_way < MESSAGES_AT_ONCE:
            self._under_way += 1
        else:
            await self._wait(place)
        if place.answer is None:
            with trio.CancelScope(shield=True):  # others depend upon it; a call is bounded
                await self._send(place)
        assert place.answer is not None
        if isinstance(place.answer, BaseException):
            raise place.answer
        return place.answer

    async def _wait(self, place: _Place) -> None:
        """Until there is an answer, or it is its turn to send."""
        self._waiting.append(place)
        try:
            await place.woken.wait()
        except BaseException:
            if place in self._waiting:
                self._waiting.remove(place)
                raise
            with trio.CancelScope(shield=True):  # it is on its way
                await place.woken.wait()

    async def _send(self, first: _Place) -> None:
        """Its own, and those that wait by now; then the next has its turn."""
        places = [first, *(self._waiting.popleft() for _ in range(min(len(self._waiting), PUT_MANY_MAX - 1)))]
        answers: Sequence[PutResult | BaseException]
        try:
            answers = await self._ask([place.row for place in places])
        except BaseException as error:  # noqa: BLE001 - a message that fails fails each of its puts
            answers = [error] * len(places)
        for place, answer in zip(places, answers, strict=True):
            place.answer = answer
            place.woken.set()
        if self._waiting:
            self._waiting.popleft().woken.set()
        else:
            self._under_way -= 1

    async def put_many(self, rows: Sequence[ObjectRow]) -> PutOutcomes:
        """For who has gathered them already."""
        try:
            return await self._container.put_many(rows)
        except NotFound as error:
            if type(error) is not NotFound:  # the bucket
                raise
            return [await self._alone(row) for row in rows]  # the writer is of an older version, which has no such call

    async def _ask(self, rows: Sequence[ObjectRow]) -> Sequence[PutResult | BaseException]:
        if len(rows) == 1:
            return [await self._container.put(rows[0])]
        return [outcome.result or decode_error(outcome.error, 500) for outcome in await self.put_many(rows)]

    async def _alone(self, row: ObjectRow) -> PutOutcome:
        try:
            return PutOutcome(await self._container.put(row))
        except FrazilError as error:
            return PutOutcome(error=encode_error(error))
