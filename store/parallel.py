"""Calls side by side whose errors come out plain, not wrapped in exception groups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import trio

from node.errors import FrazilError

T = TypeVar("T")


async def gather(calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T | FrazilError]:
    """Results in order; a FrazilError takes its call's place. Anything else is a bug or a cancellation and propagates."""
    if len(calls) == 1:  # a nursery costs 50 us
        return [await _outcome(calls[0])]
    results: list[Any] = [None] * len(calls)

    async def run(index: int, call: Callable[[], Awaitable[T]]) -> None:
        results[index] = await _outcome(call)

    async with trio.open_nursery() as nursery:
        for index, call in enumerate(calls):
            nursery.start_soon(run, index, call)
    return results


async def stream(calls: Iterable[Callable[[], Awaitable[T]]], at_once: int) -> list[T]:
    """The results, in order; so many calls are under way as long as there are more. After the first that fails none is begun.

    Raises: the first FrazilError, once those under way have ended.
    """
    waiting = enumerate(calls)
    results: dict[int, T] = {}
    failures: list[FrazilError] = []

    async def work() -> None:
        for index, call in waiting:
            outcome = await _outcome(call)
            if isinstance(outcome, FrazilError):
                failures.append(outcome)
            else:
                results[index] = outcome
            if failures:
                return

    async with trio.open_nursery() as nursery:
        for _ in range(at_once):
            nursery.start_soon(work)
    if failures:
        raise failures[0]
    return [results[index] for index in sorted(results)]


async def _outcome(call: Callable[[], Awaitable[T]]) -> T | FrazilError:
    try:
        return await call()
    except FrazilError as error:
        return error


class Errand(Generic[T]):
    """One call on its way in a nursery; what came of it, an error of whatever kind too, waits for whoever asks."""

    __slots__ = ("_done", "_error", "_outcome")

    def __init__(self, nursery: trio.Nursery, call: Callable[..., Awaitable[T]], *args: Any) -> None:
        self._done = trio.Event()
        self._error: Exception | None = None
        self._outcome: T
        nursery.start_soon(self._run, partial(call, *args))

    async def _run(self, call: Callable[[], Awaitable[T]]) -> None:
        try:
            self._outcome = await call()
        except Exception as error:  # noqa: BLE001 - raised by `result`, so that no group wraps it
            self._error = error
        self._done.set()

    async def result(self) -> T:
        """Ask from within the errand's own nursery: when that is cancelled, so are both."""
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._outcome


@asynccontextmanager
async def crew() -> AsyncIterator[trio.Nursery]:
    """A nursery for errands: what the body raises cancels the others and comes out as it is."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except Exception as error:  # noqa: BLE001 - raised again below, outside the nursery, so that no group wraps it
            failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
