"""node.lane: what waits goes together, errors reach the caller they belong to, a relay goes on only when all of its jobs succeeded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import trio
import trio.testing

from node import lane as lanes
from node.errors import Busy
from node.lane import PENDING, Job, Lane, Relay
from node.threads import _Pool, run_blocking


async def test_lane_gathers_what_waits_into_one_batch() -> None:
    batches: list[list[int]] = []
    first_runs, go = threading.Event(), threading.Event()

    def work(batch: list[int]) -> list[int]:
        if not batches:
            first_runs.set()
            go.wait(5)
        batches.append(list(batch))
        return [number * 2 for number in batch]

    lane: Lane[int, int] = Lane(work, batch_max=8)
    results: dict[int, int] = {}

    async def one(number: int) -> None:
        results[number] = await lane.submit(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one, 0)
        await run_blocking(first_runs.wait, 5)
        for number in range(1, 12):
            nursery.start_soon(one, number)
        await trio.testing.wait_all_tasks_blocked()
        go.set()
    assert results == {number: number * 2 for number in range(12)}
    assert [len(batch) for batch in batches] == [1, 8, 3]


async def test_lane_gives_each_request_its_own_error() -> None:
    lane: Lane[int, int] = Lane(lambda batch: [ValueError(str(n)) if n % 2 else n for n in batch], batch_max=4)
    assert await lane.submit(2) == 2
    with pytest.raises(ValueError, match="3"):
        await lane.submit(3)


async def test_lane_batch_that_fails_fails_every_member_and_the_lane_goes_on() -> None:
    broken = True

    def work(batch: list[int]) -> list[int]:
        if broken:
            raise OSError("disk gone")
        return batch

    lane: Lane[int, int] = Lane(work, batch_max=4)
    with pytest.raises(OSError, match="disk gone"):
        await lane.submit(1)
    broken = False
    assert await lane.submit(1) == 1


class Gate:
    """Work that waits until it is let through, and tells which threads did it."""

    def __init__(self, *, open_: bool = True) -> None:
        self.batches: list[list[Any]] = []
        self.threads: list[int] = []
        self.begun = threading.Event()
        self.go = threading.Event()
        if open_:
            self.go.set()

    def __call__(self, batch: list[Any]) -> list[Any]:
        self.begun.set()
        assert self.go.wait(5)
        self.batches.append(list(batch))
        self.threads.append(threading.get_ident())
        return [request() if callable(request) else request for request in batch]


def relay_of(first: Sequence[tuple[Callable[..., Any], Any]], then: Callable[..., Any]) -> tuple[Relay, Lane[Any, Any]]:
    last: Lane[Any, Any] = Lane(then, batch_max=8)
    return Relay([Job(Lane(work, batch_max=8), request) for work, request in first], Job(last, "then")), last


async def test_a_relay_of_one_job_stays_in_its_thread() -> None:
    first, then = Gate(), Gate()
    relay, _ = relay_of([(first, 1)], then)
    await relay.run()
    assert (relay.results, relay.result) == ([1], "then")
    assert first.threads == then.threads


async def test_a_relay_goes_on_when_the_last_job_is_done() -> None:
    slow, quick, then = Gate(open_=False), Gate(), Gate()
    relay, _ = relay_of([(slow, 1), (quick, 2)], then)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        await run_blocking(quick.begun.wait, 5)
        await trio.testing.wait_all_tasks_blocked()
        assert not then.batches
        slow.go.set()
    assert (relay.results, relay.result) == ([1, 2], "then")
    assert then.threads == slow.threads


async def test_a_relay_ends_where_a_job_failed() -> None:
    def broken(batch: list[Any]) -> list[Any]:
        return [OSError("disk gone")] * len(batch)

    relay, _ = relay_of([(broken, 1), (Gate(), 2)], Gate())
    await relay.run()
    assert isinstance(relay.results[0], OSError)
    assert relay.results[1] == 2
    assert relay.result is PENDING


async def test_what_follows_a_relay_fails_by_itself() -> None:
    def refuses(batch: list[Any]) -> list[Any]:
        return [ValueError("refused")] * len(batch)

    relay, _ = relay_of([(Gate(), 1)], refuses)
    await relay.run()
    assert relay.results == [1]
    assert isinstance(relay.result, ValueError)


async def test_a_caller_that_left_is_followed_by_nothing() -> None:
    hung, then = Gate(open_=False), Gate()
    relay, _ = relay_of([(hung, 1), (Gate(), 2)], then)
    with trio.move_on_after(0.02) as scope:
        await relay.run()
    assert scope.cancelled_caught
    assert relay.results == [PENDING, 2]
    hung.go.set()
    await run_blocking(hung.begun.wait, 5)
    other: Relay = Relay([relay._jobs[0]], None)
    await other.run()  # behind it in the same lane
    assert relay.result is PENDING
    assert not then.batches


async def test_a_caller_waits_for_what_has_begun_to_follow() -> None:
    then = Gate(open_=False)
    relay, _ = relay_of([(Gate(), 1)], then)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        await run_blocking(then.begun.wait, 5)
        nursery.cancel_scope.cancel()
        then.go.set()
    assert relay.result == "then"


async def test_the_lane_that_a_relay_left_goes_on_meanwhile() -> None:
    first, then = Gate(open_=False), Gate(open_=False)
    begin: Lane[Any, Any] = Lane(first, batch_max=1)
    end: Lane[Any, Any] = Lane(then, batch_max=8)
    relays = [Relay([Job(begin, number)], Job(end, number)) for number in range(4)]
    async with trio.open_nursery() as nursery:
        for relay in relays:
            nursery.start_soon(relay.run)
        await trio.testing.wait_all_tasks_blocked()
        first.go.set()
        await begin.submit(4)  # behind them
        then.go.set()
    assert [relay.result for relay in relays] == [0, 1, 2, 3]
    assert [len(batch) for batch in then.batches] == [1, 3]


async def test_a_full_lane_refuses_before_anything_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LANE_QUEUE_MAX", 1)
    stuck = Gate(open_=False)
    full: Lane[Any, Any] = Lane(stuck, batch_max=1)
    first = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(full.submit, 1)
        await run_blocking(stuck.begun.wait, 5)
        nursery.start_soon(full.submit, 2)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Busy):
            await full.submit(3)
        with pytest.raises(Busy):
            await Relay([Job(Lane(first, batch_max=1), 1)], Job(full, 4)).run()
        stuck.go.set()
    assert not first.batches


async def test_a_lane_without_a_thread_refuses_what_waits_and_goes_on_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = _Pool()
    monkeypatch.setattr(lanes, "pool", pool)
    gate = Gate()
    lane: Lane[Any, Any] = Lane(gate, batch_max=8)
    with trio.fail_after(5):
        with no_more_threads():
            for number in range(2):
                with pytest.raises(Busy):
                    await lane.submit(number)
        assert repr(pool) == "<_Pool threads=0 free=0 waiting=0>"
        assert await lane.submit(2) == 2
    assert gate.batches == [[2]]


async def test_a_relay_whose_job_gets_no_thread_ends_and_is_followed_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "pool", _Pool())
    then = Gate()
    relay, _ = relay_of([(Gate(), 1), (Gate(), 2)], then)
    with trio.fail_after(5), no_more_threads(after=1):
        await relay.run()
    assert relay.results[0] == 1
    assert isinstance(relay.results[1], Busy)
    assert relay.result is PENDING
    assert not then.batches


@contextmanager
def no_more_threads(after: int = 0) -> Iterator[None]:
    """A system that starts so many threads and no more."""
    start, left = threading.Thread.start, [None] * after

    def limited(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", limited)
        yield
