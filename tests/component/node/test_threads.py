"""node.threads: one hop carries many, a hung job holds nobody else, errors reach the caller they belong to."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from node import threads
from node.errors import Busy, DeadlineExceeded
from node.lane import Lane
from node.threads import THREADS_MAX, gang, run_blocking


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
