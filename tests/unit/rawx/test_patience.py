"""Calls of which only some must succeed: the late ones don't hold up the others."""

from __future__ import annotations

from functools import partial

import trio
import trio.testing

from node.errors import DeadlineExceeded, FrazilError, VolumeSick
from rawx.patience import LIMIT_S, PATIENCE_S, Patience


async def run(patience: Patience, *seconds: float) -> tuple[list[str], float]:
    """What became of calls that take so long (negative: that fail after so long), and how long all took."""
    outcomes = ["" for _ in seconds]

    async def call(takes_s: float) -> None:
        await trio.sleep(abs(takes_s))
        if takes_s < 0:
            raise VolumeSick("broken")

    async def one(index: int, takes_s: float) -> None:
        try:
            await patience.bound(partial(call, takes_s))
            outcomes[index] = "done"
        except DeadlineExceeded:
            outcomes[index] = "late"
        except FrazilError:
            outcomes[index] = "failed"

    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        for index, takes_s in enumerate(seconds):
            nursery.start_soon(one, index, takes_s)
    return outcomes, trio.current_time() - begin


async def test_who_is_late_when_enough_have_succeeded_is_given_up_soon(autojump_clock: trio.testing.MockClock) -> None:
    outcomes, took_s = await run(Patience(2), 1, 2, 2 + PATIENCE_S - 0.1, 100)
    assert outcomes == ["done", "done", "done", "late"]
    assert took_s == 2 + PATIENCE_S


async def test_while_too_few_have_succeeded_all_are_waited_for_but_not_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    outcomes, took_s = await run(Patience(2), 1, -1, 5, 100)
    assert outcomes == ["done", "failed", "done", "late"]
    assert took_s == 5 + PATIENCE_S
    outcomes, took_s = await run(Patience(2), 1, -1, 100)
    assert outcomes == ["done", "failed", "late"]
    assert took_s == LIMIT_S


async def test_successes_elsewhere_count(autojump_clock: trio.testing.MockClock) -> None:
    patience = Patience(3)
    patience.succeed(2)
    outcomes, took_s = await run(patience, 1, 100)
    assert outcomes == ["done", "late"]
    assert took_s == 1 + PATIENCE_S
    outcomes, took_s = await run(patience, 100)
    assert took_s == 0
