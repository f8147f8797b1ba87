"""Saves pass side by side, a move waits for them and holds back those that come."""

from __future__ import annotations

import trio

from fs.gate import Gate, Latch


async def test_a_closed_gate_has_nobody_inside(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    gate, events = Gate(), list[str]()

    async def save(name: str, at_s: float) -> None:
        await trio.sleep(at_s)
        async with gate.passing():
            events.append(f"{name} begins")
            await trio.sleep(2)
            events.append(f"{name} ends")

    async def move() -> None:
        await trio.sleep(1)
        async with gate.closed():
            events.append("move begins")
            await trio.sleep(5)
            events.append("move ends")

    async with trio.open_nursery() as inner:
        for name, at_s in (("a", 0), ("b", 0.5), ("c", 3)):
            inner.start_soon(save, name, at_s)
        inner.start_soon(move)
    assert events == ["a begins", "b begins", "a ends", "b ends", "move begins", "move ends", "c begins", "c ends"]


async def test_a_latch_that_its_own_task_has_is_not_free() -> None:
    latch = Latch()
    assert latch.take()
    assert not latch.take(), "a file that was closed twice stands twice in a batch"
    latch.give_back()
    assert latch.take()


async def test_a_latch_goes_to_who_waits_longest_and_past_who_gave_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    latch, had = Latch(), list[str]()

    async def take(name: str, patience_s: float) -> None:
        with trio.move_on_after(patience_s):
            async with latch:
                had.append(name)
                await trio.sleep(1)

    assert latch.take()
    async with trio.open_nursery() as inner:
        for name, patience_s in (("a", 1.0), ("b", 100.0), ("c", 100.0)):
            inner.start_soon(take, name, patience_s)
            await trio.testing.wait_all_tasks_blocked()
        await trio.sleep(2)
        latch.give_back()
        assert not latch.take(), "it is another's by now"
    assert had == ["b", "c"]
    assert latch.take()
