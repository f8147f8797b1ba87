"""The state of one conscience instance: reports in, scores out. Pure; times are seconds of a clock that only grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from meta.conscience.protocol import KINDS, SERVICES_MAX, Lock, Registration, Service
from meta.conscience.score import DEFAULTS, Expressions, Scores, locked, scores
from node.errors import Busy, InvalidArgument

SILENT_S_MAX = 5.0
"""A service that said nothing for so long is dead until it speaks again."""
FORGET_S = 30 * 86_400.0
"""A dead one is listed so long; then it is taken for gone for good."""
NEVER_S = 1e9


class _Entry:
    __slots__ = ("heard_at", "registration", "scores")

    def __init__(self, registration: Registration, found: Scores, heard_at: float) -> None:
        self.registration = registration
        self.scores = found
        self.heard_at = heard_at


class Board:
    """All services by id. `locks` and `expressions` are an operator's, set from outside."""

    def __init__(self, known: Iterable[Registration] = (), *, now: float) -> None:
        """known: of an earlier life of this instance; dead until they report."""
        self.locks: Mapping[str, Lock] = {}
        self.expressions: Mapping[str, Expressions] = {}
        self._entries = {each.id: _Entry(each, Scores(), now - NEVER_S) for each in known}
        self._begun = now

    def __repr__(self) -> str:
        return f"<Board services={len(self._entries)} locks={len(self.locks)}>"

    def report(self, registration: Registration, now: float) -> None:
        """Raises: InvalidArgument, Busy when there are too many services."""
        if registration.kind not in KINDS or not registration.id:
            raise InvalidArgument(f"a service is one of {', '.join(KINDS)} and has an id")
        entry = self._entries.get(registration.id)
        if entry is None and len(self._entries) >= SERVICES_MAX:
            raise Busy(f"more than {SERVICES_MAX} services")
        expressions = self.expressions.get(registration.kind) or DEFAULTS[registration.kind]
        before = None if entry is None or entry.heard_at < self._begun else self._scores(entry, now)
        found = Scores() if registration.problem else scores(expressions, registration.statistics, before)
        if registration.draining:
            found = Scores(0, found.read)
        self._entries[registration.id] = _Entry(registration, found, now)

    def learn(self, known: Iterable[Registration], now: float) -> None:
        """Of another instance: what was never heard of here is dead until it reports."""
        for each in known:
            if each.id not in self._entries and len(self._entries) < SERVICES_MAX:
                self._entries[each.id] = _Entry(each, Scores(), now - NEVER_S)

    def services(self, now: float) -> tuple[Service, ...]:
        """All, in order of kind, location and id; what is long dead is forgotten meanwhile."""
        self._entries = {id: entry for id, entry in self._entries.items() if not _long_dead(now - entry.heard_at) or id in self.locks}
        found = [self._service(entry, now) for entry in self._entries.values()]
        return tuple(sorted(found, key=lambda each: (each.registration.kind, each.registration.location, each.id)))

    def forget(self, service: str) -> None:
        self._entries.pop(service, None)

    def known(self) -> list[Registration]:
        """For `Board(known)` of the next life."""
        return [msgspec.structs.replace(entry.registration, statistics={}) for entry in self._entries.values()]

    def _scores(self, entry: _Entry, now: float) -> Scores:
        return Scores() if now - entry.heard_at > SILENT_S_MAX else entry.scores

    def _service(self, entry: _Entry, now: float) -> Service:
        lock = self.locks.get(entry.registration.id)
        silent_s = now - entry.heard_at
        alive = self._scores(entry, now)
        final = alive if silent_s > SILENT_S_MAX else locked(alive, lock)
        return Service(
            entry.registration,
            final.place,
            final.read,
            "" if final.place and final.read else _reason(entry, final, silent_s, lock),
            silent_s=round(min(silent_s, NEVER_S), 1),
            locked=lock is not None,
            gone=lock is not None and lock.gone,
        )


def _long_dead(silent_s: float) -> bool:
    """Of one that was never heard of, since this instance knows of it."""
    return (silent_s if silent_s < NEVER_S else silent_s - NEVER_S) > FORGET_S


def _reason(entry: _Entry, final: Scores, silent_s: float, lock: Lock | None) -> str:
    if lock is not None and lock.gone:
        return "given up by an operator"
    if silent_s > SILENT_S_MAX:
        return "not heard of since this conscience began" if silent_s >= NEVER_S else f"not heard of for {silent_s:.0f} s"
    if entry.registration.problem:
        return entry.registration.problem
    if lock is not None and (lock.place == 0 or lock.read == 0):
        return "locked by an operator"
    if entry.registration.draining:
        return "draining"
    return "no room" if entry.registration.statistics.get("space", 100.0) <= 2 else "its statistics say so"
