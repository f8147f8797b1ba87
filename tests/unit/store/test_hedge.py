"""When others are asked as well, and what becomes of who is late."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from random import Random

import pytest
import trio
import trio.testing

from store.fleet import AVOID_S, Fleet
from store.get import HEDGE_S
from store.hedge import DELAY_FIRST_S, DELAY_S, LAGS_MAX, SAMPLES_STEP, Pace, Race


class Sources:
    """Attempts that take their time, fail or never answer; who began when, and who was cancelled."""

    def __init__(self, *seconds: float) -> None:
        """A negative number fails after so long."""
        self.begun: dict[int, float] = {}
        self.cancelled: list[int] = []
        self._start = trio.current_time()
        self.attempts: list[Callable[[], Awaitable[bool]]] = [self._attempt(place, each) for place, each in enumerate(seconds)]

    def _attempt(self, place: int, seconds: float) -> Callable[[], Awaitable[bool]]:
        async def attempt() -> bool:
            self.begun[place] = round(trio.current_time() - self._start, 6)
            try:
                await trio.sleep(abs(seconds))
            except trio.Cancelled:
                self.cancelled.append(place)
                raise
            return seconds >= 0

        return attempt


def first(sources: Sources) -> Race:
    return Race(sources.attempts, enough=bool, further=lambda _, hoped: 1 - len(hoped))


async def test_who_answers_in_time_is_the_only_one_asked(autojump_clock: trio.testing.MockClock) -> None:
    sources = Sources(0.9, 0.1)
    assert await first(sources).run(1, delay_s=1.0) == {0}
    assert sources.begun == {0: 0.0}


async def test_a_second_is_asked_after_the_delay_and_the_loser_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    sources = Sources(math.inf, 0.5)
    race = first(sources)
    assert await race.run(1, delay_s=1.0) == {1}
    assert (sources.begun, sources.cancelled, race.late) == ({0: 0.0, 1: 1.0}, [0], {0})


async def test_the_late_one_may_still_win_and_who_was_asked_instead_is_not_late(autojump_clock: trio.testing.MockClock) -> None:
    sources = Sources(1.2, 5.0)
    race = first(sources)
    assert await race.run(1, delay_s=1.0) == {0}
    assert (sources.cancelled, race.late) == ([1], set())


async def test_each_further_one_has_the_same_time_and_the_last_has_all(autojump_clock: trio.testing.MockClock) -> None:
    sources = Sources(math.inf, math.inf, 7.0)
    assert await first(sources).run(1, delay_s=1.0) == {2}
    assert sources.begun == {0: 0.0, 1: 1.0, 2: 2.0}
    assert trio.current_time() == pytest.approx(9.0)


async def test_one_that_fails_is_followed_at_once(autojump_clock: trio.testing.MockClock) -> None:
    sources = Sources(-0.1, -0.1, 0.1)
    assert await first(sources).run(1, delay_s=10.0) == {2}
    assert sources.begun == {0: 0.0, 1: 0.1, 2: 0.2}
    sources = Sources(-0.1, -0.1)
    assert await first(sources).run(1, delay_s=10.0) == set()


def stripe(sources: Sources, wanted: set[int], data: int) -> Race:
    def further(done: set[int], hoped: set[int]) -> int:
        return 0 if wanted <= done | hoped else max(0, data - len(done | hoped))

    return Race(sources.attempts, enough=lambda done: wanted <= done or len(done) >= data, further=further)


async def test_a_stripe_takes_as_much_parity_as_it_lacks(autojump_clock: trio.testing.MockClock) -> None:
    sources = Sources(0.1, math.inf, 0.1, 0.3, 0.1)
    assert await stripe(sources, {0, 1, 2}, 3).run(3, delay_s=1.0) == {0, 2, 3}
    assert (sources.begun, sources.cancelled) == ({0: 0.0, 1: 0.0, 2: 0.0, 3: 1.0}, [1])


async def test_a_part_of_a_stripe_needs_all_of_another_way(autojump_clock: trio.testing.MockClock) -> None:
    sources = Sources(math.inf, 0.1, 0.1, 0.1, 0.1)
    assert len(await stripe(sources, {0}, 3).run(1, delay_s=1.0)) >= 3
    assert sources.begun == {0: 0.0, 1: 1.0, 2: 1.0, 3: 1.0}


async def test_an_error_comes_out_plain(autojump_clock: trio.testing.MockClock) -> None:
    async def bug() -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Race([bug], enough=bool, further=lambda _, hoped: 1 - len(hoped)).run(1, 1.0)


def test_the_delay_follows_how_long_reads_take() -> None:
    pace = Pace()
    assert pace.delay_s == DELAY_FIRST_S
    assert DELAY_S[1] < HEDGE_S
    for _ in range(SAMPLES_STEP):
        pace.observe(0.1)
    assert pace.delay_s == pytest.approx(0.15)
    for _ in range(10 * SAMPLES_STEP):
        pace.observe(0.0001)
    assert pace.delay_s == DELAY_S[0]
    for number in range(10 * SAMPLES_STEP):
        pace.observe(0.01 if number % 50 else 30.0)  # one in fifty is no news
    assert pace.delay_s == DELAY_S[0]
    for _ in range(10 * SAMPLES_STEP):
        pace.observe(30.0)
    assert pace.delay_s == DELAY_S[1]


def test_who_loses_one_race_after_the_other_is_asked_last_for_a_while() -> None:
    now = 0.0
    fleet = Fleet({}, random=Random(1), now=lambda: now)
    for _ in range(LAGS_MAX - 1):
        fleet.lagged("a")
    fleet.answered("a", 0.1)
    for _ in range(LAGS_MAX - 1):
        fleet.lagged("a")
    assert fleet.likely("a")
    fleet.lagged("a")
    assert not fleet.likely("a")
    now += 2 * AVOID_S
    assert fleet.likely("a")
