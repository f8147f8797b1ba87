"""Reads that don't wait for the slowest source: how long one usually takes, and further sources for those that take longer.

Source: Dean, Barroso: The Tail at Scale (2013), "Hedged requests".
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import trio

SAMPLES = 128
"""Reads that are remembered."""
SAMPLES_STEP = 16
"""The delay is worked out anew after so many."""
SHARE = 0.95
"""Of the reads are answered within the time that the delay is derived from."""
DELAY_FACTOR = 1.5
DELAY_S = (0.02, 0.5)
"""The least and the longest delay; half of what makes a read a failed one (store/get.py)."""
DELAY_FIRST_S = 0.25
"""While little is known."""
LAGS_MAX = 3
"""So many lost races on end, and a volume is asked after all others for a while."""

Attempt = Callable[[], Awaitable[bool]]
"""True when it got what it was for."""


class Pace:
    """How long reads take for each unit, and after which time one is late."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=SAMPLES)
        self._new = 0
        self.delay_s = DELAY_FIRST_S

    def __repr__(self) -> str:
        return f"<Pace delay_s={self.delay_s:.3f} samples={len(self._recent)}>"

    def observe(self, seconds: float) -> None:
        self._recent.append(seconds)
        self._new += 1
        if self._new >= SAMPLES_STEP:
            self._new = 0
            usual = sorted(self._recent)[int(len(self._recent) * SHARE)]
            least, longest = DELAY_S
            self.delay_s = max(least, min(longest, usual * DELAY_FACTOR))

    def delay_of(self, units: int) -> float:
        """Of a read of so many units: one of MiB is not late because many small ones were quick."""
        return min(self.delay_s * units, DELAY_S[1])


class Race:
    """Attempts of which some must succeed. The first ones are made side by side; when they have not done it after the delay, they are not
    counted on any more, and further ones are begun, as for each that fails; and so on. What is under way when it is enough is cancelled.

    enough(done)          whether these, by their places in the sequence, do
    further(done, hoped)  how many more are to be begun when those done and these under way are not enough
    """

    def __init__(
        self, attempts: Sequence[Attempt], *, enough: Callable[[set[int]], bool], further: Callable[[set[int], set[int]], int]
    ) -> None:
        self._attempts = attempts
        self._enough = enough
        self._further = further
        self._begun = 0
        self._running: set[int] = set()
        self._hoped: set[int] = set()
        self._changed = trio.Event()
        self._bug: Exception | None = None
        self.done: set[int] = set()
        self.late: set[int] = set()
        """Those that were not counted on any more, and had not answered, when it was enough; not who was asked instead just now."""

    @classmethod
    def for_one(cls, attempts: Sequence[Attempt]) -> Race:
        """Of which one must succeed: begun one after the other, `run` with 1 at once."""
        return cls(attempts, enough=bool, further=lambda _, hoped: 1 - len(hoped))

    def __repr__(self) -> str:
        return f"<Race done={sorted(self.done)} running={sorted(self._running)} of={len(self._attempts)}>"

    async def run(self, at_once: int, delay_s: float) -> set[int]:
        """The places of those that succeeded, enough or not. Raises: what an attempt raises."""
        late_at = trio.current_time() + delay_s
        async with trio.open_nursery() as nursery:
            self._begin(nursery, at_once)
            while self._bug is None and not self._enough(self.done):
                self._begin(nursery, self._further(self.done, self._hoped))
                if not self._running:
                    break
                with trio.CancelScope(deadline=late_at) as scope:
                    await self._changed.wait()
                if scope.cancelled_caught:
                    self._hoped.clear()
                    late_at = trio.current_time() + delay_s if self._begun < len(self._attempts) else math.inf
            self.late = self._running - self._hoped
            nursery.cancel_scope.cancel()
        if self._bug is not None:
            raise self._bug
        return self.done

    def _begin(self, nursery: trio.Nursery, count: int) -> None:
        for place in range(self._begun, min(self._begun + count, len(self._attempts))):
            self._running.add(place)
            self._hoped.add(place)
            nursery.start_soon(self._make, place)
            self._begun = place + 1

    async def _make(self, place: int) -> None:
        try:
            if await self._attempts[place]():
                self.done.add(place)
        except Exception as error:  # noqa: BLE001 - raised by `run`, outside the nursery, so that no group wraps it
            self._bug = error
        self._running.discard(place)
        self._hoped.discard(place)
        changed, self._changed = self._changed, trio.Event()
        changed.set()
