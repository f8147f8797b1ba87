"""The limit on the bytes between sites."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from glacier.pace import STEP_BYTES, PacedStream, Rate

MIB = 1 << 20


async def carry(stream: PacedStream, other: trio.abc.Stream, count: int, *, receive: bool) -> float:
    """Seconds that so many bytes take in one direction."""
    began = trio.current_time()
    source, sink = (other, stream) if receive else (stream, other)

    async def send() -> None:
        await source.send_all(bytes(count))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        left = count
        while left:
            left -= len(await sink.receive_some(left))
    return trio.current_time() - began


@pytest.mark.parametrize("receive", [False, True])
async def test_bytes_take_their_time_in_both_directions(autojump_clock: MockClock, receive: bool) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    paced = PacedStream(ours, Rate(MIB))
    assert await carry(paced, theirs, 10 * MIB, receive=receive) == pytest.approx(10.0, abs=2 * STEP_BYTES / MIB)


async def test_the_limit_can_be_changed_while_bytes_flow_and_taken_away(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    rate = Rate(MIB)
    paced = PacedStream(ours, rate)

    async def change() -> None:
        await trio.sleep(5.0)
        rate.bytes_s = 5 * MIB

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        assert await carry(paced, theirs, 10 * MIB, receive=False) == pytest.approx(6.0, abs=0.5)
    rate.bytes_s = 0
    await trio.sleep(1.0)
    assert await carry(paced, theirs, 100 * MIB, receive=False) == 0.0


async def test_both_directions_share_it(autojump_clock: MockClock) -> None:
    rate = Rate(MIB)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for receive in (False, True):
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(
                lambda ours=ours, theirs=theirs, receive=receive: carry(PacedStream(ours, rate), theirs, 5 * MIB, receive=receive)
            )  # type: ignore[misc]
    assert trio.current_time() - began == pytest.approx(10.0, abs=0.5)
