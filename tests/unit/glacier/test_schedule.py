from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier.backlog import Backlog, Job, Kind
from glacier.schedule import (
    DAY_S,
    DEFAULT_TERMS,
    HOUR_S,
    STARVED_BOUNDS,
    TURN_S,
    TURNS,
    Bus,
    Off,
    Power,
    Rest,
    Run,
    Scheduler,
    Terms,
)

DISKS = 6
decide = Scheduler()


def backlog(*jobs: Job) -> Backlog:
    made = Backlog()
    for job in jobs:
        made.add(job)
    return made


def test_a_bus_with_nothing_to_do_rests_until_something_comes() -> None:
    assert decide(Backlog(), Bus(), 0.0) == Rest(inf)


def test_an_idle_disk_is_powered_off_after_a_while() -> None:
    idle = Bus(disk=1, since_s=0.0, busy_s=100.0)
    assert decide(Backlog(), idle, 101.0) == Rest(100.0 + decide.idle_s)
    assert decide(Backlog(), idle, 100.0 + decide.idle_s) == Off()


def test_a_restore_has_its_disk_powered_at_once() -> None:
    assert decide(backlog(Job(1, 4, Kind.STANDARD, 10.0)), Bus(), 10.0) == Power(4)


def test_what_is_not_urgent_waits_for_company_and_then_goes() -> None:
    waiting = backlog(Job(1, 4, Kind.FREEZE, 0.0, 100))
    hold_s = DEFAULT_TERMS[Kind.FREEZE].hold_s
    assert decide(waiting, Bus(), 1.0) == Rest(hold_s)
    assert decide(waiting, Bus(), hold_s) == Power(4)


def test_a_heap_of_freezes_waits_no_longer() -> None:
    heap = backlog(*(Job(number, 4, Kind.FREEZE, 0.0, 10 << 30) for number in range(8)))
    assert decide(heap, Bus(), 1.0) == Power(4)


def test_everything_on_the_powered_disk_is_done_in_order_of_urgency() -> None:
    waiting = backlog(
        Job(1, 3, Kind.DELETE, 0.0), Job(2, 3, Kind.FREEZE, 0.0, 9), Job(3, 3, Kind.BULK, 0.0, 9), Job(4, 3, Kind.EXPEDITED, 5.0, 9)
    )
    bus, order = Bus(disk=3, since_s=6.0, busy_s=6.0), []
    while len(waiting):
        action = decide(waiting, bus, 7.0)
        assert isinstance(action, Run)
        order.append(action.job.kind)
        waiting.discard(action.job.id)
    assert order == [Kind.EXPEDITED, Kind.BULK, Kind.FREEZE, Kind.DELETE]


def test_a_long_freeze_is_left_for_a_restore_that_waited_its_patience() -> None:
    patience_s = DEFAULT_TERMS[Kind.STANDARD].patience_s
    waiting = backlog(Job(1, 3, Kind.FREEZE, 0.0, 9), Job(2, 5, Kind.STANDARD, 1000.0, 9))
    bus = Bus(disk=3, since_s=500.0, busy_s=1000.0)
    assert decide(waiting, bus, 1000.0 + patience_s - 1) == Run(Job(1, 3, Kind.FREEZE, 0.0, 9))
    assert decide(waiting, bus, 1000.0 + patience_s) == Power(5)


def test_a_session_ends_with_what_waited_when_it_began_if_others_press() -> None:
    gated, late = Job(1, 3, Kind.STANDARD, 90.0, 9), Job(2, 3, Kind.STANDARD, 150.0, 9)
    waiting = backlog(gated, late, Job(3, 5, Kind.STANDARD, 0.0, 9))
    bus, now_s = Bus(disk=3, since_s=100.0, busy_s=100.0), 400.0
    assert decide(waiting, bus, now_s) == Run(gated)
    waiting.discard(gated.id)
    assert decide(waiting, bus, now_s) == Power(5)


def test_a_disk_that_is_away_is_not_powered_and_holds_nobody_up() -> None:
    waiting = backlog(Job(1, 3, Kind.EXPEDITED, 0.0), Job(2, 5, Kind.BULK, 0.0))
    assert decide(waiting, Bus(away=frozenset({3})), DAY_S) == Power(5)
    assert decide(backlog(Job(1, 3, Kind.EXPEDITED, 0.0)), Bus(away=frozenset({3})), DAY_S) == Rest(inf)


def test_of_two_disks_the_one_whose_restores_waited_longest_together_comes_first() -> None:
    lone, many = Job(1, 1, Kind.STANDARD, 0.0, 9), [Job(number, 2, Kind.STANDARD, 10.0, 9) for number in range(2, 9)]
    assert decide(backlog(lone, *many), Bus(), 60.0) == Power(2)


def test_disks_whose_jobs_are_all_overdue_are_each_left_only_when_theirs_are_done() -> None:
    late_s, hasty = 2 * DAY_S, Scheduler(least_s=0.0)
    both = [Job(disk, disk, Kind.FREEZE, 0.0, 9) for disk in (1, 2)]
    fresh = [Job(disk + 2, disk, Kind.BULK, late_s - 1.0, 9) for disk in (1, 2)]
    bus = Bus(disk=1, since_s=late_s, busy_s=late_s)
    assert hasty(backlog(*both), bus, late_s) == Run(both[0])
    assert hasty(backlog(*both, *fresh), bus, late_s) == Run(both[0])


def test_a_job_beyond_its_bound_counts_like_a_restore() -> None:
    old, new = Job(1, 1, Kind.DELETE, 0.0), Job(2, 2, Kind.BULK, 15 * DAY_S - 5 * HOUR_S, 9)
    assert decide(backlog(old, new), Bus(), 15 * DAY_S) == Power(1)


@pytest.mark.parametrize("kind", Kind)
def test_a_clock_that_was_set_back_keeps_no_job_waiting(kind: Kind) -> None:
    assert decide(backlog(Job(1, 4, kind, 10 * DAY_S, 9)), Bus(), DAY_S) == Power(4)


@pytest.mark.parametrize("disk", [0, 4])
@pytest.mark.parametrize("kind", [Kind.STANDARD, Kind.BULK, Kind.FREEZE, Kind.DELETE])
def test_restores_that_never_cease_keep_no_job_waiting_for_ever(kind: Kind, disk: int) -> None:
    """One EXPEDITED every two seconds on three disks, which is more than the bus can keep up with."""
    short = Scheduler(terms={each: Terms(0.0, min(DEFAULT_TERMS[each].patience_s, 60.0), 300.0) for each in Kind})
    waiting, bus, now_s, number = backlog(Job(0, disk, kind, 0.0, 9)), Bus(), 0.0, 0
    while waiting.get(0) is not None:
        assert now_s < STARVED_BOUNDS * 300.0 + TURNS * TURN_S
        while 2.0 * number <= now_s:
            number += 1
            waiting.add(Job(number, number * 7919 % 3, Kind.EXPEDITED, 2.0 * number, 9))
        match short(waiting, bus, now_s):
            case Run(job):
                waiting.discard(job.id)
                now_s += 0.1
            case Power(powered):
                now_s += short.rates.switch_s
                bus = Bus(powered, now_s, now_s)
            case other:
                raise AssertionError(other)


def test_too_much_of_everything_keeps_no_urgent_restore_waiting_long() -> None:
    late_s = 40 * DAY_S
    heap = [Job(number, number % 4, Kind.FREEZE, 0.0, 1 << 34) for number in range(400)]
    urgent = Job(1000, 5, Kind.EXPEDITED, late_s, 9)
    turns = [decide(backlog(*heap, urgent), Bus(), late_s + turn * TURN_S) for turn in range(TURNS)]
    assert turns.count(Power(5)) == TURNS - 1


jobs = st.builds(
    Job,
    id=st.integers(0, 10_000),
    disk=st.integers(0, DISKS - 1),
    kind=st.sampled_from(Kind),
    at_s=st.floats(0, 2 * DAY_S),
    size=st.integers(0, 1 << 34),
)


@given(st.lists(jobs, max_size=40, unique_by=lambda job: job.id))
def test_every_job_is_done_whatever_comes_meanwhile_and_none_waits_much_beyond_its_bound(arriving: list[Job]) -> None:
    """The whole of a bus in virtual time, with the scheduler's own figures."""
    arriving = sorted(arriving, key=lambda job: job.at_s)
    waiting, bus, now_s = Backlog(), Bus(), 0.0
    work_s = sum(decide.rates.service_s(job.kind, 1, job.size) for job in arriving) + len(arriving) * decide.rates.switch_s
    for _ in range(20 * len(arriving) + 20):
        while arriving and arriving[0].at_s <= now_s:
            waiting.add(arriving.pop(0))
        action = decide(waiting, bus, now_s)
        if isinstance(action, Run):
            assert action.job.disk == bus.disk
            assert waiting.discard(action.job.id) == action.job
            assert now_s - action.job.at_s <= decide.terms[action.job.kind].bound_s + work_s + decide.idle_s
            now_s += decide.rates.service_s(action.job.kind, 1, action.job.size)
            bus = replace(bus, busy_s=now_s)
        elif isinstance(action, Power):
            assert action.disk != bus.disk
            now_s += decide.rates.switch_s
            bus = Bus(disk=action.disk, since_s=now_s, busy_s=now_s)
        elif isinstance(action, Off):
            bus = replace(bus, disk=None)
        else:
            next_s = min(action.until_s, arriving[0].at_s if arriving else inf)
            if next_s == inf:
                break
            assert next_s > now_s or arriving
            now_s = max(now_s, next_s)
    assert not len(waiting)
    assert not arriving
