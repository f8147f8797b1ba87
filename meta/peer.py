"""A peer's side of replication: what it may do to its log when a leader asks. Decisions only; who calls brings log and network.

Theory of operation. A base is a sequence of entries, each known by its header (epoch, index). A leader works in one epoch, which no other
leader ever has (ZooKeeper's czxid), and makes at most one entry per index in it. A peer promises each epoch it hears of, durably, and
refuses all lower ones; it takes an entry only directly behind its own last. So two logs that share a header share all before it, and a
majority that promised an epoch is lost to every older leader. A new leader asks a majority, goes on from the greatest header among them
(which has every committed entry, for it met a member of each majority), and commits an empty entry of its own before it serves anyone:
older entries count as committed only through it. What a peer holds beyond the leader's history was never committed, and is replaced.

Source: Ongaro, Ousterhout: In Search of an Understandable Consensus Algorithm (2014), section 5.4, without its election.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

import msgspec

from meta.commit import Entry, Header
from node.errors import Behind, Fenced

S = TypeVar("S")
Taken = TypeVar("Taken", contravariant=True)


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """Where a peer stands. promised: the highest epoch it heard of; header: of its last entry."""

    promised: int
    header: Header


class Log(Protocol[Taken]):
    """One base at one peer. Each change is durable, wholly or not at all, before anyone outside hears of it."""

    def standing(self) -> Standing: ...

    def promise(self, epoch: int) -> None: ...

    def apply(self, entry: Entry, epoch: int) -> None:
        """Takes the entry and promises the epoch, in one step."""

    def install(self, snapshot: Taken, epoch: int) -> None:
        """Replaces everything by the snapshot and promises the epoch, in one step."""


class Follower(Generic[S]):
    """The calls that a leader of `epoch` makes. No call waits, so each is atomic."""

    def __init__(self, log: Log[S]) -> None:
        self.log = log

    def __repr__(self) -> str:
        return f"<Follower {self.log.standing()}>"

    def survey(self, epoch: int) -> Standing:
        """Promises the epoch. Raises: Fenced."""
        self._admit(epoch)
        return self.log.standing()

    def append(self, epoch: int, entry: Entry) -> Standing:
        """Takes the entry if it follows on the last one; the standing tells. Raises: Fenced."""
        standing = self._admit(epoch)
        if entry.previous == standing.header and entry.header.epoch <= epoch:
            self.log.apply(entry, epoch)
        return self.log.standing()

    def install(self, epoch: int, snapshot: S, header: Header) -> Standing:
        """Replaces the log by the leader's, which ends with `header`, unless it has as much of it already: a snapshot that comes late
        must not undo what was acknowledged since. Raises: Fenced."""
        standing = self._admit(epoch)
        if standing.header.epoch != epoch or standing.header.index < header.index:
            self.log.install(snapshot, epoch)
        return self.log.standing()

    def _admit(self, epoch: int) -> Standing:
        standing = self.log.standing()
        if standing.promised > epoch:
            raise Fenced(f"epoch {epoch} is over: this peer has promised {standing.promised}")
        if standing.promised < epoch:
            self.log.promise(epoch)
        return standing


def check_source(promised: int, epoch: int) -> None:
    """Nobody may catch up in `epoch` from a peer that has moved on to another leader. Raises: Fenced, Behind."""
    if promised > epoch:
        raise Fenced(f"this peer has promised epoch {promised}, not {epoch}")
    if promised < epoch:
        raise Behind(f"this peer has not heard of epoch {epoch} yet")
