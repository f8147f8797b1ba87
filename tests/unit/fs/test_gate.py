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
