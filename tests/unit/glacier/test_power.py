"""The power budget and the board's own record."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glacier import power
from glacier.power import Budget, Grants, Layout, Meter, buses_of, read_record
from node.errors import DiskNotFound, PowerBudgetSpent

LAYOUT = Layout("north", ((0, 1, 2), (3, 4, 5), (6, 7, 8)))


@given(st.integers(1, 3), st.integers(1, 9), st.lists(st.tuples(st.booleans(), st.sampled_from(LAYOUT.disks))))
def test_no_order_of_taking_and_giving_back_oversteps_the_budget(bus: int, board: int, steps: list[tuple[bool, int]]) -> None:
    budget = Budget(bus, max(bus, board))
    grants = Grants(LAYOUT, budget)
    for take, disk in steps:
        if not take:
            grants.give_back(disk)
        elif disk not in grants.granted:
            full = len(grants.granted) >= budget.board or buses_of(LAYOUT, grants.granted).get(LAYOUT.bus_of(disk), 0) >= budget.bus
            before = set(grants.granted)
            if full:
                with pytest.raises(PowerBudgetSpent):
                    grants.take(disk)
                assert grants.granted == before
            else:
                grants.take(disk)
        assert len(grants.granted) <= budget.board
        assert max(buses_of(LAYOUT, grants.granted).values(), default=0) <= budget.bus


def test_a_refusal_says_who_is_in_the_way() -> None:
    grants = Grants(LAYOUT, Budget(1, 2))
    grants.take(0)
    with pytest.raises(PowerBudgetSpent, match="disk 1 must wait: bus 0 powers disk 0, 1 at a time"):
        grants.take(1)
    grants.take(4)
    with pytest.raises(PowerBudgetSpent, match="disk 8 must wait: the board powers disks 0, 4, 2 at a time"):
        grants.take(8)


def test_a_disk_has_its_bus() -> None:
    assert [LAYOUT.bus_of(disk) for disk in LAYOUT.disks] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    with pytest.raises(DiskNotFound):
        LAYOUT.bus_of(9)


def test_the_record_outlives_who_wrote_it(tmp_path: Path) -> None:
    path = tmp_path / "power.log"
    first = Meter(LAYOUT, path)
    first.on(0, 1)
    first.on(4, 2)
    first.off(0, 3)
    first._file.write(b'{"time_us":9,"di')  # type: ignore[union-attr]  # killed in the middle of a line
    first.close()
    second = Meter(LAYOUT, path)
    assert (second.powered, second.board_max, second.together_max) == ({4}, 2, {0: 1, 1: 1})
    second.off(4, 5)
    second.off(4, 6)
    second.close()
    assert [(each.disk, each.on, each.together) for each in read_record(path)] == [
        (0, True, (0,)),
        (4, True, (0, 4)),
        (0, False, (4,)),
        (4, False, ()),
    ]


def test_the_record_takes_bounded_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "LOG_BYTES_MAX", 1000)
    meter = Meter(LAYOUT, tmp_path / "power.log")
    for number in range(200):
        meter.on(1, number)
        meter.off(1, number)
    meter.close()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2200
    assert meter.cycles[1] == 200
