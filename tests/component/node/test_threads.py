"""node.threads: one hop carries many, a hung job holds nobody else, errors reach the caller they belong to."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from node import threads
from node.errors import Busy, DeadlineExceeded
from node.threads import THREADS_MAX, Lane, gang, run_blocking


async def test_run_blocking_returns_result_and_raises_error() -> None:
    assert await run_blocking(lambda a, b: a + b, 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        await run_blocking(lambda: 1 // 0)


async def test_cancelled_caller_leaves_at_once_only_when_it_abandons() -> None:
    release = threading.Event()
    with trio.move_on_after(0.02) as scope:
        await run_blocking(release.wait, 5, abandon=True)
    assert scope.cancelled_caught
    release.set()
    with trio.CancelScope() as shielded:
        shielded.cancel()
        with pytest.raises(trio.Cancelled):
            await run_blocking(int)
    assert await run_blocking(int) == 0


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


async def test_gang_keeps_order_and_carries_errors() -> None:
    results = await gang([lambda: 1, lambda: 1 // 0, lambda: 3], stall_s=5)
    assert results[0] == 1
    assert isinstance(results[1], ZeroDivisionError)
    assert results[2] == 3


async def test_gang_goes_on_without_a_job_that_hangs() -> None:
    release = threading.Event()
    try:
        results = await gang([lambda: 1, lambda: release.wait(10), lambda: 3, lambda: 4], stall_s=0.05)
    finally:
        release.set()
    assert isinstance(results[1], DeadlineExceeded)
    assert [results[0], results[2], results[3]] == [1, 3, 4]


async def test_jobs_beyond_the_threads_wait_their_turn() -> None:
    together, go, ran = THREADS_MAX + 20, threading.Event(), []

    def work(number: int) -> None:
        go.wait(5)
        ran.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(together):
            nursery.start_soon(run_blocking, work, number)
        await trio.testing.wait_all_tasks_blocked()
        go.set()
    assert sorted(ran) == list(range(together))


async def test_busy_is_raised_when_no_thread_comes_free_and_the_job_is_never_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "THREAD_WAIT_S", 0.02)
    lane: Lane[int, int] = Lane(lambda batch: batch, batch_max=1)
    go = threading.Event()
    begun: list[int] = []
    async with trio.open_nursery() as nursery:
        for _ in range(THREADS_MAX):
            nursery.start_soon(run_blocking, go.wait, 5)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Busy):
            await run_blocking(begun.append, 1)
        with trio.move_on_after(0) as gone:
            await run_blocking(begun.append, 2)
        assert gone.cancelled_caught
        assert await lane.submit(3) == 3  # has a thread of its own
        go.set()
    await run_blocking(begun.append, 4)
    assert begun == [4]
