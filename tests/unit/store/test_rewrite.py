"""What of an object stays and what is written when some of its bytes change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from store.rewrite import GRAIN_BYTES, Span, plan

BIG = GRAIN_BYTES


def kept(*metachunks: int) -> Span:
    return Span(metachunks[0], metachunks[-1] + 1, False)


def fresh(start: int, stop: int) -> Span:
    return Span(start, stop, True)


def test_what_no_change_touches_stays() -> None:
    assert plan([BIG] * 4, 4 * BIG, [(BIG + 1, BIG + 2)]) == [kept(0), fresh(BIG, 2 * BIG), kept(2, 3)]
    assert plan([BIG] * 4, 4 * BIG, [(BIG - 1, BIG + 1)]) == [fresh(0, 2 * BIG), kept(2, 3)]
    assert plan([BIG] * 3, 3 * BIG, []) == [kept(0, 2)]
    assert plan([BIG] * 3, 3 * BIG, [(BIG, 2 * BIG)]) == [kept(0), fresh(BIG, 2 * BIG), kept(2)]


def test_a_shorter_object_loses_metachunks_and_keeps_the_begin_of_one() -> None:
    assert plan([BIG] * 3, 2 * BIG, []) == [kept(0, 1)]
    assert plan([BIG] * 3, 2 * BIG + 5, []) == [kept(0, 1), fresh(2 * BIG, 2 * BIG + 5)]
    assert plan([BIG] * 3, 0, []) == []


def test_a_longer_one_is_written_from_its_end_on() -> None:
    assert plan([BIG], BIG + 7, []) == [kept(0), fresh(BIG, BIG + 7)]
    assert plan([BIG, 5], BIG + 7, [(BIG + 6, BIG + 7)]) == [kept(0, 1), fresh(BIG + 5, BIG + 7)]
    assert plan([0], 9, [(3, 9)]) == [fresh(0, 9)]


def test_small_metachunks_at_the_end_are_taken_along_by_what_is_as_large() -> None:
    assert plan([BIG, 4, 2, 1], BIG + 8, [(BIG + 7, BIG + 8)]) == [kept(0), fresh(BIG, BIG + 8)]
    assert plan([BIG, 4, 1], BIG + 6, [(BIG + 5, BIG + 6)]) == [kept(0, 1), fresh(BIG + 4, BIG + 6)]


def test_metachunks_without_bytes_are_left_out() -> None:
    assert plan([BIG, 0, BIG, 0], 2 * BIG, []) == [kept(0), kept(2)]


@given(st.lists(st.sampled_from([0, 1, 2, 5, BIG, 2 * BIG]), max_size=8), st.integers(0, 12 * BIG), st.data())
def test_spans_cover_the_object_once_and_in_order(metachunks: list[int], size: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6)))
    touched = [(start, stop) for start, stop in zip(cuts[::2], cuts[1::2], strict=False) if start < stop]
    offsets = [sum(metachunks[:index]) for index in range(len(metachunks) + 1)]
    at = 0
    for span in plan(metachunks, size, touched):
        start, stop = (span.first, span.stop) if span.fresh else (offsets[span.first], offsets[span.stop])
        assert start == at < stop
        assert span.fresh or not any(start < end and begin < stop for begin, end in touched)
        at = stop
    assert at == size
