"""A world of one seed: virtual time, a network that delays, loses, doubles and reorders, and nodes that crash, pause and part.

Every await of a simulated node goes through here, so that one seed repeats one schedule to the letter.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio
import trio._core._run as trio_run

from node.errors import FrazilError, PeerUnreachable

T = TypeVar("T")

CALL_S = 0.5
"""How long a caller waits for an answer."""


class _Draws:
    """Trio's source of chance, one for all loops of a process: this thread's loop draws from `mine`, loops of other threads as before."""

    def __init__(self, mine: random.Random, others: random.Random) -> None:
        self._mine, self._others, self._thread = mine, others, threading.get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mine if threading.get_ident() == self._thread else self._others, name)


class Calendar(trio.abc.Clock):
    """Virtual time: when no task can run, the next thing that is due happens at once. What is due without a task costs no task."""

    def __init__(self) -> None:
        self._now = 0.0
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, happen: Callable[[], object]) -> None:
        heapq.heappush(self._due, (self._now + seconds, next(self._numbers), happen))

    def end(self) -> None:
        """Nothing is due any more."""
        self._due.clear()

    def start_clock(self) -> None:
        return

    def current_time(self) -> float:
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Trio asks it when no task can run."""
        runnable = trio_run.GLOBAL_RUN_CONTEXT.runner.runq
        while not runnable and self._due and self._due[0][0] <= deadline:
            self._now, _, happen = heapq.heappop(self._due)
            happen()
        if not runnable and deadline == math.inf:
            return math.inf  # at the end trio waits for itself, which no clock knows
        if not runnable:
            self._now = max(self._now, deadline)
        return 0


def run(seed: int, main: Callable[[Calendar], Awaitable[T]]) -> T:
    """Runs main in virtual time; tasks that are ready run in an order that the seed decides, whatever other loops this process has."""
    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r  # type: ignore[attr-defined]
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[attr-defined]
    trio_run._r = _Draws(random.Random(seed), before[1])  # type: ignore[assignment]
    calendar = Calendar()
    try:
        return trio.run(main, calendar, clock=calendar)
    finally:
        trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r = before  # type: ignore[attr-defined]


@dataclass
class Machine:
    """Where a node's tasks run. `life` is the nursery of its current incarnation, None while it is down."""

    name: str
    life: trio.Nursery | None = None
    running: trio.Event | None = None  # set when it goes on; None = it runs

    async def gate(self) -> None:
        while self.running is not None:
            await self.running.wait()


@dataclass
class World:
    random: random.Random
    calendar: Calendar
    delay_s: float = 0.01
    loss: float = 0.0
    doubling: float = 0.0
    cut: set[tuple[str, str]] = field(default_factory=set)

    async def sleep(self, machine: Machine, longest_s: float) -> None:
        over = trio.Event()
        self.calendar.after(self.random.random() * longest_s, over.set)
        await over.wait()
        await machine.gate()

    async def call(self, source: Machine, target: Machine, function: Callable[..., Awaitable[T]], *args: Any, once: bool = False) -> T:
        """function(*args) at the target, as over a network; unless `once`, it may happen twice, the second time late.

        Raises: PeerUnreachable, and then it may happen, or happen later.
        """
        over = trio.Event()
        answers: list[tuple[Any, FrazilError | None]] = []

        async def handle() -> None:
            await target.gate()
            try:
                answer = await function(*args), None
            except FrazilError as error:
                answer = None, error
            self.calendar.after(self._delay(), lambda: arrive(answer))

        def arrive(answer: tuple[Any, FrazilError | None]) -> None:
            if not self._lost(target, source):
                answers.append(answer)
                over.set()

        def reach() -> None:
            if not self._lost(source, target) and target.life is not None:
                target.life.start_soon(handle)

        self.calendar.after(self._delay(), reach)
        if not once and self.random.random() < self.doubling:
            self.calendar.after(self.random.random() * 3 * CALL_S + self._delay(), reach)
        self.calendar.after(CALL_S, over.set)
        await over.wait()
        await source.gate()
        if not answers:
            raise PeerUnreachable(f"{target.name} does not answer {source.name}")
        result, failure = answers[0]
        if failure is not None:
            raise type(failure)(str(failure))
        return result

    def _delay(self) -> float:
        late = self.random.random() < 0.05
        return self.random.random() * self.delay_s * (30 if late else 1)

    def _lost(self, source: Machine, target: Machine) -> bool:
        return (source.name, target.name) in self.cut or self.random.random() < self.loss
