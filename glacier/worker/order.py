"""What an operator asks of a disk: power, a check of its file system. The engine does it between two jobs, so it never meets one."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import trio

from glacier.worker.protocol import Verb
from node.errors import Busy, FrazilError

ANSWER_S = 5.0
"""So long an answer waits for the outcome; a disk takes longer to come up, and a check hours."""
ORDERS_MAX = 16


@dataclass(slots=True, eq=False)
class Order:
    """outcome: in words, or why it was refused; None while it is under way. late: whoever asked waits no more."""

    disk: int
    verb: Verb
    late: bool = False
    outcome: str | FrazilError | None = None
    over: trio.Event = field(default_factory=trio.Event)

    def end(self, outcome: str | FrazilError) -> None:
        self.outcome = outcome
        self.over.set()


class Orders:
    """Those that wait, in the order of asking."""

    def __init__(self) -> None:
        self._waiting: deque[Order] = deque()
        self._taken: Order | None = None

    def __repr__(self) -> str:
        return f"<Orders waiting={len(self._waiting)}>"

    def add(self, disk: int, verb: Verb) -> Order:
        """Whoever asks for what the disk is told last anyway waits for the same: a check takes hours. Raises: Busy."""
        open_ones = [*([self._taken] if self._taken is not None and self._taken.outcome is None else []), *self._waiting]
        last = next((each for each in reversed(open_ones) if each.disk == disk), None)
        if last is not None and last.verb is verb:
            return last
        if len(self._waiting) >= ORDERS_MAX:
            raise Busy(f"{ORDERS_MAX} orders wait already")
        order = Order(disk, verb)
        self._waiting.append(order)
        return order

    def take(self) -> Order | None:
        self._taken = self._waiting.popleft() if self._waiting else None
        return self._taken


async def answer(order: Order) -> str:
    """What came of it, or that it is under way. Raises: what it was refused with."""
    with trio.move_on_after(ANSWER_S):
        await order.over.wait()
    if isinstance(order.outcome, FrazilError):
        raise order.outcome
    order.late = order.outcome is None
    return order.outcome or f"{order.verb.words} of disk {order.disk} is under way; what the disk is told to do shows how it goes"
