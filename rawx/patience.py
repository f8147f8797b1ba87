"""How long calls to several volumes may take when only some of them must succeed."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from node.errors import DeadlineExceeded

T = TypeVar("T")
LIMIT_S = 12.0
"""For each call, while it is needed: a disk gives its answer or its error within less."""
PATIENCE_S = 2.0
"""For those that are late when enough have succeeded: the caller's client waits for them."""


class Patience:
    """Bounds calls side by side: once `least` have succeeded, the others have only PATIENCE_S more."""

    def __init__(self, least: int, *, limit_s: float = LIMIT_S, patience_s: float = PATIENCE_S) -> None:
        self._least = least
        self._limit_s = limit_s
        self._patience_s = patience_s
        self._succeeded = 0
        self._ends_at = math.inf
        self._scopes: set[trio.CancelScope] = set()

    def __repr__(self) -> str:
        return f"<Patience succeeded={self._succeeded}/{self._least} waiting={len(self._scopes)}>"

    def succeed(self, number: int = 1) -> None:
        """So many calls that nobody bounds here have succeeded."""
        self._succeeded += number
        if self._succeeded >= self._least and self._ends_at == math.inf:
            self._ends_at = trio.current_time() + self._patience_s
            for scope in self._scopes:
                scope.deadline = min(scope.deadline, self._ends_at)

    async def bound(self, call: Callable[[], Awaitable[T]]) -> T:
        """Raises: DeadlineExceeded when it is given up, after which it may have happened or not; what the call raises."""
        with trio.CancelScope(deadline=min(trio.current_time() + self._limit_s, self._ends_at)) as scope:
            self._scopes.add(scope)
            try:
                result = await call()
                self.succeed()
                return result
            finally:
                self._scopes.discard(scope)
        raise DeadlineExceeded("no answer in time; the others did not wait for it")
