"""What a leader's writer may do after a transaction of it failed."""

from __future__ import annotations

import pytest
import trio

from meta.cluster.reign import Reign
from meta.commit import Entry, Header
from meta.coordinator import Candidate, LocalCoordinator
from meta.leader import Leader, Peer
from meta.peer import Standing
from node.errors import NotLeader, Undecided

BASE = "container/b"


class Obliging:
    """A peer that holds whatever it is given."""

    name = "own"

    async def survey(self, epoch: int) -> Standing:
        return Standing(epoch, Header(0, 0))

    async def append(self, epoch: int, entry: Entry) -> Standing:
        return Standing(epoch, entry.header)

    async def pull(self, epoch: int, source: str) -> Standing:
        raise NotImplementedError


class Lost(Obliging):
    """Has more than the new leader, and is not heard of again when that asks for it."""

    name = "lost"

    async def survey(self, epoch: int) -> Standing:
        return Standing(epoch, Header(1, 7))


class Behind(Obliging):
    def __init__(self) -> None:
        self.fetching = trio.Event()

    async def pull(self, epoch: int, source: str) -> Standing:
        self.fetching.set()
        await trio.sleep_forever()
        raise AssertionError


def _alone(_base: str) -> tuple[Peer, list[Peer]]:
    return Obliging(), []


def _fail() -> None:
    raise OSError("no space left on device")


async def test_no_transaction_follows_on_one_that_could_not_be_committed_at_its_leader() -> None:
    """It would have the header by which peers know the one before, and two logs that differ would be taken for the same."""
    mandate = await LocalCoordinator().campaign("set-1", Candidate("own", "nowhere"))
    async with trio.open_nursery() as nursery:
        reign = Reign("set-1", mandate, _alone, nursery, others=())
        leader = Leader(reign.epoch, Obliging(), [], nursery=nursery)
        last = await leader.take_over(BASE)
        reign.leaders[BASE] = leader
        try:
            assert reign.lead(BASE) == reign.epoch
            entry = Entry(BASE, last, Header(reign.epoch, last.index + 1), b"")
            with pytest.raises(Undecided):
                reign.agree(entry, _fail)
            with pytest.raises(NotLeader):  # though the event loop has not run since
                reign.lead(BASE)
            committed: list[Entry] = []
            with pytest.raises(NotLeader):
                reign.agree(entry, lambda: committed.append(entry))
            assert not committed
        finally:
            reign.end()
        nursery.cancel_scope.cancel()


async def test_a_reign_that_is_over_waits_for_no_snapshot() -> None:
    """Its host would keep its place in the queue meanwhile, and nobody lead the set."""
    mandate = await LocalCoordinator().campaign("set-1", Candidate("own", "nowhere"))
    own = Behind()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            reign = Reign("set-1", mandate, lambda _base: (own, [Lost()]), nursery, others=("lost",))

            async def ask() -> None:
                with pytest.raises(NotLeader):
                    await reign.ready(BASE)

            nursery.start_soon(ask)
            await own.fetching.wait()
            reign.end()
    assert not reign.leaders
