"""A board on the screen."""

from __future__ import annotations

import pytest

from tests.support.dashboard import BROKEN, BUSY, SPINNING, SPUN_UP
from tui.boards import CELL_WIDTH, draw


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
