from __future__ import annotations

import pytest

from glacier.backlog import Kind
from glacier.simulation import Board
from glacier.study import OURS, Study, study
from glacier.trace import SCENARIOS

BOARD = Board()
"""56 disks on two buses, 6+3."""


@pytest.fixture(scope="module")
def day() -> Study:
    return study(BOARD, SCENARIOS["day"], objects=1500, hours=24, seed="a day")


def test_a_day_takes_a_quarter_of_the_power_cycles_of_first_come_first_served(day: Study) -> None:
    assert day.outcomes[OURS].power_cycles * 4 <= day.outcomes["first come"].power_cycles


def test_standard_restores_of_a_day_wait_no_longer_than_first_come_first_served(day: Study) -> None:
    ours, theirs = (day.outcomes[name].waits[Kind.STANDARD] for name in (OURS, "first come"))
    assert ours.p99_s <= theirs.p99_s


def test_a_day_is_within_what_is_possible(day: Study) -> None:
    for outcome in day.outcomes.values():
        assert outcome.makespan_s >= day.bound.makespan_s
    assert day.bound.power_cycles <= day.outcomes[OURS].power_cycles
    assert day.bound.energy_wh <= day.outcomes[OURS].energy_wh


def test_nothing_waits_beyond_its_bound_on_a_day(day: Study) -> None:
    waits = day.outcomes[OURS].waits
    assert waits[Kind.EXPEDITED].longest_s < 3 * 60
    assert waits[Kind.BULK].longest_s < 5 * 3600
    assert waits[Kind.FREEZE].longest_s < 24 * 3600


def test_a_restore_of_everything_is_close_to_the_best_possible() -> None:
    everything = study(BOARD, SCENARIOS["archive"], objects=500, hours=1, seed="all")
    ours, bound = everything.outcomes[OURS], everything.bound
    assert bound.power_cycles <= ours.power_cycles <= 1.3 * bound.power_cycles
    assert bound.makespan_s <= ours.makespan_s <= 1.3 * bound.makespan_s


def test_the_same_seed_gives_the_same_day() -> None:
    small = Board(disks=6, data=2, parity=1)
    first, again = (study(small, SCENARIOS["day"], objects=200, hours=6, seed="x") for _ in range(2))
    assert first == again
