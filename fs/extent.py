"""Sets of byte ranges: which bytes of a file were written and not yet stored. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Extents:
    """Ranges [start, stop), in order, apart from each other."""

    __slots__ = ("_starts", "_stops")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __repr__(self) -> str:
        return f"<Extents {list(self)}>"

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._stops, strict=True)))

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def bytes(self) -> int:
        return sum(self._stops) - sum(self._starts)

    def add(self, start: int, stop: int) -> None:
        if start >= stop:
            return
        stops, starts = self._stops, self._starts
        if stops and start <= stops[-1] <= stop and start >= starts[-1]:  # most writes go on where the last one ended
            stops[-1] = stop
            return
        first = bisect_left(stops, start)
        last = bisect_right(starts, stop)
        if first < last:
            start, stop = min(start, starts[first]), max(stop, stops[last - 1])
        starts[first:last], stops[first:last] = [start], [stop]

    def remove(self, start: int, stop: int) -> None:
        first = bisect_right(self._stops, start)
        last = bisect_left(self._starts, stop)
        if start >= stop or first >= last:
            return
        left = [(self._starts[first], start)] if self._starts[first] < start else []
        right = [(stop, self._stops[last - 1])] if self._stops[last - 1] > stop else []
        kept = left + right
        self._starts[first:last] = [begin for begin, _ in kept]
        self._stops[first:last] = [end for _, end in kept]

    def clear(self) -> None:
        self._starts.clear()
        self._stops.clear()

    def reach(self, start: int) -> int:
        """Where the range that begins there, or holds it, ends; `start` when there is none."""
        place = bisect_right(self._stops, start)
        return self._stops[place] if place < len(self._starts) and self._starts[place] <= start else start

    def within(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """What of the ranges lies in [start, stop)."""
        for place in range(bisect_right(self._stops, start), len(self._starts)):
            begin = self._starts[place]
            if begin >= stop:
                return
            yield max(begin, start), min(self._stops[place], stop)

    def gaps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """What of [start, stop) lies in none."""
        at = start
        for begin, end in self.within(start, stop):
            if at < begin:
                yield at, begin
            at = end
        if at < stop:
            yield at, stop
