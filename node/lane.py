"""Requests that gather while a batch is being worked on and go together in the next; jobs that go from lane to lane past the event loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import trio

from node.errors import Busy
from node.threads import Wait, pool

T = TypeVar("T")
R = TypeVar("R")

LANE_QUEUE_MAX = 10_000
"""Requests that may wait in one lane before new ones are refused with Busy."""
PENDING = object()
"""In place of a result that is not there."""


class Lane(Generic[T, R]):
    """Group commit: what comes while a batch is being worked on goes together in the next.

    `work` runs in a thread with one to `batch_max` requests, in order of arrival, and returns one result or exception for each.
    One batch is in flight at a time, so `work` needs no lock against itself, and a lane never holds more than one thread.
    """

    def __init__(self, work: Callable[[list[T]], Sequence[R | BaseException]], *, batch_max: int) -> None:
        self._work = work
        self._batch_max = batch_max
        self._waiting: deque[tuple[T, Wait | _Leg]] = deque()
        self._busy = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Lane waiting={len(self._waiting)} busy={self._busy}>"

    async def submit(self, request: T, *, abandon: bool = False) -> R:
        """Raises: Busy when LANE_QUEUE_MAX requests wait already, or the system gives no thread; the request's own exception.

        A cancelled caller still waits; with `abandon` it leaves at once, and the request is worked on or not without it.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self.admit()
        wait = Wait()
        if self.extend([(request, wait)]):
            self.start()
        return await wait.wait(abandon=abandon)  # type: ignore[no-any-return]

    def admit(self) -> None:
        """Raises: Busy."""
        if len(self._waiting) >= LANE_QUEUE_MAX:
            raise Busy(f"{LANE_QUEUE_MAX} requests wait for one disk or database already")

    def extend(self, requests: Iterable[tuple[T, Wait | _Leg]]) -> bool:
        """Adds to what waits. True when nobody works on it yet: then the caller calls `start`, or `run` in a thread."""
        with self._lock:
            self._waiting.extend(requests)
            idle, self._busy = not self._busy, True
        return idle

    def start(self) -> None:
        """Has what waits worked off in another thread. When the system gives none, it fails with Busy, and the next request tries again."""
        try:
            pool.submit_at_once(self.run)
        except Busy as error:
            with self._lock:
                tickets = [ticket for _, ticket in self._waiting]
                self._waiting.clear()
                self._busy = False
            _deliver([(ticket, error) for ticket in tickets])  # nothing follows what failed

    def run(self) -> None:
        """Works off what waits, in a thread of the caller's."""
        while batch := self._next():
            try:
                results = self._work([request for request, _ in batch])
                assert len(results) == len(batch)
            except BaseException as error:  # noqa: BLE001 - a failed batch fails each of its requests
                results = [error] * len(batch)
            onward = _deliver([(ticket, result) for (_, ticket), result in zip(batch, results, strict=True)])
            idle = _begin(onward) if onward else []
            if idle:
                self._hand_over()
                for lane in idle[1:]:
                    lane.start()
                idle[0].run()
                return

    def _next(self) -> list[tuple[T, Wait | _Leg]]:
        """Empty: this thread is not the lane's any more."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), self._batch_max))]
            self._busy = bool(batch)
        return batch

    def _hand_over(self) -> None:
        """This thread goes on with another lane; what waits here gets a new one."""
        with self._lock:
            self._busy = bool(self._waiting)
            busy = self._busy
        if busy:
            self.start()


class Job(NamedTuple):
    """A request and the lane that does it."""

    lane: Lane[Any, Any]
    request: Any


class Relay:
    """Jobs side by side and, when all of them succeeded, one more: the thread that finishes last takes it to its lane, and works there if
    that lane is idle. A hop to the event loop and one back to a thread are saved.

    Theory of operation. The last job to finish decides under the lock: all succeeded and the caller is still there: `then` begins, and the
    caller waits for its end, whatever happens. Otherwise the caller is told, or has left; `then` is never begun after that.

    results   value or exception in each job's place, PENDING until it is there
    result    the same for `then`; PENDING when it was not begun
    """

    __slots__ = ("_jobs", "_left", "_lock", "_missing", "_then", "_wait", "result", "results")

    def __init__(self, jobs: Sequence[Job], then: Job | None) -> None:
        self.results: list[Any] = [PENDING] * len(jobs)
        self.result: Any = PENDING
        self._jobs = jobs
        self._then = then
        self._missing = len(jobs)
        self._left = False
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Relay missing={self._missing} then={self._then is not None} left={self._left}>"

    async def run(self) -> None:
        """Once. A cancelled caller leaves at once, unless `then` has begun. Raises: Busy, and nothing was begun."""
        assert self._jobs
        await trio.lowlevel.checkpoint_if_cancelled()
        for lane in {job.lane for job in self._jobs}:
            lane.admit()
        if self._then is not None:
            self._then.lane.admit()
        self._wait = Wait()
        for lane in _begin([(job, _Leg(self, index)) for index, job in enumerate(self._jobs)]):
            lane.start()
        await self._wait.wait(abandon=True, may_leave=self._leave)

    def _leave(self) -> bool:
        with self._lock:
            begun = self._missing == 0
            self._left = not begun
        return not begun

    def arrived(self, place: int | None, result: Any) -> Job | Wait | None:
        """A job's result, in a lane's thread; place None: that of `then`. What is next: a job, to wake the caller, or nothing yet."""
        if place is None:
            self.result = result
            return self._wait
        with self._lock:
            self.results[place] = result
            self._missing -= 1
            if self._missing or self._left:
                return None
        if self._then is None or any(isinstance(each, BaseException) for each in self.results):
            return self._wait
        return self._then


class _Leg(NamedTuple):
    """What waits for a lane's result on a relay's behalf."""

    relay: Relay
    place: int | None


def _begin(jobs: Iterable[tuple[Job, _Leg]]) -> list[Lane[Any, Any]]:
    """Puts jobs into their lanes, those of one lane at once; the lanes that now need a thread."""
    by_lane: dict[Lane[Any, Any], list[tuple[Any, Wait | _Leg]]] = {}
    for job, leg in jobs:
        by_lane.setdefault(job.lane, []).append((job.request, leg))
    return [lane for lane, requests in by_lane.items() if lane.extend(requests)]


def _deliver(outcomes: Iterable[tuple[Wait | _Leg, Any]]) -> list[tuple[Job, _Leg]]:
    """Wakes the event loop once for all that are done; the jobs that follow on others."""
    done: list[tuple[Wait, Any]] = []
    onward: list[tuple[Job, _Leg]] = []
    for ticket, result in outcomes:
        if isinstance(ticket, Wait):
            done.append((ticket, result))
            continue
        following = ticket.relay.arrived(ticket.place, result)
        if isinstance(following, Wait):
            done.append((following, None))
        elif following is not None:
            onward.append((following, _Leg(ticket.relay, None)))
    if done:
        _wake(done)
    return onward


def _wake(done: list[tuple[Wait, Any]]) -> None:
    def all_at_once() -> None:
        for wait, result in done:
            if isinstance(result, BaseException):
                wait.finish(None, result)
            else:
                wait.finish(result, None)

    try:
        done[0][0].token.run_sync_soon(all_at_once)
    except trio.RunFinishedError:  # the loop ended while the batch ran
        return
