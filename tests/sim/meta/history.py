"""What the clients saw, and whether one register per key can have behaved so. Values are unique, so a read names its write.

Source: Herlihy, Wing: Linearizability (1990); search with memory after Wing, Gong: Testing and Verifying Concurrent Objects (1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Operation:
    """A put or a get of one key. end is inf for a put of which nobody knows whether it happened; such gets are not noted."""

    kind: str
    value: str | None
    begin: float
    end: float


def linearizable(history: Sequence[Operation]) -> bool:
    """Whether the operations have an order that keeps real time and reads what was written last (None before the first write)."""
    read = {operation.value for operation in history if operation.kind == "get"}
    # A put that may not have happened and that nobody read explains nothing; each that is kept doubles the search.
    wanted = [operation for operation in history if operation.end < inf or operation.value in read]
    operations = sorted(wanted, key=lambda operation: operation.begin)
    everything = (1 << len(operations)) - 1
    unsure = sum(1 << at for at, operation in enumerate(operations) if operation.end == inf)
    seen: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, str | None]] = [(0, None)]
    while stack:
        done, value = stack.pop()
        if done | unsure == everything:
            return True
        if (done, value) in seen:
            continue
        seen.add((done, value))
        barrier = min((operation.end for at, operation in enumerate(operations) if not done >> at & 1), default=inf)
        for at, operation in enumerate(operations):
            if done >> at & 1:
                continue
            if operation.begin > barrier:
                break
            if operation.kind == "put":
                stack.append((done | 1 << at, operation.value))
            elif operation.value == value:
                stack.append((done | 1 << at, value))
    return False
