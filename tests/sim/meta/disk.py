"""A log on a disk that loses at a crash what was not synced: some prefix of the changes since the last sync survives."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from meta.commit import Entry, Header
from meta.peer import Standing

KEPT_MAX = 4
"""Entries that a log keeps for others to catch up; few, so that snapshots are needed often."""


NOTHING = Header(0, 0)


@dataclass(frozen=True)
class State:
    promised: int = 0
    header: Header = NOTHING
    entries: tuple[Entry, ...] = ()
    values: tuple[tuple[str, str], ...] = ()

    @property
    def table(self) -> dict[str, str]:
        return dict(self.values)


def change(key: str, value: str) -> bytes:
    return msgspec.json.encode((key, value))


def with_entry(state: State, entry: Entry) -> State:
    table = state.table
    if entry.script:
        key, value = msgspec.json.decode(entry.script)
        table[key] = value
    return replace(state, header=entry.header, entries=(*state.entries, entry)[-KEPT_MAX:], values=tuple(sorted(table.items())))


class SimLog:
    """Implements meta.peer.Log. The last of `states` is what the running node sees; those before `durable` are gone for good."""

    def __init__(self) -> None:
        self.states = [State()]
        self.durable = 0

    @property
    def state(self) -> State:
        return self.states[-1]

    def standing(self) -> Standing:
        return Standing(self.state.promised, self.state.header)

    def promise(self, epoch: int) -> None:
        self.states.append(replace(self.state, promised=epoch))

    def apply(self, entry: Entry, epoch: int) -> None:
        assert entry.previous == self.state.header
        self.states.append(with_entry(replace(self.state, promised=max(epoch, self.state.promised)), entry))

    def after(self, header: Header) -> Sequence[Entry] | None:
        if header == self.state.header:
            return []
        for at, entry in enumerate(self.state.entries):
            if entry.previous == header:
                return self.state.entries[at : at + 2]
        return None

    def copy(self) -> tuple[State, Header]:
        return self.state, self.state.header

    @staticmethod
    def change(key: str, value: str) -> bytes:
        return change(key, value)

    def install(self, snapshot: State, epoch: int) -> None:
        self.states.append(replace(snapshot, promised=max(epoch, self.state.promised), entries=()))

    def mark(self) -> int:
        return len(self.states) - 1

    def sync(self, mark: int) -> None:
        """All up to `mark` is durable now."""
        self.durable = max(self.durable, mark)

    def crash(self, chance: random.Random) -> None:
        survived = chance.randint(self.durable, len(self.states) - 1)
        self.states = [self.states[survived]]
        self.durable = 0
