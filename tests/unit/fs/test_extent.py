"""Sets of byte ranges against a set of bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from fs.extent import Extents

steps = st.lists(st.tuples(st.sampled_from(["add", "remove"]), st.integers(0, 40), st.integers(0, 12)), max_size=30)


@given(steps, st.integers(0, 45), st.integers(0, 45))
def test_extents_are_the_bytes_that_were_added_and_not_removed(steps: list[tuple[str, int, int]], start: int, stop: int) -> None:
    extents, model = Extents(), set[int]()
    for what, begin, size in steps:
        getattr(extents, what)(begin, begin + size)
        if what == "add":
            model |= set(range(begin, begin + size))
        else:
            model -= set(range(begin, begin + size))
        ranges = list(extents)
        assert {at for begin_, end in ranges for at in range(begin_, end)} == model
        assert all(one[1] < other[0] for one, other in pairwise(ranges))
        assert extents.bytes == len(model)
    inside = [at for begin_, end in extents.within(start, stop) for at in range(begin_, end)]
    outside = [at for begin_, end in extents.gaps(start, stop) for at in range(begin_, end)]
    assert inside == sorted(model & set(range(start, stop)))
    assert outside == sorted(set(range(start, stop)) - model)
