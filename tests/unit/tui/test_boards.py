"""A board on the screen."""

from __future__ import annotations

import pytest
from rich.console import Console

from tests.support.dashboard import BROKEN, BUSY, SPINNING, SPUN_UP
from tui.boards import CELL_WIDTH, draw
from tui.snapshot import BoardView, BusView, DiskState, DiskView


@pytest.mark.parametrize("width", [CELL_WIDTH, 40, 78, 118, 300])
def test_all_disks_are_shown_once_within_the_width(width: int) -> None:
    lines = draw(BUSY.boards[0], width).plain.splitlines()
    cells = [line for line in lines[1:] if line and not line.startswith(("bus", "▶", "↻", "✗"))]
    assert all(len(line) <= width for line in cells)
    shown = [int(line[at : at + 2]) for line in cells for at in range(0, len(line), CELL_WIDTH)]
    assert shown == list(range(56))


def test_disks_that_are_not_asleep_say_what_they_do() -> None:
    text = draw(BUSY.boards[0], 78).plain
    assert f"disk {SPUN_UP} (bus 0): busy, sends chunk" in text
    assert f"disk {SPINNING} (bus 1): spinning up, ready in 9 s" in text
    assert f"disk {BROKEN} (bus 1): failed, did not come up within 30 s, 3 errors" in text
    assert "2 powered" in text


def test_a_disk_that_takes_longer_than_usual_to_spin_up_is_told_from_one_that_counts_down_and_one_that_failed() -> None:
    disks = [
        DiskView(0, 0, DiskState.SPINNING_UP, until_s=7.0, cycles=3, powered_s=3_700),
        DiskView(1, 0, DiskState.SPINNING_UP),
        DiskView(2, 0, DiskState.FAILED, doing="no answer within 60 s, tried again in 9 min 9 s", errors=1, cycles=1, powered_s=60),
    ]
    lines = draw(BoardView("icebox", tuple(disks)), 118).plain.splitlines()
    assert lines[-3:] == [
        "↻ disk 0 (bus 0): spinning up, ready in 7 s, powered on 3 times, 1 h 1 min in all",
        "↻ disk 1 (bus 0): spinning up, later than usual",
        "✗ disk 2 (bus 0): failed, no answer within 60 s, tried again in 9 min 9 s, 1 error, powered on once, 1 min in all",
    ]


@pytest.mark.parametrize(("width", "height"), [(78, 21), (118, 37)])
def test_a_whole_board_and_what_its_powered_disks_do_fit_on_a_small_screen(width: int, height: int) -> None:
    lines = draw(BUSY.boards[0], width).wrap(Console(width=width), width)
    assert len(lines) < height


def test_a_bus_says_where_it_is_how_fast_it_may_be_and_what_it_does() -> None:
    disks = (DiskView(0, 0, DiskState.OFF), DiskView(1, 1, DiskState.OFF))
    buses = (BusView(0, "resting"), BusView(1, "thaw on disk 1", "dc2", float(8 << 20)))
    lines = draw(BoardView("icebox", disks, buses=buses), 118).plain.splitlines()
    assert [line for line in lines if line.startswith("bus")] == ["bus 0, resting", "bus 1, in dc2, at most 8.0 MiB/s, thaw on disk 1"]


def test_the_chosen_disk_and_one_with_something_to_tell_have_a_line_though_they_sleep() -> None:
    disks = (DiskView(0, 0, DiskState.OFF), DiskView(1, 0, DiskState.OFF, note="its file system is whole"), DiskView(2, 0, DiskState.OFF))
    lines = draw(BoardView("icebox", disks), 118, disks[2]).plain.splitlines()
    assert lines[-3:] == [
        " 0·   1·   2· ◂",
        "· disk 1 (bus 0): off, its file system is whole",
        "· disk 2 (bus 0)◂: off, never measured",
    ]
