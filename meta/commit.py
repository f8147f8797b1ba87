"""How an entry becomes durable: on this host alone, or (beside this form) on a majority of peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

LOCAL_EPOCH = 1


class Header(msgspec.Struct, frozen=True, order=True, array_like=True):
    """Where a base stands: epoch and index of the last entry applied. The greater one is further on."""

    epoch: int
    index: int


NOTHING = Header(0, 0)
"""Of a base without entries."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One SQLite transaction as the peers get it. previous: the header it follows on; script: see meta/script.py."""

    base: str
    previous: Header
    header: Header
    script: bytes


class Committer(Protocol):
    """Called in the writer's thread, may block."""

    def lead(self, base: str) -> int:
        """The epoch in which this process may write the base now; what it holds is current, then. Raises: NotLeader."""

    def agree(self, entry: Entry, commit: Callable[[], object]) -> None:
        """Has `commit` make the writer's own transaction durable, and returns when enough peers hold the entry that it will survive.

        Raises: NotLeader, and nobody has heard of the entry, nor was it committed; Undecided, and it may stay or not, here and elsewhere;
        what `commit` raises, where there are no others.
        """

    def took(self, seconds: float) -> None:
        """How long a durable write of a base took, own or another leader's."""


class LocalCommit:
    """One peer: the SQLite commit itself is the majority."""

    def lead(self, base: str) -> int:
        return LOCAL_EPOCH

    def agree(self, entry: Entry, commit: Callable[[], object]) -> None:
        commit()

    def took(self, seconds: float) -> None:
        return
