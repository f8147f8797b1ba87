"""Reads ahead of a program that reads a file in order, and keeps the last units for one that reads little at a time.

The store verifies whole units, so a read of 4 KiB costs as much as one of 256: what was loaded is kept while it may be asked again.
A file that is read in order and little by little (the kernel asks for 128 KiB, unless it may read further ahead itself) has up to
WINDOW_UNITS_MAX units loaded before they are asked for; the window doubles with each load that followed the pattern and falls to nothing
with the first that did not.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import trio

UNIT_BYTES = 256 << 10
KEPT_UNITS = 4
"""Units of a file that stay when they are not ahead of it."""
WINDOW_UNITS_MAX = 16
READ_BYTES_MAX = 64 << 20
"""All files together: beyond it nothing is read ahead and each keeps one unit."""

Load = Callable[[int, memoryview], Awaitable[None]]
"""Fills a buffer with the bytes from a place on."""


class Budget:
    """Bytes of units that all files of a mount keep."""

    def __init__(self, bytes_max: int = READ_BYTES_MAX) -> None:
        self.bytes_max = bytes_max
        self.used = 0

    def __repr__(self) -> str:
        return f"<Budget {self.used} of {self.bytes_max}>"

    @property
    def spent(self) -> bool:
        return self.used >= self.bytes_max


def _runs(numbers: list[int]) -> list[range]:
    """Ascending numbers as ranges without gaps."""
    runs: list[range] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return runs


class _Unit:
    __slots__ = ("data", "error", "ready")

    def __init__(self) -> None:
        self.data = memoryview(b"")
        self.error: Exception | None = None
        self.ready = trio.Event()


class ReadAhead:
    """Of one version of one object. nursery: where loads ahead run."""

    def __init__(self, load: Load, size: int, budget: Budget, nursery: trio.Nursery) -> None:
        self.size = size
        self._load, self._budget, self._nursery = load, budget, nursery
        self._units: OrderedDict[int, _Unit] = OrderedDict()
        self._next = 0  # where a read goes on if it follows the last
        self._window = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<ReadAhead units={len(self._units)} window={self._window}>"

    async def read(self, start: int, stop: int) -> memoryview:
        """The bytes [start, stop), which must lie within the object. Raises: what the load raises."""
        if stop - start > UNIT_BYTES:
            return await self._read_through(start, stop)
        follows = start == self._next
        self._next = stop
        first, last = start // UNIT_BYTES, -(-stop // UNIT_BYTES)
        missing = [number for number in range(first, last) if number not in self._units]
        if not follows:
            self._window = 0
        if missing:
            if follows and start:
                self._window = max(self._window, 1)
            for run in _runs(missing):
                await self._fetch(run.start, run.stop)
        self._look_ahead(last)
        return await self._take(first, last, start, stop)

    async def _read_through(self, start: int, stop: int) -> memoryview:
        """Of more than a unit, for which the kernel reads ahead by itself: straight into the answer."""
        self._next, self._window = stop, 0
        data = memoryview(bytearray(stop - start))
        await self._load(start, data)
        return data

    def close(self) -> None:
        """What is still to be loaded is not: who waits for it hears of it."""
        self._closed = True
        self._budget.used -= sum(len(unit.data) for unit in self._units.values())
        self._units.clear()

    async def _take(self, first: int, last: int, start: int, stop: int) -> memoryview:
        pieces = []
        for number in range(first, last):
            unit = self._units.get(number)
            if unit is None:
                await self._fetch(number, number + 1)
                unit = self._units[number]
            if not unit.ready.is_set():  # else it is not worth giving way
                await unit.ready.wait()
            if unit.error is not None:
                self._units.pop(number, None)
                raise unit.error
            base = number * UNIT_BYTES
            pieces.append(unit.data[max(start - base, 0) : stop - base])
        self._trim(last)
        return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))

    def _look_ahead(self, last: int) -> None:
        """Begins to load the window's units, half a window at a time."""
        if not self._window or self._budget.spent:
            return
        end = min(last + self._window, -(-self.size // UNIT_BYTES))
        missing = [number for number in range(last, end) if number not in self._units]
        if missing and len(missing) * 2 >= self._window:
            for run in _runs(missing):
                self._nursery.start_soon(self._fill, run.start, self._reserve(run.start, run.stop))
            self._window = min(self._window * 2, WINDOW_UNITS_MAX)

    async def _fetch(self, first: int, last: int) -> None:
        missing = [number for number in range(first, last) if number not in self._units]
        for run in _runs(missing):
            await self._fill(run.start, self._reserve(run.start, run.stop))

    def _reserve(self, first: int, last: int) -> list[_Unit]:
        """Units that are missing, now on their way."""
        units = [_Unit() for _ in range(first, last)]
        self._units.update(zip(range(first, last), units, strict=True))
        return units

    async def _fill(self, first: int, units: list[_Unit]) -> None:
        """Loads reserved units. What goes wrong is told to who asks for them."""
        last = first + len(units)
        start, stop = first * UNIT_BYTES, min(last * UNIT_BYTES, self.size)
        data = memoryview(bytearray(stop - start))
        error: Exception | None = None
        try:
            if self._closed:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            await self._load(start, data)
        except Exception as failed:  # noqa: BLE001 - raised to each who waits for these units
            error = failed
        for place, unit in enumerate(units):
            unit.error = error
            if error is None:
                unit.data = data[place * UNIT_BYTES : (place + 1) * UNIT_BYTES]
                if self._units.get(first + place) is unit and not self._closed:
                    self._budget.used += len(unit.data)
            unit.ready.set()

    def _trim(self, last: int) -> None:
        """Lets go of the oldest units that are not ahead."""
        if self._closed:
            return
        keep = 1 if self._budget.spent else KEPT_UNITS
        behind = [number for number, unit in self._units.items() if number < last and unit.ready.is_set()]
        for number in behind[: max(len(behind) - keep, 0)]:
            self._budget.used -= len(self._units.pop(number).data)
        if not behind and len(self._units) > WINDOW_UNITS_MAX * 2:
            for number in [number for number, unit in self._units.items() if unit.ready.is_set()][:-WINDOW_UNITS_MAX]:
                self._budget.used -= len(self._units.pop(number).data)
