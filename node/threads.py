"""Blocking file and database work, off the event loop. The only module that starts threads for it.

A hop to a thread and back costs about 150 us here (240 us through trio.to_thread, measured on 2 cores), so a hop must carry much:
`node.lane.Lane` carries everything that waits in one call, `gang` carries the writes of all chunks of a stripe.
"""

from __future__ import annotations

import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import trio

from node.errors import Busy, DeadlineExceeded

T = TypeVar("T")

THREADS_MAX = 64
"""Threads for short jobs; a job that hangs on a dead disk keeps one until the kernel lets go. A lane's thread comes on top."""
THREAD_WAIT_S = 10.0
"""How long a job waits for a thread before its caller is told to come again."""
IDLE_THREAD_S = 30.0
TURN_S = 1.0


class _Pool:
    """Plain threads that take jobs from one queue; grown when none is idle, shrunk after IDLE_THREAD_S.

    Every job in the queue has a thread that was promised to it, so none waits behind a disk that hangs. Who finds all THREADS_MAX taken
    waits in its event loop, in order of asking, before its job is in the queue: so a job whose caller gave up is never begun.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._free = 0
        self._waiting: deque[Wait] = deque()

    def __repr__(self) -> str:
        return f"<_Pool threads={self._threads} free={self._free} waiting={len(self._waiting)}>"

    async def submit(self, job: Callable[[], None]) -> None:
        """Raises: Busy when no thread came free within THREAD_WAIT_S, or the system gives none."""
        if not self._take(THREADS_MAX):
            await self._wait_for_thread()
        self._jobs.put(job)

    def submit_at_once(self, job: Callable[[], None]) -> None:
        """For jobs of which there are few: beyond THREADS_MAX, if it must be. Raises: Busy when the system gives no thread."""
        self._take(sys.maxsize)
        self._jobs.put(job)

    def _take(self, threads_max: int) -> bool:
        """Promises a thread to the caller, which then must put a job."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return True
            if self._threads >= threads_max:
                return False
            self._start()
            return True

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="frazil-blocking", daemon=True).start()
        except RuntimeError as error:
            raise Busy(f"no thread beside {self._threads}: raise the limit of processes or memory ({error})") from error
        self._threads += 1

    async def _wait_for_thread(self) -> None:
        wait = Wait()
        with self._lock:
            self._waiting.append(wait)
            if self._free > 0:  # one came free since we looked
                self._give_back()
        promised = False
        try:
            with trio.move_on_after(THREAD_WAIT_S):
                await wait.wait(abandon=True)
                promised = True
        finally:
            if not promised:
                self._leave(wait)
        if not promised:
            raise Busy(f"all {THREADS_MAX} threads were held by disk or database calls for {THREAD_WAIT_S:g} s")

    def _leave(self, wait: Wait) -> None:
        with self._lock:
            if wait in self._waiting:
                self._waiting.remove(wait)
                return
        self._jobs.put(_nothing)  # the promise came as we left: its thread goes on to the next

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_THREAD_S)
            except queue.Empty:
                with self._lock:
                    if self._free == 0:  # a job was promised to this thread between the time-out and the lock
                        continue
                    self._free -= 1
                    self._threads -= 1
                return
            job()
            with self._lock:
                self._free += 1
                if self._waiting:
                    self._give_back()

    def _give_back(self) -> None:
        """Promises a free thread to whoever waits longest. Called with the lock held."""
        while self._waiting:
            if self._waiting.popleft().finish_soon(None, None):
                self._free -= 1
                return


def _nothing() -> None:
    return


pool = _Pool()


class Wait:
    """One task that sleeps until a thread is done with its job; a cancelled wait abandons the result, never the job."""

    __slots__ = ("_done", "_error", "_result", "_task", "token")

    def __init__(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self._task: trio.lowlevel.Task | None = None
        self._done = False
        self._result: Any = None
        self._error: BaseException | None = None

    def finish(self, result: Any, error: BaseException | None) -> None:
        """Called in the event loop's thread."""
        self._done, self._result, self._error = True, result, error
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def finish_soon(self, result: Any, error: BaseException | None) -> bool:
        """Called in the worker's thread. False when the loop has ended: nobody waits any more."""
        try:
            self.token.run_sync_soon(self.finish, result, error)
        except trio.RunFinishedError:
            return False
        return True

    async def wait(self, *, abandon: bool, may_leave: Callable[[], bool] | None = None) -> Any:
        """may_leave: asked when a caller that abandons is cancelled; it can still forbid it."""
        if not self._done:
            self._task = trio.lowlevel.current_task()

            def aborted(_raise_cancel: Any) -> trio.lowlevel.Abort:
                if not abandon or (may_leave is not None and not may_leave()):
                    return trio.lowlevel.Abort.FAILED
                self._task = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(aborted)
        if self._error is not None:
            raise self._error
        return self._result


def was_held_up(bound: trio.CancelScope) -> bool:
    """Whether a bound on waiting that ended did so late: this process had no turn (SIGSTOP, a paused machine, one that is far too busy), so
    nothing is said about what it waited for."""
    return trio.current_time() - bound.deadline > TURN_S


async def run_blocking(function: Callable[..., T], *args: Any, abandon: bool = False) -> T:
    """Runs function(*args) in a thread. With `abandon` a cancelled caller leaves at once and the thread finishes alone;
    without it the caller waits, so that buffers it lent stay valid.

    Raises: Busy when all threads are held for THREAD_WAIT_S, or the system gives none; whatever the function raises.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    wait = Wait()

    def job() -> None:
        try:
            result = function(*args)
        except BaseException as error:  # noqa: BLE001 - carried to the waiter, raised there
            wait.finish_soon(None, error)
        else:
            wait.finish_soon(result, None)

    await pool.submit(job)
    return await wait.wait(abandon=abandon)  # type: ignore[no-any-return]


async def gang(jobs: Sequence[Callable[[], T]], *, stall_s: float) -> list[T | BaseException]:
    """Runs all jobs one after the other in one thread and returns their results or exceptions in order.

    When one job holds the thread longer than `stall_s`, its place gets DeadlineExceeded and the rest goes on in another thread;
    so a hung disk costs one wait, not the stripe. The hung job's buffers must stay untouched: give jobs that may be abandoned their own.
    """
    results: list[T | BaseException] = [DeadlineExceeded("not begun")] * len(jobs)
    begin = 0
    while begin < len(jobs):
        cursor = _Cursor(begin)

        def work(cursor: _Cursor = cursor) -> None:
            while cursor.at < len(jobs) and not cursor.abandoned:
                here = cursor.at
                try:
                    outcome: T | BaseException = jobs[here]()
                except BaseException as error:  # noqa: BLE001 - carried to the caller in the job's place
                    outcome = error
                if cursor.abandoned:
                    return
                results[here] = outcome
                cursor.at = here + 1

        wait = Wait()

        def job(work: Callable[[], None] = work, wait: Wait = wait) -> None:
            work()
            wait.finish_soon(None, None)

        await pool.submit(job)
        while True:
            seen = cursor.at
            with trio.move_on_after(stall_s) as bound:
                await wait.wait(abandon=True)
                return results
            if cursor.at == seen and seen < len(jobs) and not was_held_up(bound):
                cursor.abandoned = True
                results[seen] = DeadlineExceeded(f"no answer from the disk within {stall_s:g} s")
                begin = seen + 1
                break
    return results


class _Cursor:
    __slots__ = ("abandoned", "at")

    def __init__(self, at: int) -> None:
        self.at = at
        self.abandoned = False
