"""Replication under every fault that a seed can think of, and the proof that the simulator would see if it were wrong."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from meta.commit import Entry
from meta.leader import Leader
from meta.peer import Follower, Standing
from node.errors import NotLeader
from tests.conftest import SCALE
from tests.sim.meta.disk import KEPT_MAX, State
from tests.sim.meta.node import Node
from tests.sim.meta.schedule import play
from tests.sim.meta.sqlite import SqliteLog

SCHEDULES = int(60 * SCALE)
PLANTED_SCHEDULES_MAX = 1_000


@pytest.mark.slow
def test_no_schedule_breaks_a_promise(seed: str) -> None:
    first = random.Random(seed).randrange(1_000_000) if SCALE > 1 else 0
    puts = 0
    for number in range(first, first + SCHEDULES):
        outcome = play(number)
        assert not outcome.problems, (number, outcome.problems)
        puts += outcome.puts
    assert puts > 3 * SCHEDULES  # else nothing was tried


class _OnSqlite(Node):
    """The product's log, in files: what a simulated disk may lose, test_crash.py and the power cuts show."""

    log_kind = SqliteLog

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        LOGS.append(self.log)


LOGS: list[SqliteLog] = []


@pytest.fixture
def few_entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So few that snapshots are needed often."""
    monkeypatch.setattr("meta.writer.ENTRIES_MAX", KEPT_MAX)
    yield
    while LOGS:
        LOGS.pop().close()


@pytest.mark.slow
@pytest.mark.usefixtures("few_entries")
def test_no_schedule_breaks_a_promise_on_the_log_that_the_product_has(seed: str) -> None:
    first = random.Random(seed).randrange(1_000_000) if SCALE > 1 else 0
    snapshots = 0
    for number in range(first, first + int(6 * SCALE)):
        outcome = play(number, node=_OnSqlite)
        assert not outcome.problems, (number, outcome.problems)
        snapshots += sum(log.installed for log in LOGS[-3:])
    assert snapshots > 0  # else the half of it was not tried


def test_a_seed_repeats_its_schedule_whatever_other_loops_run() -> None:
    alone = repr(play(7))
    assert alone != repr(play(8))
    over = threading.Event()

    async def bustle() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(spin)

    async def spin() -> None:
        while not over.is_set():
            await trio.lowlevel.checkpoint()

    thread = threading.Thread(target=trio.run, args=(bustle,))
    thread.start()
    try:
        assert repr(play(7)) == alone
    finally:
        over.set()
        thread.join()


class _HeedsNoEpoch(Follower[State]):
    def _admit(self, epoch: int) -> Standing:
        standing = self.log.standing()
        if standing.promised < epoch:
            self.log.promise(epoch)
        return standing


class _WaitsForNobody(Leader):
    async def replicate(self, entry: Entry) -> None:
        if self.over or entry.previous != self._last:
            raise NotLeader("this epoch is over")
        self._pending = entry
        self._drive_all()


class _SkipsTheEpochCheck(Node):
    follower_kind = _HeedsNoEpoch


class _AcknowledgesBeforeMajority(Node):
    leader_kind = _WaitsForNobody


class _TrustsAStaleLeader(Node):
    @property
    def trusted(self) -> bool:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("bug", [_SkipsTheEpochCheck, _AcknowledgesBeforeMajority, _TrustsAStaleLeader])
def test_a_planted_bug_is_found(bug: type[Node]) -> None:
    """Within seconds, from the first seed on."""
    for number in range(PLANTED_SCHEDULES_MAX):
        if play(number, node=bug).problems:
            return
    pytest.fail(f"{bug.__name__} passed {PLANTED_SCHEDULES_MAX} schedules unseen")
