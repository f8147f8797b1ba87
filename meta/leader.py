"""The leader's side of replication: one base in one epoch. See meta/peer.py for why it is safe.

One task per peer that lacks something drives that peer: it pushes the entry under way when the peer stands just before it, else lets
the peer pull what it lacks from the leader's own log. The writer waits for a majority only; the others follow in their own time.

The leader's log takes an entry while the peers do, so that no sync waits for another. What can be read here may therefore be in doubt for
a moment; `settled` waits until it is not, and nobody is answered before. When no majority comes together the entry stays in this log, as it
may in any peer's: the next leader goes on from it, or replaces it.

Source for both: Ongaro: Consensus, Bridging Theory and Practice (2014), section 10.2.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import trio

from meta.commit import NOTHING, Entry, Header
from meta.peer import Standing
from node.errors import BaseCorrupt, BaseNotFound, Behind, Fenced, FrazilError, NotLeader, Undecided
from node.log import get_logger

AGREE_S = 5.0
"""How long a majority may take to hold an entry; after that nobody knows who holds it, and the epoch is over."""
RETRY_S = (0.05, 2.0)
"""Pause before a peer that failed is asked again: the first, and the longest."""

_log = get_logger("meta.leader")


class Peer(Protocol):
    """A peer of one base as the leader sees it: over the network, or itself. All raise Fenced; PeerUnreachable, DeadlineExceeded and the
    like, after which the call may or may not have happened, or may still happen."""

    @property
    def name(self) -> str: ...

    async def survey(self, epoch: int) -> Standing:
        """Promises the epoch."""

    async def append(self, epoch: int, entry: Entry) -> Standing:
        """Takes the entry if it follows on the peer's last one; the standing tells."""

    async def pull(self, epoch: int, source: str) -> Standing:
        """Catches up from the peer `source`: by entries while that has them, else by a snapshot."""


@dataclass(eq=False, slots=True)
class _Followed:
    peer: Peer
    header: Header | None = None
    driven: bool = False
    failed_s: float = 0.0


class Leader:
    """Used in one event loop; `take_over` first, then one `replicate` and `committed` after the other, until `over`."""

    def __init__(self, epoch: int, own: Peer, others: Iterable[Peer], *, nursery: trio.Nursery, agree_s: float = AGREE_S) -> None:
        """nursery: runs the tasks that drive the peers, which outlive single calls."""
        self.epoch = epoch
        self.over = False
        self._own = own
        self._followed = [_Followed(peer) for peer in others]
        self._majority = (len(self._followed) + 1) // 2 + 1
        self._nursery = nursery
        self._agree_s = agree_s
        self._last = Header(0, 0)
        self._pending: Entry | None = None
        self._changed = trio.Event()

    def __repr__(self) -> str:
        lacking = [followed.peer.name for followed in self._followed if followed.header != self._last]
        return f"<Leader epoch={self.epoch} last={self._last} lacking={lacking} over={self.over}>"

    @property
    def last(self) -> Header:
        """Of the newest entry that is agreed."""
        return self._last

    @property
    def lag(self) -> dict[str, int | None]:
        """Entries that each peer lacks; None while that is not known."""
        return {
            followed.peer.name: None if followed.header is None else max(0, self._last.index - followed.header.index)
            for followed in self._followed
        }

    async def take_over(self, base: str, *, create: bool = True) -> Header:
        """Makes this node's log the furthest of a majority and commits an empty entry: only then may anyone be answered.

        Raises: BaseNotFound when no peer of a majority has it, and not `create`; BaseCorrupt when too many have a damaged one; Fenced,
        NotLeader, Undecided, what the peers raise. This leader is over then.
        """
        try:
            found = await self._survey()
            best, furthest = max(found.items(), key=lambda item: item[1])
            if furthest == NOTHING and not create:
                raise BaseNotFound(f"there is no base {base}")
            own = found.get(self._own.name)
            if own != furthest:
                own = (await self._own.pull(self.epoch, best)).header
                if own < furthest:
                    raise Behind(f"{best} did not give all that it has")
            self._last = own
            empty = Entry(base, self._last, Header(self.epoch, self._last.index + 1), b"")
            await self.replicate(empty)
            standing = await self._own.append(self.epoch, empty)
            if standing.header != empty.header or self.over:
                raise NotLeader("this epoch ended while the base was taken over")
        except BaseException:
            self.end()
            raise
        self.committed(empty)
        return empty.header

    async def _survey(self) -> dict[str, Header]:
        """Where the peers of a majority stand that have promised the epoch; this node among them unless its replica is damaged."""
        found: dict[str, Header] = {}
        enough = trio.Event()
        failures: list[FrazilError] = []

        async def ask(followed: _Followed) -> None:
            try:
                followed.header = found[followed.peer.name] = (await followed.peer.survey(self.epoch)).header
            except FrazilError as error:
                failures.append(error)
            if len(found) >= self._majority:
                enough.set()

        with trio.move_on_after(self._agree_s):
            async with trio.open_nursery() as nursery:
                for followed in [_Followed(self._own), *self._followed]:
                    nursery.start_soon(ask, followed)
                await enough.wait()
                nursery.cancel_scope.cancel()
        if len(found) < self._majority:
            peers, damaged = len(self._followed) + 1, sum(isinstance(failure, BaseCorrupt) for failure in failures)
            if damaged > peers - self._majority:  # no other leader would find a majority either
                hint = "make it anew with `frazil rebuild meta`"
                raise BaseCorrupt(f"the replicas of {damaged} of {peers} peers are damaged: {hint}") from failures[0]
            raise NotLeader(f"{len(found)} of {peers} peers answer; {self._majority} are needed") from (failures[0] if failures else None)
        return found

    async def replicate(self, entry: Entry) -> None:
        """Returns when a majority, this node counted, holds the entry. The caller takes it into this node's own log meanwhile, and calls
        `committed` when both is done, or `end` when it could not.

        Raises: NotLeader, and no peer has heard of it; Undecided, and some peer may hold it. The epoch is over in both cases.
        """
        if self.over or entry.previous != self._last:
            self.end()
            raise NotLeader("this epoch is over")
        self._pending = entry
        self._drive_all()
        with trio.move_on_after(self._agree_s):
            while not self.over:
                if 1 + sum(followed.header == entry.header for followed in self._followed) >= self._majority:
                    return
                await self._changed.wait()
        self.end()
        raise Undecided("no majority of the peers was seen to hold the change; the next leader finds out whether it stays")

    def committed(self, entry: Entry) -> None:
        """A majority holds the entry, this node's own log among them."""
        self._last = entry.header
        self._pending = None
        self._notify()
        self._drive_all()

    async def settled(self, header: Header) -> None:
        """Returns when all is agreed up to `header`, which was seen in this node's own log. Raises: NotLeader when it will not be here."""
        while self._last < header:
            if self.over:
                raise NotLeader("this epoch ended before it was agreed")
            await self._changed.wait()

    def doubt(self, peer: str) -> None:
        """It may stand elsewhere than it was known to: it is asked, and driven."""
        for followed in self._followed:
            if followed.peer.name == peer:
                followed.header = None
        self._drive_all()

    def end(self) -> None:
        """Nothing is sent by this leader any more."""
        self.over = True
        self._pending = None
        self._notify()

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _drive_all(self) -> None:
        if self.over:
            return
        goal = self._pending.header if self._pending else self._last
        for followed in self._followed:
            if not followed.driven and followed.header != goal:
                followed.driven = True
                self._nursery.start_soon(self._drive, followed)

    async def _drive(self, followed: _Followed) -> None:
        """Until the peer has everything or the epoch is over."""
        try:
            while not self.over:
                pending = self._pending
                if followed.header == (pending.header if pending else self._last):
                    return
                try:
                    await self._step(followed, pending)
                except FrazilError as error:
                    await self._pause(followed, error)
                else:
                    followed.failed_s = 0.0
                self._notify()
        finally:
            followed.driven = False

    async def _step(self, followed: _Followed, pending: Entry | None) -> None:
        peer = followed.peer
        if pending is not None and followed.header in (None, pending.previous):
            followed.header = (await peer.append(self.epoch, pending)).header
            return
        before, followed.header = followed.header, (await peer.pull(self.epoch, self._own.name)).header
        if followed.header == before:
            raise Behind(f"{peer.name} stays at {before}")

    async def _pause(self, followed: _Followed, error: FrazilError) -> None:
        if isinstance(error, Fenced):
            self.end()
            return
        first, longest = RETRY_S
        followed.failed_s = min(max(first, followed.failed_s * 2), longest)
        _log.debug("a peer of a base does not follow: %s: %s", followed.peer.name, error)
        await trio.sleep(followed.failed_s)
