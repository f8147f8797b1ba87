"""The settable clock: time passes for both, a jump only changes the date."""

from __future__ import annotations

from node.clock import Clock, FakeClock, SystemClock


def test_fake_time_passes_and_jumps() -> None:
    clock = FakeClock(1_000_000)
    clock.advance(1.5)
    assert (clock.now_us(), clock.monotonic()) == (2_500_000, 1.5)
    clock.jump(-2)
    assert (clock.now_us(), clock.monotonic()) == (500_000, 1.5)


def test_system_time_is_this_century_and_grows() -> None:
    clock: Clock = SystemClock()
    assert 1_700_000_000_000_000 < clock.now_us() < 4_000_000_000_000_000
    assert clock.monotonic() <= clock.monotonic()
