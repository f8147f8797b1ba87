"""Calls side by side."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from node.errors import VolumeSick
from store.parallel import stream


async def test_results_come_in_order_and_the_next_begins_when_any_ends(autojump_clock: trio.testing.MockClock) -> None:
    under_way = most = 0

    async def call(number: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await trio.sleep(10 if number == 0 else 1)
        under_way -= 1
        return number

    began = trio.current_time()
    assert await stream([partial(call, number) for number in range(11)], 2) == list(range(11))
    assert most == 2
    assert trio.current_time() - began == pytest.approx(10)  # in pairs it would be 15


async def test_after_a_failure_nothing_is_begun_and_what_is_under_way_ends(autojump_clock: trio.testing.MockClock) -> None:
    begun, ended = [], []

    async def call(number: int) -> None:
        begun.append(number)
        await trio.sleep(1 + number)
        if number == 1:
            raise VolumeSick("the disk is gone")
        ended.append(number)

    with pytest.raises(VolumeSick, match="gone"):
        await stream([partial(call, number) for number in range(10)], 3)
    assert begun == [0, 1, 2, 3]
    assert ended == [0, 2, 3]
