"""Deletions wait until nobody can be reading what they name any more."""

from __future__ import annotations

from store.ripening import Ripening


def test_what_was_seen_for_long_enough_is_ripe_and_what_came_later_is_not() -> None:
    ripening = Ripening(300)
    assert ripening.ripe("b", 5, 0.0) == 0
    assert ripening.ripe("b", 9, 200.0) == 0
    assert ripening.ripe("b", 9, 299.0) == 0
    assert ripening.ripe("b", 12, 301.0) == 5
    assert ripening.newest("b") == 12
    assert ripening.ripe("b", 12, 500.0) == 9
    assert ripening.ripe("b", 12, 602.0) == 12


def test_a_list_that_has_nothing_more_takes_no_memory() -> None:
    ripening = Ripening(300)
    assert ripening.ripe("b", 0, 0.0) == 0
    assert ripening.ripe("b", 7, 1.0) == 0
    assert ripening.ripe("b", 7, 400.0) == 7
    assert "buckets=0" in repr(ripening)
    assert ripening.newest("b") == 0


def test_containers_are_told_apart() -> None:
    ripening = Ripening(10)
    ripening.ripe("a", 3, 0.0)
    assert ripening.ripe("b", 8, 11.0) == 0
    assert ripening.ripe("a", 3, 11.0) == 3


def test_a_list_that_was_emptied_otherwise_may_begin_anew_with_lower_numbers() -> None:
    ripening = Ripening(300)
    ripening.ripe("b", 50, 0.0)
    ripening.ripe("c", 60, 0.0)
    ripening.keep({"c"})
    assert ripening.newest("b") == 0
    assert ripening.ripe("b", 2, 400.0) == 0
    assert ripening.ripe("c", 60, 400.0) == 60
