"""What wants to be looked at."""

from __future__ import annotations

from tests.support.dashboard import AT_US, BUSY
from tui.snapshot import Level, Snapshot, alerts


def test_a_healthy_store_has_no_alerts() -> None:
    assert alerts(Snapshot(AT_US, "x", True)) == []


def test_a_store_that_does_not_run_says_how_to_start_it() -> None:
    assert alerts(Snapshot(AT_US, "x", False)) == [(Level.BAD, "the store does not run; start it with `frazil up`")]


def test_everything_wrong_is_told_the_worst_first() -> None:
    found = alerts(BUSY)
    words = " | ".join(text for _, text in found)
    parts = [
        "volume 0c33: nearly full",
        "volume 0d44: Input",
        "disk 41: did not come up",
        "rawx-2: no word",
        "shard 1",
        "job 5",
        "3 damaged",
    ]
    assert [part for part in parts if part not in words] == []
    assert "meta-1:" not in words, "a lock is an operator's wish"
    levels = [level for level, _ in found]
    assert levels == sorted(levels, key=lambda level: level is not Level.BAD)
