from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from glacier.election import Disk, Outlook, Place, cheapest, elect

EMPTY = [Disk(number, 1000, 0) for number in range(4)]


def test_the_fullest_disk_in_use_is_taken_while_it_has_room() -> None:
    disks = [Disk(0, 1000, 0), Disk(1, 1000, 500), Disk(2, 1000, 300), Disk(3, 1000, 940)]
    assert elect(disks, 100) == 1


def test_a_new_disk_is_begun_only_when_none_in_use_has_room() -> None:
    assert elect([Disk(0, 1000, 900), Disk(1, 1000, 0)], 100) == 1
    assert elect([Disk(0, 1000, 900)], 100) is None


def test_two_chunks_of_a_metachunk_share_no_disk_while_there_are_others() -> None:
    assert elect([Disk(0, 1000, 500, kin=1), Disk(1, 1000, 0)], 10) == 1
    assert elect([Disk(0, 1000, 500, kin=1)], 10) == 0


def test_as_many_as_are_allowed_share_a_disk() -> None:
    assert elect([Disk(0, 1000, 500, kin=2), Disk(1, 1000, 0)], 10, kin_max=3) == 0
    assert elect([Disk(0, 1000, 500, kin=3), Disk(1, 1000, 0)], 10, kin_max=3) == 1


def test_a_closed_disk_takes_nothing() -> None:
    assert elect([Disk(0, 1000, 10, closed=True)], 10) is None


def test_enough_hot_chunks_cost_nothing() -> None:
    assert cheapest([Place(0, None), Place(1, None), Place(2, ("a", 1))], 2, {}) == []


def test_data_fragments_are_taken_when_all_cost_the_same() -> None:
    assert cheapest([Place(number, ("a", number)) for number in range(9)], 6, {}) == [0, 1, 2, 3, 4, 5]


def test_parity_on_a_powered_disk_is_cheaper_than_data_on_a_sleeping_one() -> None:
    places = [Place(0, ("a", 0)), Place(1, ("a", 1)), Place(2, ("b", 7))]
    assert cheapest(places, 2, {("b", 7): Outlook(0, 0.0)}) == [0, 2]


@given(
    st.lists(st.one_of(st.none(), st.tuples(st.sampled_from("ab"), st.integers(0, 4))), min_size=1, max_size=9),
    st.integers(1, 9),
    st.dictionaries(st.tuples(st.sampled_from("ab"), st.integers(0, 4)), st.builds(Outlook, st.integers(0, 1), st.floats(0, 100))),
)
def test_no_other_choice_needs_fewer_power_ons(
    disks: list[tuple[str, int] | None], needed: int, outlook: dict[tuple[str, int], Outlook]
) -> None:
    places = [Place(position, disk) for position, disk in enumerate(disks)]
    chosen = cheapest(places, needed, outlook)
    cold = [place.position for place in places if place.disk is not None]
    missing = max(needed - (len(places) - len(cold)), 0)
    assert len(chosen) == min(missing, len(cold))
    assert set(chosen) <= set(cold)

    def cost(positions: tuple[int, ...]) -> int:
        return sum(outlook.get(disk, Outlook(1, 0.0)).power_ons for disk in {disks[position] for position in positions} if disk is not None)

    assert cost(tuple(chosen)) == min(map(cost, combinations(cold, len(chosen))))
