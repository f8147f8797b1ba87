"""One epoch of a set of peers at its leader: which bases were taken over, who follows, and until when it may answer.

Bases are taken over when they are first asked for: a set has thousands, an election must not wait for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import trio

from meta.cluster.wire import Promising
from meta.commit import NOTHING, Entry, Header
from meta.coordinator import Mandate
from meta.leader import AGREE_S, Leader, Peer
from node.errors import Fenced, FrazilError, NotLeader, ShuttingDown, Undecided
from node.log import get_logger
from node.metrics import counter

_log = get_logger("meta.reign")


class Reign:
    """Used in the event loop, but for `lead` and `agree`, which the writers' threads call. `take_over` and `end` are its begin and end."""

    def __init__(
        self,
        name: str,
        mandate: Mandate,
        peers: Callable[[str], tuple[Peer, list[Peer]]],
        nursery: trio.Nursery,
        *,
        others: Sequence[str],
    ) -> None:
        """peers(base): this host and the others as peers of that base; others: their names."""
        self.name = name
        self.epoch = mandate.epoch
        self.mandate = mandate
        self.claim = Promising(name, mandate.epoch)
        """What its peers promise."""
        self.leaders: dict[str, Leader] = {}
        self.others = tuple(others)
        self._peers = peers
        self._nursery = nursery
        self._ended = trio.Event()
        self._failed = False  # set by a writer's thread, which must not begin the next transaction before the event loop hears of it
        self._doubted: dict[str, Header] = {}
        self._taking: dict[str, trio.Event] = {}
        self._taken: dict[Leader, trio.CancelScope] = {}  # that are about to lead
        self._token = trio.lowlevel.current_trio_token()
        failures = counter("meta_quorum_failures", "Transactions and take-overs for which no majority was found.", ("set",))
        self._quorum_failures = failures.labels(name)  # there from the first reign on, so that a rate can be told

    def __repr__(self) -> str:
        return f"<Reign {self.name} epoch={self.epoch:x} bases={len(self.leaders)}{' over' if self.over else ''}>"

    @property
    def over(self) -> bool:
        return self._failed or self._ended.is_set() or self.mandate.lost

    async def wait_over(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_with_mandate)
            await self._ended.wait()
            nursery.cancel_scope.cancel()

    async def _end_with_mandate(self) -> None:
        await self.mandate.wait_lost()
        self.end()

    def end(self) -> None:
        """Nothing is committed or answered in this epoch any more."""
        if not self._ended.is_set():
            self._ended.set()
            for leader in [*self.leaders.values(), *self._taken]:
                leader.end()
            for scope in self._taken.values():  # one may be fetching a snapshot, from a host that is gone, say
                scope.cancel()

    async def ready(self, base: str, *, create: bool = False) -> None:
        """Returns when this host leads the base and may answer for it. Raises: NotLeader, BaseNotFound."""
        self._check()
        while base not in self.leaders:
            await self._take_over(base, create=create)
            self._check()
        if self.leaders[base].over:
            self.end()
            raise NotLeader(f"this peer does not lead the set {self.name} any more")

    def _check(self) -> None:
        if self.over or not self.mandate.trusted:
            raise NotLeader(f"this peer does not surely lead the set {self.name}")

    async def _take_over(self, base: str, *, create: bool) -> None:
        """Once at a time for each base; who comes meanwhile looks again after it."""
        under_way = self._taking.get(base)
        if under_way is not None:
            await under_way.wait()
            return
        done = self._taking[base] = trio.Event()
        leader: Leader | None = None
        try:
            own, others = self._peers(base)
            leader = Leader(self.epoch, own, others, nursery=self._nursery, agree_s=AGREE_S)
            with trio.CancelScope(shield=True) as scope:  # half a take-over would cost the epoch, while that lasts
                self._taken[leader] = scope
                await leader.take_over(base, create=create)
            if scope.cancelled_caught:
                raise NotLeader("this epoch ended meanwhile")
            self.leaders[base] = leader
        except (NotLeader, Fenced, Undecided) as error:
            self._quorum_failures.inc()
            _log.info("the reign over %s ends: %s could not be taken over: %s", self.name, base, error)
            self.end()
            raise NotLeader(f"{base} could not be taken over: {error}") from error
        finally:
            if leader is not None:
                self._taken.pop(leader, None)
            del self._taking[base]
            done.set()

    # The writers' calls

    def lead(self, base: str) -> int:
        leader = self.leaders.get(base)
        if leader is None or leader.over or self.over or not self.mandate.trusted:
            raise NotLeader(f"this peer does not surely lead {base}")
        return self.epoch

    def agree(self, entry: Entry, commit: Callable[[], object]) -> None:
        """As Committer.agree. This thread commits while the event loop has the peers take the entry.

        A commit that failed ends the reign at once: the next transaction would get the header that peers know the failed one by.
        """
        leader = self.leaders.get(entry.base)
        if leader is None or self.over:
            raise NotLeader(f"this peer does not lead {entry.base}")
        agreed: Future[None] = Future()
        self._doubted[entry.base] = entry.header  # before it can be seen
        try:
            self._token.run_sync_soon(self._begin, leader, entry, agreed)
        except trio.RunFinishedError as error:
            raise ShuttingDown("the service ends") from error
        try:
            commit()
        except Exception as error:
            _log.warning("%s: what the peers were told could not be committed here; the reign ends: %s", entry.base, error)
            self._failed = True
            self._soon(self.end)
            raise Undecided(f"{entry.base} could not be written at its leader; the next one finds out whether the change stays") from error
        agreed.result()
        self._soon(lambda: leader.committed(entry))

    def _begin(self, leader: Leader, entry: Entry, agreed: Future[None]) -> None:
        if self.over:
            agreed.set_exception(Undecided("this epoch is over; the next leader finds out whether the change stays"))
        else:
            self._nursery.start_soon(self._replicate, leader, entry, agreed)

    async def _replicate(self, leader: Leader, entry: Entry, agreed: Future[None]) -> None:
        try:
            await leader.replicate(entry)
        except FrazilError as error:
            self._quorum_failures.inc()
            self.end()
            agreed.set_exception(error if isinstance(error, Undecided) else Undecided(f"it is in this log only: {error}"))
        except BaseException:
            agreed.set_exception(Undecided("the service ended before it was agreed; the next leader finds out whether the change stays"))
            raise
        else:
            agreed.set_result(None)

    def _soon(self, function: Callable[[], object]) -> None:
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            return

    # Readers

    async def settle(self, base: str, header: Callable[[], Header]) -> None:
        """Returns when what was just read of the base may be told. header: where its file stands. Raises: NotLeader."""
        leader = self.leaders.get(base)
        if leader is not None and self._doubted.get(base, NOTHING) > leader.last:
            await leader.settled(header())
        self._check()

    # What is told

    def lag(self) -> Mapping[str, int]:
        """Entries that each peer lacks, summed over the bases taken over; those whose standing is unknown count one."""
        total = dict.fromkeys(self.others, 0)
        for leader in self.leaders.values():
            for peer, entries in leader.lag.items():
                total[peer] = total.get(peer, 0) + (1 if entries is None else entries)
        return total


class ReignCommit:
    """Implements Committer for the bases of one set: by whichever reign there is."""

    def __init__(self, took: Callable[[float], None]) -> None:
        """took: as Committer.took."""
        self.reign: Reign | None = None
        self.took = took

    def __repr__(self) -> str:
        return f"<ReignCommit {self.reign!r}>"

    def lead(self, base: str) -> int:
        return self._now(base).lead(base)

    def agree(self, entry: Entry, commit: Callable[[], object]) -> None:
        reign = self._now(entry.base)
        if reign.epoch != entry.header.epoch:
            raise NotLeader(f"the epoch of {entry.base} changed")
        reign.agree(entry, commit)

    def _now(self, base: str) -> Reign:
        reign = self.reign
        if reign is None:
            raise NotLeader(f"this peer does not lead {base}")
        return reign
