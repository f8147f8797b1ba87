"""What is loaded when, and that it is what was asked for."""

from __future__ import annotations

import random

import pytest
import trio

from fs.readahead import KEPT_UNITS, UNIT_BYTES, WINDOW_UNITS_MAX, Budget, ReadAhead
from node.errors import ContentLost

DATA = random.Random(1).randbytes(UNIT_BYTES * 40 + 1234)


class Loads:
    """The object, and which ranges were loaded of it."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.failing = False

    async def load(self, start: int, into: memoryview) -> None:
        self.ranges.append((start, start + len(into)))
        await trio.lowlevel.checkpoint()
        if self.failing:
            raise ContentLost("gone")
        into[:] = DATA[start : start + len(into)]


async def test_any_reads_give_the_bytes_of_the_file(seed: str, nursery: trio.Nursery) -> None:
    budget, chance = Budget(), random.Random(seed)
    ahead = ReadAhead(Loads().load, len(DATA), budget, nursery)
    at = 0
    for _ in range(300):
        start = at if chance.random() < 0.6 else chance.randrange(len(DATA))
        stop = min(start + chance.choice([1, 4096, 128 << 10, 1 << 20]), len(DATA))
        if start < stop:
            assert await ahead.read(start, stop) == DATA[start:stop]
        at = stop % len(DATA)
    await trio.testing.wait_all_tasks_blocked()
    ahead.close()
    assert budget.used == 0


async def test_a_file_read_in_order_is_loaded_ahead_and_once(nursery: trio.Nursery) -> None:
    loads = Loads()
    ahead = ReadAhead(loads.load, len(DATA), Budget(), nursery)
    for start in range(0, len(DATA), 128 << 10):
        await ahead.read(start, min(start + (128 << 10), len(DATA)))
        await trio.testing.wait_all_tasks_blocked()
    assert sum(stop - start for start, stop in loads.ranges) == len(DATA)
    assert max(stop - start for start, stop in loads.ranges) >= UNIT_BYTES * WINDOW_UNITS_MAX // 2


async def test_reads_here_and_there_load_what_they_need_and_keep_little(nursery: trio.Nursery) -> None:
    loads, budget = Loads(), Budget()
    ahead = ReadAhead(loads.load, len(DATA), budget, nursery)
    for number in (30, 3, 17, 9, 25, 1, 38):
        await ahead.read(number * UNIT_BYTES + 5, number * UNIT_BYTES + 10)
    assert [stop - start for start, stop in loads.ranges] == [UNIT_BYTES] * 7
    assert budget.used <= (KEPT_UNITS + 7) * UNIT_BYTES


async def test_a_failed_load_fails_its_reader_and_is_tried_again(nursery: trio.Nursery) -> None:
    loads = Loads()
    ahead = ReadAhead(loads.load, len(DATA), Budget(), nursery)
    loads.failing = True
    with pytest.raises(ContentLost):
        await ahead.read(0, 10)
    loads.failing = False
    assert await ahead.read(0, 10) == DATA[:10]


async def test_a_spent_budget_ends_reading_ahead(nursery: trio.Nursery) -> None:
    loads, budget = Loads(), Budget(0)
    ahead = ReadAhead(loads.load, len(DATA), budget, nursery)
    for start in range(0, UNIT_BYTES * 6, UNIT_BYTES):
        await ahead.read(start, start + UNIT_BYTES)
        await trio.testing.wait_all_tasks_blocked()
    assert all(stop - start == UNIT_BYTES for start, stop in loads.ranges)


async def test_what_was_to_be_loaded_when_it_was_closed_is_not(nursery: trio.Nursery) -> None:
    loaded: list[int] = []

    async def load(start: int, into: memoryview) -> None:
        loaded.append(start)

    budget = Budget()
    ahead = ReadAhead(load, 100 * UNIT_BYTES, budget, nursery)
    for start in range(0, 4 * UNIT_BYTES, UNIT_BYTES):
        await ahead.read(start, start + UNIT_BYTES)
    count = len(loaded)
    ahead.close()
    await trio.testing.wait_all_tasks_blocked()
    assert len(loaded) == count
    with pytest.raises(OSError, match="Stale"):
        await ahead.read(50 * UNIT_BYTES, 51 * UNIT_BYTES)
    assert budget.used == 0
