"""Which metachunks of which contents an object is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.protocol.object import Attributes
from node.errors import RecordCorrupt
from store.mosaic import MOSAIC, Mosaic, Piece, mosaic_of, without_mosaic

TILES = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 5)))


@given(TILES)
def test_tiles_come_back(tiles: list[tuple[str, int]]) -> None:
    mosaic = Mosaic.of(tiles)
    assert mosaic.tiles == tiles
    assert mosaic_of(mosaic.into(Attributes())) == mosaic


def test_neighbours_are_one_piece() -> None:
    mosaic = Mosaic.of([("a", 0), ("a", 1), ("b", 0), ("a", 3), ("a", 4)])
    assert mosaic == Mosaic(("a", "b"), (Piece(0, 0, 2), Piece(1, 0, 1), Piece(0, 3, 2)))


@given(TILES, TILES)
def test_other_pieces_have_another_etag_that_is_no_md5(one: list[tuple[str, int]], other: list[tuple[str, int]]) -> None:
    assert (Mosaic.of(one).etag == Mosaic.of(other).etag) == (one == other)
    assert "-" in Mosaic.of(one).etag


def test_what_is_written_as_one_content_has_none() -> None:
    attributes = Attributes(type="text/plain", extra={"other": 1})
    assert without_mosaic(Mosaic.of([("a", 0)]).into(attributes)) == attributes
    assert mosaic_of(attributes) is None


@pytest.mark.parametrize("value", [5, {"contents": ["a"], "pieces": [[1, 0, 1]], "v": 1}, {"contents": ["a"], "pieces": [], "v": 2}])
def test_what_can_not_be_read_is_refused(value: object) -> None:
    with pytest.raises(RecordCorrupt):
        mosaic_of(Attributes(extra={MOSAIC: value}))
