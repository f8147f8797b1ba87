"""The buffer pool: bounded, fair, reused, and given back."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from node.buffers import BufferPool
from node.errors import Busy, InvalidArgument

MIB = 1 << 20


async def test_buffers_have_the_size_asked_for_and_are_reused() -> None:
    pool = BufferPool(8 * MIB)
    async with pool.take(100_000) as view:
        assert len(view) == 100_000
        view[:3] = b"abc"
        assert pool.lent == 131_072
    assert (pool.lent, pool.kept) == (0, 131_072)
    async with pool.take(131_072) as again:
        assert bytes(again[:3]) == b"abc"
        assert pool.kept == 0
    with pytest.raises(ValueError, match="released"):
        view[0]


async def test_no_more_than_the_bound_is_lent_and_waiting_is_fair(autojump_clock: trio.testing.MockClock) -> None:
    pool = BufferPool(4 * MIB)
    order: list[int] = []

    async def use(number: int, size: int) -> None:
        async with pool.take(size):
            assert pool.lent + pool.kept <= pool.bytes_max
            order.append(number)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for number, size in enumerate([3 * MIB, 4 * MIB, MIB, 2 * MIB, MIB]):
            nursery.start_soon(use, number, size)
            await trio.testing.wait_all_tasks_blocked()
    assert order[:2] == [0, 1]  # the small ones do not overtake the large one
    assert sorted(order) == [0, 1, 2, 3, 4]
    assert pool.lent == 0


async def test_waiting_is_bounded_and_the_next_takes_its_turn(autojump_clock: trio.testing.MockClock) -> None:
    pool = BufferPool(2 * MIB, wait_s=5)
    taken: list[str] = []

    async def small() -> None:
        await trio.sleep(1)
        async with pool.take(MIB):
            taken.append("small")

    async with trio.open_nursery() as nursery, pool.take(MIB):
        nursery.start_soon(small)
        with pytest.raises(Busy):
            async with pool.take(2 * MIB):
                taken.append("large")
        await trio.testing.wait_all_tasks_blocked()
        assert taken == ["small"]


async def test_a_cancelled_wait_leaves_no_trace(autojump_clock: trio.testing.MockClock) -> None:
    pool = BufferPool(MIB)
    async with pool.take(MIB):
        with trio.move_on_after(1):
            async with pool.take(MIB):
                pytest.fail("lent twice")
    assert repr(pool) == f"<BufferPool lent=0 kept=0 of {MIB} waiting=0>"


async def test_a_grant_that_meets_a_cancel_is_given_back(autojump_clock: trio.testing.MockClock) -> None:
    pool = BufferPool(MIB)

    async def waiter(scope: trio.CancelScope) -> None:
        with scope:
            async with pool.take(MIB):
                await trio.lowlevel.checkpoint()

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        async with pool.take(MIB):
            nursery.start_soon(waiter, scope)
            await trio.testing.wait_all_tasks_blocked()
        scope.cancel()  # in the same step in which the waiter was granted
    assert pool.lent == 0


async def test_a_cancel_that_meets_a_grant_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    pool = BufferPool(MIB)

    async def waiter(scope: trio.CancelScope) -> None:
        with scope:
            async with pool.take(MIB):
                pytest.fail("cancelled first")

    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        async with pool.take(MIB):
            nursery.start_soon(waiter, scope)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()  # and granted before the waiter could run again
    assert pool.lent == 0


async def test_what_can_never_be_served_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        BufferPool(100)
    pool = BufferPool(MIB)
    for size in (0, 2 * MIB):
        with pytest.raises(InvalidArgument):
            async with pool.take(size):
                pytest.fail("lent")


async def test_idle_buffers_go_back_to_the_system(autojump_clock: trio.testing.MockClock) -> None:
    pool = BufferPool(8 * MIB)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.keep_trimmed)
        async with pool.take(MIB):
            pass
        assert pool.kept == MIB
        await trio.sleep(11)
        assert pool.kept == 0
        nursery.cancel_scope.cancel()


async def test_shares_shrink_when_the_pool_is_busy() -> None:
    pool = BufferPool(16 * MIB)
    assert pool.share(4 * MIB, 65_536) == 4 * MIB
    async with pool.take(12 * MIB):
        assert pool.share(4 * MIB, 65_536) == 2 * MIB
        async with pool.take(4 * MIB):
            assert pool.share(4 * MIB, 65_536) == 65_536
