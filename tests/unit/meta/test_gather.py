"""Puts that travel together are answered each for itself, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
import trio
import trio.testing

from meta.gather import LAYOUT_BYTES_MAX, MESSAGES_AT_ONCE, Gathered
from meta.protocol.container import Container
from meta.protocol.object import PUT_MANY_MAX, Condition, ObjectRow, PutOutcome, PutResult
from node.errors import BucketNotFound, Locked, NotFound, PeerUnreachable, encode_error


class Writer:
    """Answers a message when it is told to."""

    def __init__(self) -> None:
        self.messages: list[list[str]] = []
        self.conditions = 0
        self.go = trio.Semaphore(0)
        self.away = False
        self.refusal: NotFound | None = None

    async def put(self, row: ObjectRow, condition: Condition | None = None) -> PutResult:
        self.conditions += condition is not None
        return (await self._answer([row]))[0]

    async def put_many(self, rows: Sequence[ObjectRow]) -> list[PutOutcome]:
        if self.refusal is not None:
            raise self.refusal
        locked = PutOutcome(error=encode_error(Locked("a legal hold")))
        results = await self._answer(rows)
        return [locked if row.key == "locked" else PutOutcome(result) for row, result in zip(rows, results, strict=True)]

    async def _answer(self, rows: Sequence[ObjectRow]) -> list[PutResult]:
        self.messages.append([row.key for row in rows])
        await self.go.acquire()
        if self.away:
            raise PeerUnreachable("the store is away")
        return [PutResult(int(row.size), True, 0) for row in rows]


class Puts:
    """Many at once, and what came of each."""

    def __init__(self, writer: Writer) -> None:
        self.container = Gathered(cast(Container, writer))
        self.answers: dict[str, int | str] = {}

    async def put(self, key: str, size: int = 1) -> None:
        try:
            self.answers[key] = (await self.container.put(ObjectRow(key, size=size))).version
        except (Locked, NotFound, PeerUnreachable) as error:
            self.answers[key] = error.code


async def begin(puts: Puts, nursery: trio.Nursery, keys: Sequence[str]) -> None:
    for number, key in enumerate(keys):
        nursery.start_soon(puts.put, key, number)
        await trio.testing.wait_all_tasks_blocked()


async def test_who_comes_while_messages_are_under_way_shares_the_next() -> None:
    writer = Writer()
    puts = Puts(writer)
    async with trio.open_nursery() as nursery:
        await begin(puts, nursery, ["a", "b", "c", "locked", "d"])
        assert writer.messages == [["a"], ["b"]]
        writer.go.release()
        await trio.testing.wait_all_tasks_blocked()
        assert writer.messages == [["a"], ["b"], ["c", "locked", "d"]]
        writer.go.release()
        await trio.testing.wait_all_tasks_blocked()
        writer.go.release()
    assert puts.answers == {"a": 0, "b": 1, "c": 2, "locked": "Locked", "d": 4}
    await begin_alone(puts, writer)


async def begin_alone(puts: Puts, writer: Writer) -> None:
    """Nothing of what was before holds anybody up."""
    for key in ("x", "y"):
        writer.go.release()
        await puts.put(key)
    assert writer.messages[-2:] == [["x"], ["y"]]


async def test_a_message_that_fails_fails_each_of_its_puts() -> None:
    writer = Writer()
    puts = Puts(writer)
    async with trio.open_nursery() as nursery:
        await begin(puts, nursery, ["a", "b", "c", "d"])
        writer.away = True
        for _ in range(MESSAGES_AT_ONCE + 1):
            writer.go.release()
            await trio.testing.wait_all_tasks_blocked()
    assert set(puts.answers.values()) == {"PeerUnreachable"}
    writer.away = False
    await begin_alone(puts, writer)


async def test_who_is_cancelled_takes_back_what_is_not_sent_and_waits_for_what_is() -> None:
    writer = Writer()
    puts = Puts(writer)
    scopes: dict[str, trio.CancelScope] = {}

    async def put(key: str) -> None:
        with trio.CancelScope() as scopes[key]:
            await puts.put(key)

    async with trio.open_nursery() as nursery:
        for key in ("a", "b", "c", "d", "e"):
            nursery.start_soon(put, key)
            await trio.testing.wait_all_tasks_blocked()
        scopes["d"].cancel()
        scopes["a"].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert "a" not in puts.answers
        writer.go.release()
        await trio.testing.wait_all_tasks_blocked()
        assert writer.messages[2:] == [["c", "e"]]
        scopes["e"].cancel()
        scopes["c"].cancel()
        writer.go.release()
        writer.go.release()
    assert puts.answers == {"a": 1, "b": 1, "c": 1, "e": 1}


async def test_a_message_has_so_many_and_no_more_and_conditions_go_alone() -> None:
    writer = Writer()
    puts = Puts(writer)
    async with trio.open_nursery() as nursery:
        for number in range(MESSAGES_AT_ONCE + PUT_MANY_MAX + 5):
            nursery.start_soon(puts.put, f"{number}")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(puts.container.put, ObjectRow("only"), Condition(if_none_match=("*",)))
        await trio.testing.wait_all_tasks_blocked()
        assert (writer.messages[-1], writer.conditions) == (["only"], 1)
        for _ in range(MESSAGES_AT_ONCE + 3):
            writer.go.release()
            await trio.testing.wait_all_tasks_blocked()
    assert sorted(map(len, writer.messages)) == [1, 1, 1, 5, PUT_MANY_MAX]


@pytest.mark.parametrize(
    ("refusal", "answers"),
    [
        (NotFound("no such call"), {"a": 0, "b": 1, "c": 2, "d": 3}),
        (BucketNotFound("no such bucket"), {"a": 0, "b": 1, "c": "BucketNotFound", "d": "BucketNotFound"}),
    ],
)
async def test_a_writer_of_before_this_call_is_told_one_after_the_other(refusal: NotFound, answers: dict[str, int | str]) -> None:
    writer = Writer()
    writer.refusal = refusal
    puts = Puts(writer)
    async with trio.open_nursery() as nursery:
        await begin(puts, nursery, ["a", "b", "c", "d"])
        writer.go.release()
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(3):
            writer.go.release()
    assert puts.answers == answers


async def test_what_is_large_travels_alone() -> None:
    """A message has room for so many small ones only."""
    writer = Writer()
    puts = Puts(writer)
    async with trio.open_nursery() as nursery:
        await begin(puts, nursery, ["a", "b"])
        for key in ("large", "larger"):
            nursery.start_soon(puts.container.put, ObjectRow(key, layout=bytes(LAYOUT_BYTES_MAX + 1)))
            await trio.testing.wait_all_tasks_blocked()
        assert writer.messages == [["a"], ["b"], ["large"], ["larger"]]
        for _ in range(4):
            writer.go.release()


@pytest.mark.parametrize("name", ["delete", "change"])
def test_everything_else_goes_as_it_comes(name: str) -> None:
    class Other:
        delete = change = "asked"

    assert getattr(Gathered(cast(Container, Other())), name) == "asked"
