"""What the kernel counts, as percentages."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.clock import FakeClock, SharedClock
from node.statistics import SYNC_FORGET_S, Disk, Latency, Processor, busy_ms, idle_ticks

DAY_US = 86_400_000_000


def test_the_kernels_counts_are_read() -> None:
    assert idle_ticks("cpu  10 0 20 60 5 0 3 2 0 0\ncpu0 1 2 3\n") == (65, 100)
    line = "   8       0 sda 1 2 3 4 5 6 7 8 9 1234 11\n   8       1 sda1 1 2 3 4 5 6 7 8 9 77 11\n"
    assert busy_ms(line, 8, 0) == 1234
    assert busy_ms(line, 8, 1) == 77
    assert busy_ms(line, 9, 0) is None


def test_this_host_has_percentages(tmp_path: Path) -> None:
    assert 0 <= Processor().sample() <= 100
    disk = Disk(tmp_path)
    for _ in range(2):
        assert all(0 <= value <= 100 for value in disk.sample().values())
    assert Disk(tmp_path / "gone").sample() == {"space": 0.0}


def test_a_clock_that_is_a_day_off_follows_the_others_and_a_right_one_follows_nobody_alone() -> None:
    base = FakeClock()
    now = base.now_us()
    clock = SharedClock(base)
    clock.heard([now + DAY_US, now + DAY_US + 5, now])
    assert clock.now_us() == now + DAY_US
    clock.heard([now, now + DAY_US])
    assert clock.now_us() == now
    clock.heard([now, now + DAY_US, now + 100])
    assert clock.now_us() == now
    clock.heard([])
    assert clock.now_us() == now


def test_a_latency_follows_the_last_syncs_and_is_forgotten_when_there_are_none() -> None:
    now = 0.0
    latency = Latency(lambda: now)
    assert latency.sample() == {}
    latency.add(0.010)
    assert latency.sample() == {"latency_ms": 10.0, "sync": 100.0}
    for _ in range(30):
        latency.add(0.5)
    assert latency.sample()["latency_ms"] == pytest.approx(500, rel=0.01)
    assert latency.sample()["sync"] == pytest.approx(10, rel=0.01)
    now += 10 * SYNC_FORGET_S
    assert latency.sample()["sync"] == 100.0
