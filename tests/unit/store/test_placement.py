from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import InvalidArgument, NotEnoughServices
from store.location import Location, group_counts
from store.placement import FALLBACK, FREE_BYTES_MIN, NEAR, UNEVEN, Candidate, Pool, Target, draw, judge, misplaced, spread, weight

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


def hosts(*disks: int, slot: str = "", racks: int = 1) -> list[Candidate]:
    """Hosts with so many disks each, in turn in the racks."""
    return [
        Candidate(f"{slot}h{host}d{disk}", 50.0, Location.parse(f"dc.room.r{host % racks}.{slot}h{host}.{disk}"), frozenset({slot}))
        for host, count in enumerate(disks)
        for disk in range(count)
    ]


def pool_of(candidates: list[Candidate], **rules: object) -> Pool:
    return Pool(groups=group_counts(each.location for each in candidates), **rules)  # type: ignore[arg-type]


def per_host(drawn: list[str]) -> list[int]:
    return sorted(Counter(each.partition("d")[0] for each in drawn).values())


SEEDS = st.integers(0, 1 << 30)


@given(SEEDS)
def test_a_metachunk_spreads_evenly_over_hosts_without_any_rule(seed: int) -> None:
    candidates = hosts(3, 3, 3)
    assert per_host(spread(candidates, 7, 9, Random(seed), pool_of(candidates))) == [3, 3, 3]
    assert per_host(spread(candidates, 3, 4, Random(seed), pool_of(candidates))) == [1, 1, 2]


@given(SEEDS)
def test_what_hosts_lack_the_others_bear_in_equal_parts_and_it_is_told(seed: int) -> None:
    candidates = hosts(1, 6, 6)
    by_volume = {each.volume: each for each in candidates}
    pool = pool_of(candidates)
    drawn = spread(candidates, 9, 9, Random(seed), pool)
    assert per_host(drawn) == [1, 4, 4]
    assert judge([by_volume[each] for each in drawn], pool) == UNEVEN


@given(SEEDS)
def test_a_least_distance_holds_and_fewer_are_drawn_or_none(seed: int) -> None:
    candidates = hosts(4, 4, 4, racks=3)
    pool = pool_of(candidates, distance_min=2)
    assert per_host(spread(candidates, 2, 9, Random(seed), pool)) == [1, 1, 1]
    with pytest.raises(NotEnoughServices, match="limits"):
        spread(candidates, 4, 4, Random(seed), pool)


@given(SEEDS)
def test_a_strict_limit_holds_and_a_fair_one_gives_way(seed: int) -> None:
    candidates = hosts(9, 9)
    by_volume = {each.volume: each for each in candidates}
    strict = pool_of(candidates, strict=(0, 0, 0, 2, 1))
    assert per_host(spread(candidates, 1, 9, Random(seed), strict)) == [2, 2]
    fair = pool_of(candidates, fair=(0, 0, 0, 2, 1))
    drawn = spread(candidates, 9, 9, Random(seed), fair)
    assert per_host(drawn) == [4, 5]
    assert judge([by_volume[each] for each in drawn], fair) == UNEVEN


@given(SEEDS)
def test_a_wished_distance_gives_way_and_it_is_told(seed: int) -> None:
    candidates = hosts(2, 2)
    by_volume = {each.volume: each for each in candidates}
    pool = pool_of(candidates, distance_wished=2)
    assert per_host(spread(candidates, 1, 2, Random(seed), pool)) == [1, 1]
    drawn = spread(candidates, 3, 3, Random(seed), pool)
    assert judge([by_volume[each] for each in drawn], pool) == NEAR


@given(SEEDS)
def test_slots_are_filled_in_their_shares_and_the_fallback_stands_in(seed: int) -> None:
    candidates = hosts(2, slot="a") + hosts(2, slot="b") + hosts(4, slot="c")
    by_volume = {each.volume: each for each in candidates}
    pool = Pool(targets=(Target(("a", "c"), 3), Target(("b",))))
    drawn = spread(candidates, 5, 5, Random(seed), pool)
    assert Counter(each[0] for each in drawn) == {"a": 2, "c": 1, "b": 2}
    assert judge([by_volume[each] for each in drawn], pool) == FALLBACK


@given(SEEDS)
def test_a_replacement_keeps_away_from_what_is_there(seed: int) -> None:
    candidates = hosts(3, 3, 3)
    beside = [each.location for each in candidates[:5]]
    (drawn,) = spread(candidates, 1, 1, Random(seed), pool_of(candidates), without={each.volume for each in candidates[:5]}, beside=beside)
    assert drawn.startswith("h2")


def test_scores_weigh_over_hosts_too() -> None:
    candidates = [Candidate("low", 10.0, Location.parse("a.1")), Candidate("high", 90.0, Location.parse("b.1"))]
    random = Random(3)
    counts = Counter(spread(candidates, 1, 1, random, pool_of(candidates))[0] for _ in range(2000))
    assert 0.86 < counts["high"] / 2000 < 0.94


def test_a_location_is_read_from_its_disk_upwards() -> None:
    assert str(Location.parse("h.1")) == "...h.1"
    assert Location.parse("h.1").distance(Location.parse("h.2")) == 1
    assert Location.parse("a.b.c.d.1").distance(Location.parse("x.b.c.d.1")) == 5
    with pytest.raises(InvalidArgument):
        Location.parse("a.b.c.d.e.f")


def test_a_draw_over_a_thousand_volumes_is_quick_enough_for_a_put() -> None:
    candidates = hosts(*[10] * 100, racks=10)
    pool = pool_of(candidates)
    assert per_host(spread(candidates, 9, 9, Random(1), pool)) == [1] * 9


@given(SEEDS, st.lists(st.integers(1, 4), min_size=3, max_size=5))
def test_moving_what_is_misplaced_one_by_one_ends_where_nothing_is(seed: int, disks: list[int]) -> None:
    candidates = hosts(*disks)
    pool, random = pool_of(candidates), Random(seed)
    count = min(6, len(candidates))
    places = dict(enumerate(random.sample(candidates, count)))
    for _ in range(20):
        possible = [
            (position, better)
            for position, avoid in misplaced(places, candidates, pool)
            if (better := [each for each in candidates if each.volume not in avoid and each not in places.values()])
        ]
        if not possible:
            break
        position, better = possible[0]
        places[position] = random.choice(better)
    else:
        raise AssertionError("it goes on for ever")
    assert len({each.volume for each in places.values()}) == count
    if min(disks) * len(disks) >= count:
        assert judge(list(places.values()), pool) == 0


def test_a_chunk_on_a_fallback_belongs_elsewhere() -> None:
    candidates = hosts(2, slot="a") + hosts(2, slot="b")
    pool = Pool(targets=(Target(("a", "b")),))
    (position, avoid), *more = misplaced({0: candidates[0], 1: candidates[2]}, candidates, pool)
    assert (position, avoid, more) == (1, {"bh0d0", "bh0d1"}, [])


def test_a_place_is_told_by_names_of_levels_that_follow_each_other() -> None:
    location = Location.parse("dc1.room1.rack2.host3.disk1")
    assert all(location.lies_in(place) for place in ("host3", "rack2.host3", "dc1", "host3.disk1", str(location)))
    assert not any(location.lies_in(place) for place in ("host", "dc1.rack2", "host3.disk1.more", "", "."))


HERE, FAR = Pool(sites=frozenset({"here"})), Pool((Target(("slow",)),), sites=frozenset({"far", "away"}))


def at_site(volume: int, site: str, *slots: str) -> Candidate:
    return Candidate(str(volume), 1.0, Location.parse(f"host{volume}.disk"), frozenset(slots), site)


def test_volumes_whose_boards_are_elsewhere_are_never_drawn() -> None:
    candidates = [at_site(number, ("here", "far", "")[number % 3]) for number in range(9)]
    assert set(spread(candidates, 3, 3, Random(1), HERE)) == {"0", "3", "6"}
    with pytest.raises(NotEnoughServices, match="their boards must be in here"):
        spread(candidates, 4, 4, Random(1), HERE)


def test_chunks_whose_boards_are_elsewhere_are_misplaced() -> None:
    near, far, away, fast = at_site(1, "here", "slow"), at_site(2, "far", "slow"), at_site(3, "away", "slow"), at_site(4, "far", "fast")
    assert judge([far, away], FAR) == 0
    assert judge([near, far], FAR) == judge([far, fast], FAR) == FALLBACK
    members = [near, far, away, fast]
    assert list(misplaced({0: near, 1: far}, members, FAR)) == [(0, frozenset({"1", "4"}))]
