"""One after another, unless one of them waits for its disk."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rawx.turns import Turns

LONGEST_S = 0.1


class Walkers:
    """Take turns and note when each began."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.began: list[tuple[str, float]] = []
        self._start_s = trio.current_time()

    async def walk(self, name: str, takes_s: float) -> None:
        async with self.turns.turn(LONGEST_S):
            self.began.append((name, round(trio.current_time() - self._start_s, 3)))
            await trio.sleep(takes_s)


async def test_each_begins_when_the_one_before_is_over(autojump_clock: MockClock) -> None:
    walkers = Walkers()
    async with trio.open_nursery() as nursery:
        for name in "abc":
            nursery.start_soon(walkers.walk, name, 0.05)
            await wait_all_tasks_blocked()
        assert repr(walkers.turns) == "<Turns busy=True>"
    assert walkers.began == [("a", 0.0), ("b", 0.05), ("c", 0.1)]
    assert repr(walkers.turns) == "<Turns busy=False>"


async def test_whoever_takes_longer_is_passed(autojump_clock: MockClock) -> None:
    walkers = Walkers()
    async with trio.open_nursery() as nursery:
        for name, takes_s in (("hangs", 60.0), ("slow", 1.0), ("quick", 0.05), ("last", 0.05)):
            nursery.start_soon(walkers.walk, name, takes_s)
            await wait_all_tasks_blocked()
    assert walkers.began == [("hangs", 0.0), ("slow", LONGEST_S), ("quick", 2 * LONGEST_S), ("last", 2 * LONGEST_S + 0.05)]


async def test_nobody_waits_for_one_that_left_or_failed(autojump_clock: MockClock) -> None:
    walkers = Walkers()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(walkers.walk, "first", 0.05)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0.01):
            await walkers.walk("left", 1.0)
        with pytest.raises(ValueError, match="failed"):
            async with walkers.turns.turn(LONGEST_S):
                raise ValueError("failed")
        await walkers.walk("next", 0.05)
    assert walkers.began == [("first", 0.0), ("next", 0.01)]
