"""A client's write happens once, however often it is asked for, and what is kept of answers is bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from meta.cluster.calls import Calls
from node.errors import Busy, NotLeader, ObjectNotFound


def number(at: int) -> bytes:
    return b"%032x" % at


class Work:
    """Counts what is carried out; `gate` holds it up."""

    def __init__(self) -> None:
        self.done = 0
        self.gate = trio.Event()
        self.gate.set()

    def of(self, answer: bytes, error: Exception | None = None) -> Callable[[], Awaitable[bytes]]:
        async def make() -> bytes:
            self.done += 1
            await self.gate.wait()
            if error is not None:
                raise error
            return answer

        return make


async def test_who_asks_again_gets_the_first_answer_also_while_that_is_under_way() -> None:
    calls, work = Calls(), Work()
    work.gate = trio.Event()
    answers: list[bytes] = []

    async def ask() -> None:
        answers.append(await calls.answer(number(1), work.of(b"one")))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        work.gate.set()
    assert answers == [b"one"] * 3
    assert await calls.answer(number(1), work.of(b"other")) == b"one"
    assert work.done == 1


async def test_a_refusal_is_an_answer_and_an_outage_is_none() -> None:
    calls, work = Calls(), Work()
    for _ in range(2):
        with pytest.raises(ObjectNotFound):
            await calls.answer(number(1), work.of(b"", ObjectNotFound("gone")))
        with pytest.raises(NotLeader):
            await calls.answer(number(2), work.of(b"", NotLeader("not me")))
    assert work.done == 1 + 2
    assert await calls.answer(number(2), work.of(b"two")) == b"two"


async def test_answers_are_kept_by_count_and_by_bytes() -> None:
    calls, work = Calls(calls_max=3, bytes_max=100), Work()
    for at in range(10):
        await calls.answer(number(at), work.of(b"x" * 10))
    assert repr(calls) == "<Calls 3 bytes=30>"
    for at in range(10, 20):
        await calls.answer(number(at), work.of(b"x" * 60))
    assert repr(calls) == "<Calls 1 bytes=60>"
    await calls.answer(number(20), work.of(b"x" * 500))
    assert repr(calls) == "<Calls 1 bytes=500>"
    await calls.answer(number(21), work.of(b"x"))
    assert repr(calls) == "<Calls 1 bytes=1>"


async def test_too_many_at_once_are_refused_and_not_carried_out() -> None:
    calls, work = Calls(calls_max=2), Work()
    work.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        for at in range(2):
            nursery.start_soon(calls.answer, number(at), work.of(b""))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Busy):
            await calls.answer(number(2), work.of(b""))
        assert work.done == 2
        work.gate.set()
    assert await calls.answer(number(2), work.of(b"")) == b""
