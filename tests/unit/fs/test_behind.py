"""What is not waited for: it happens, in time, and what needs it waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import pytest
import trio

from fs.behind import BATCHES_AT_ONCE, GATHER_S, SAVES_AT_ONCE, Behind
from fs.connection import Connection
from fs.inode import ROOT, Inode
from node.errors import PeerUnreachable, QuotaExceeded


class Store:
    """Takes a second for a call, however much it carries; refuses what begins with "locked"."""

    def __init__(self) -> None:
        self.removed: list[list[str]] = []
        self.saved: list[str] = []
        self.released: list[str] = []
        self.asked: list[list[str]] = []
        self.owing = False
        self.away = False

    async def release(self, inode: Inode) -> None:
        self.released.append(inode.part)

    def owe(self, owing: bool) -> None:
        self.owing = owing

    async def remove_many(self, bucket: str, contents: Mapping[str, str]) -> dict[str, str]:
        await trio.sleep(1)
        self.removed.append(list(contents))
        return {key: "locked" for key in contents if key.startswith("locked")}

    async def save_together(self, inodes: Sequence[Inode]) -> None:
        self.asked.append([inode.part for inode in inodes])

    def is_saved(self, inode: Inode) -> bool:
        return inode.part in self.saved

    async def save_late(self, inode: Inode) -> None:
        await trio.sleep(1)
        if inode.part == "bad":
            raise QuotaExceeded("full")
        if self.away:
            raise PeerUnreachable("no answer")
        self.saved.append(inode.part)


def inode(part: str) -> Inode:
    root = Inode(ROOT, None, b"", "", folder=True)
    root.bucket = "b"
    return Inode(2, root, part.encode(), part, folder=False)


async def test_removals_go_together_and_hide_their_objects_until_they_are_done(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    store = Store()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    for number in range(5):
        await behind.remove_later("b", f"k{number}", f"c{number}")
        await trio.testing.wait_all_tasks_blocked()
    assert behind.hides("b", "k3", "c3")
    assert not behind.hides("b", "k3", "another content")
    await behind.settle()
    assert store.removed == [["k0", "k1", "k2", "k3", "k4"]]
    assert not behind.hides("b", "k3", "c3")


async def test_saves_begin_together_a_moment_later_or_as_soon_as_somebody_waits(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    began: dict[str, float] = {}

    class Noting(Store):
        async def save_late(self, inode: Inode) -> None:
            began[inode.part] = trio.current_time()

    store = Noting()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    first = trio.current_time()
    await behind.save_later(inode("a"))
    await trio.sleep(GATHER_S / 2)
    await behind.save_later(inode("b"))
    await trio.sleep(GATHER_S)
    assert began == {"a": pytest.approx(first + GATHER_S), "b": pytest.approx(first + GATHER_S)}
    now = trio.current_time()
    await behind.save_later(inode("waited for"))
    await behind.drain()
    for number in range(SAVES_AT_ONCE):
        await behind.save_later(inode(f"{number}"))
    await trio.testing.wait_all_tasks_blocked()
    assert [began[part] for part in ("waited for", "0", f"{SAVES_AT_ONCE - 1}")] == [now] * 3


async def test_a_refused_removal_shows_again_and_is_counted(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    await behind.remove_later("b", "locked", "c")
    await behind.drain()
    assert behind.failures == 1
    assert not behind.hides("b", "locked", "c")


async def test_saves_run_side_by_side_and_a_drain_waits_for_all(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    began = trio.current_time()
    for number in range(2 * SAVES_AT_ONCE):
        await behind.save_later(inode(str(number)))
    await behind.save_later(inode("bad"))
    await behind.drain()
    assert len(store.saved) == 2 * SAVES_AT_ONCE
    assert trio.current_time() - began <= 3
    assert (behind.pending, behind.failures) == (0, 1)
    assert sorted(store.released) == sorted([*store.saved, "bad"])


async def test_what_failed_is_told_to_the_next_who_syncs_and_once(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    store = Store()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    await behind.save_later(inode("bad"))
    await behind.drain()
    with pytest.raises(OSError, match="b/bad: full"):
        behind.check()
    behind.check()


async def test_what_waits_while_the_store_is_away_is_not_given_up_and_who_waits_for_it_hears_of_it(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    store = Store()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    store.away = True
    await behind.save_later(inode("kept"))
    with pytest.raises(OSError, match="not stored yet: no answer"):
        await behind.drain()
    assert behind.trouble is not None
    store.away = False
    while behind.trouble is not None:  # noqa: ASYNC110 - a minute of its clock is nothing
        await trio.sleep(1)
    await behind.drain()
    assert store.saved == store.released == ["kept"]


async def test_others_are_told_before_something_waits_and_when_nothing_does(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    store = Store()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    await behind.remove_later("b", "k", "c")
    assert store.owing
    await behind.save_later(inode("s"))
    await behind.settle()
    await behind.pay("b", "another")
    await behind.pay("b", "s")
    assert store.saved == ["s"]
    assert not store.owing


async def test_who_waits_for_what_waits_doesnt_wait_for_what_comes_later(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    store = Store()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)

    async def busy() -> None:
        for number in range(1_000):
            await behind.remove_later("b", f"k{number}", "c")
            await behind.save_later(inode(f"s{number}"))
            await trio.sleep(0.3)

    nursery.start_soon(busy)
    await trio.sleep(2)
    with trio.fail_after(5):
        await behind.settle()
    with trio.fail_after(5):
        await behind.drain()
    nursery.cancel_scope.cancel()


async def test_a_save_or_removal_that_stops_by_a_bug_is_a_failed_one_and_the_others_go_on(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    class Broken(Store):
        async def save_late(self, inode: Inode) -> None:
            if inode.part == "bug":
                raise ValueError("not foreseen")
            await super().save_late(inode)

        async def remove_many(self, bucket: str, contents: Mapping[str, str]) -> dict[str, str]:
            if "bug" in contents:
                raise ValueError("not foreseen")
            return await super().remove_many(bucket, contents)

    store = Broken()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    await behind.save_later(inode("bug"))
    await behind.save_later(inode("good"))
    await behind.remove_later("b", "bug", "c")
    await behind.drain()
    await behind.remove_later("b", "good", "c")
    await behind.drain()
    assert store.saved == ["good"]
    assert store.removed == [["good"]]
    assert sorted(store.released) == ["bug", "good"]
    assert behind.failures == 2
    with pytest.raises(OSError, match="not foreseen"):
        behind.check()


async def test_what_can_be_saved_together_is_and_only_the_rest_by_itself(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    class Together(Store):
        async def save_together(self, inodes: Sequence[Inode]) -> None:
            await super().save_together(inodes)
            self.saved += [inode.part for inode in inodes if inode.part != "large"]

    store = Together()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    for part in ("a", "large", "b"):
        await behind.save_later(inode(part))
    await behind.drain()
    assert store.asked == [["a", "large", "b"]]
    assert store.saved == ["a", "b", "large"]
    assert sorted(store.released) == ["a", "b", "large"]


async def test_a_bug_in_saving_together_leaves_each_to_be_saved_by_itself(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    class Broken(Store):
        async def save_together(self, inodes: Sequence[Inode]) -> None:
            raise ValueError("not foreseen")

    store = Broken()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    await behind.save_later(inode("a"))
    await behind.drain()
    assert store.saved == store.released == ["a"]
    assert behind.failures == 0


async def test_one_save_that_takes_long_keeps_no_others_waiting(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    class Slow(Store):
        async def save_late(self, inode: Inode) -> None:
            if inode.part.startswith("cold"):
                await trio.sleep_forever()
            await super().save_late(inode)

    store = Slow()
    behind = Behind(cast(Connection, store), store, store.owe)
    await nursery.start(behind.run)
    for number in range(BATCHES_AT_ONCE + 1):
        await behind.save_later(inode(f"cold{number}"))
        await trio.sleep(1)
    await behind.save_later(inode("warm"))
    await trio.sleep(2)
    assert store.saved == ["warm"]
