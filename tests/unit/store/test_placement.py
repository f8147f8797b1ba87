from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import NotEnoughServices
from store.placement import FREE_BYTES_MIN, Candidate, draw, weight

TIB = 1 << 40


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.integers(1, 20), st.integers())
def test_volumes_are_different_and_never_weightless(weights: list[float], count: int, seed: int) -> None:
    candidates = [Candidate(str(index), each) for index, each in enumerate(weights)]
    usable = [each.volume for each in candidates if each.weight > 0]
    if len(usable) < count:
        with pytest.raises(NotEnoughServices):
            draw(candidates, count, Random(seed))
    else:
        drawn = draw(candidates, count, Random(seed))
        assert len(set(drawn)) == count
        assert set(drawn) <= set(usable)


def test_the_same_seed_draws_the_same() -> None:
    candidates = [Candidate(str(index), 1.0) for index in range(9)]
    assert draw(candidates, 5, Random(7)) == draw(candidates, 5, Random(7))


def test_what_is_excluded_is_not_drawn() -> None:
    candidates = [Candidate(str(index), 1.0) for index in range(4)]
    assert set(draw(candidates, 2, Random(1), without={"0", "3"})) == {"1", "2"}


def test_free_space_weighs() -> None:
    random = Random(3)
    candidates = [Candidate("full", 1.0), Candidate("empty", 9.0)]
    counts = Counter(draw(candidates, 1, random)[0] for _ in range(2000))
    assert 0.86 < counts["empty"] / 2000 < 0.94


def test_full_sick_and_read_only_volumes_weigh_nothing() -> None:
    assert weight(TIB, 2 * TIB, 10_000, sick=False, read_only=False) == 1024
    assert weight(FREE_BYTES_MIN - 1, TIB, 10_000, sick=False, read_only=False) == 0
    assert weight(30 << 20, 1 << 30, 10_000, sick=False, read_only=False) > 0  # a small volume may fill up further
    assert weight(TIB, 2 * TIB, 3, sick=False, read_only=False) == 0
    assert weight(TIB, 2 * TIB, 10_000, sick=True, read_only=False) == 0
    assert weight(TIB, 2 * TIB, 10_000, sick=False, read_only=True) == 0
