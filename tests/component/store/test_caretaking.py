"""The elected process looks after the containers only while surely nobody else does."""

from __future__ import annotations

from typing import cast

import trio

from meta.coordinator import Candidate, Coordinator
from store.cluster import take_care
from store.store import Store


class Doubtful:
    """A mandate that is doubted now and then, and the coordinator that gives it."""

    epoch = 1

    def __init__(self) -> None:
        self.trusted = True
        self.lost = False
        self.resigned = False

    async def campaign(self, _election: str, _candidate: Candidate) -> Doubtful:
        if self.resigned:
            await trio.sleep_forever()
        return self

    async def resign(self) -> None:
        self.resigned = True


class Worker:
    working = False

    async def run_caretaking(self) -> None:
        self.working = True
        try:
            await trio.sleep_forever()
        finally:
            self.working = False


async def test_it_rests_while_another_may_lead_and_goes_on_if_none_does(autojump_clock: trio.testing.MockClock) -> None:
    mandate, worker = Doubtful(), Worker()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_care, cast(Store, worker), cast(Coordinator, mandate), "gateway-1", "10.0.0.1:3200")
        await trio.sleep(1)
        assert worker.working
        mandate.trusted = False
        await trio.sleep(1)
        assert (worker.working, mandate.resigned) == (False, False)
        mandate.trusted = True
        await trio.sleep(1)
        assert worker.working
        mandate.trusted, mandate.lost = False, True
        await trio.sleep(1)
        assert (worker.working, mandate.resigned) == (False, True)
        nursery.cancel_scope.cancel()
