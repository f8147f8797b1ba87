"""What is due for the versions of a key: the rules applied. Pure.

Versions come key by key, newest first, as listings have them. What a decision rested upon goes with it (`newer`, `alone`), so that it can
be refused when it is otherwise by the time it is carried out.

Theory of operation. A current version expires, else it moves; a version that is not current goes for good, else it moves. Of several
moves that are due the coldest counts; nothing moves to a warmer class. A delete marker without other versions goes when a rule says so,
or when it is as old as a rule lets current versions become.

Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html, lifecycle-conflicts.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-transition-general-considerations.html
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import get_args

import msgspec

from glacier.lifecycle.calendar import Calendar
from glacier.lifecycle.rule import Lifecycle, NoncurrentExpiration, NoncurrentTransition, Rule, Scope, StorageClass, due_us
from meta.protocol.listing import Listed

SMALL_BYTES = 128 << 10
"""What is smaller is not worth moving, unless the rule speaks of sizes itself."""
NEWER_MAX = 101
"""Newer versions of a key that a decision can rest upon: S3 keeps at most 100, and the one that took the version's place."""
RANKS = {name: rank for rank, name in enumerate(get_args(StorageClass))}
"""The warmest first; what is in none of these is warmer than all."""
_ANY_SIZE = frozenset({"GLACIER", "DEEP_ARCHIVE"})


class Kind(Enum):
    EXPIRE = "expire"
    """As a DELETE without version: where versions are kept, a marker hides the object."""
    DELETE = "delete"
    """A version that is not current, for good."""
    UNMARK = "unmark"
    """A delete marker that hides nothing."""
    MOVE = "move"
    ABORT = "abort"
    """An upload in parts that was never completed."""


class Action(msgspec.Struct, frozen=True):
    """rule: its id;  storage_class: where MOVE goes;  newer: versions of the key that must still be there;  alone: and no others."""

    kind: Kind
    rule: str
    storage_class: str = ""
    newer: tuple[int, ...] = ()
    alone: bool = False


class Rules(msgspec.Struct, frozen=True):
    """A bucket's. varies: the least size for a move depends on the class (`TransitionDefaultMinimumObjectSize`)."""

    lifecycle: Lifecycle
    varies: bool = False


class Planner:
    """Goes through the versions of one bucket."""

    def __init__(self, rules: Rules, calendar: Calendar, now_us: int) -> None:
        self._active = [(rule, rule.scope) for rule in rules.lifecycle.rules if rule.status == "Enabled"]
        self._varies = rules.varies
        self._calendar = calendar
        self._now_us = now_us
        self._key = ""
        self._newer: deque[int] = deque(maxlen=NEWER_MAX)
        self._place = 0

    def __repr__(self) -> str:
        return f"<Planner rules={len(self._active)} key={self._key!r} place={self._place}>"

    def __len__(self) -> int:
        """Rules in force."""
        return len(self._active)

    @property
    def prefix(self) -> str:
        """All keys that any rule is about begin with it."""
        prefixes = [scope.prefix for _, scope in self._active] or [""]
        least, most = min(prefixes), max(prefixes)  # what these two begin with alike, all do
        same = next((at for at, (one, other) in enumerate(zip(least, most, strict=False)) if one != other), min(len(least), len(most)))
        return least[:same]

    @property
    def of_uploads(self) -> bool:
        return any(rule.abort_upload is not None for rule, _ in self._active)

    def wants_tags(self, version: Listed) -> bool:
        """Whether tags can make a difference."""
        return not version.marker and any(scope.tags and _about(scope, version) for _, scope in self._active)

    def decide(self, version: Listed, tags: Mapping[str, str], *, last: bool) -> Action | None:
        """tags: {} when they make no difference; last: no other version of the key follows, as far as is known."""
        if version.key != self._key:
            self._key, self._place = version.key, 0
            self._newer.clear()
        place, self._place = self._place, self._place + 1
        concerned = [rule for rule, scope in self._active if scope.holds(version.key, tags, version.size)]
        if place:
            found = self._of_noncurrent(version, place, concerned)
        elif version.marker:
            found = self._of_marker(version, concerned) if last else None
        else:
            found = self._of_current(version, concerned)
        self._newer.appendleft(version.version)
        return found

    def _of_marker(self, version: Listed, rules: list[Rule]) -> Action | None:
        for rule in rules:
            wish = rule.expiration
            if wish is None or wish.expired_object_delete_marker is False:
                continue
            if wish.expired_object_delete_marker or due_us(wish, version.mtime_us, self._calendar) <= self._now_us:
                return Action(Kind.UNMARK, rule.id, alone=True)
        return None

    def _of_current(self, version: Listed, rules: list[Rule]) -> Action | None:
        for rule in rules:
            wish = rule.expiration
            if wish is None or wish.expired_object_delete_marker is not None:
                continue
            if due_us(wish, version.mtime_us, self._calendar) <= self._now_us:
                return Action(Kind.EXPIRE, rule.id)
        due = (
            (rule, each.storage_class)
            for rule in rules
            for each in rule.transitions
            if due_us(each, version.mtime_us, self._calendar) <= self._now_us
        )
        return self._coldest(version, due, ())

    def _of_noncurrent(self, version: Listed, place: int, rules: list[Rule]) -> Action | None:
        since_us = self._newer[0]  # it was current until then

        def is_due(wish: NoncurrentExpiration | NoncurrentTransition) -> bool:
            kept = place - 1 < (wish.newer_noncurrent_versions or 0)
            return not kept and self._calendar.after(since_us, wish.noncurrent_days) <= self._now_us

        for rule in rules:
            last = rule.noncurrent_expiration
            if last is not None and is_due(last):
                return Action(Kind.DELETE, rule.id, newer=self._rests_upon(last.newer_noncurrent_versions))
        if version.marker:
            return None
        due = [(rule, each) for rule in rules for each in rule.noncurrent_transitions if is_due(each)]
        newer = self._rests_upon(max((each.newer_noncurrent_versions or 0 for _, each in due), default=0))
        return self._coldest(version, ((rule, each.storage_class) for rule, each in due), newer)

    def _rests_upon(self, kept: int | None) -> tuple[int, ...]:
        """The version that took this one's place, and as many before it as are kept beside the current one."""
        return tuple(self._newer)[: (kept or 0) + 1]

    def _coldest(self, version: Listed, due: Iterator[tuple[Rule, str]], newer: tuple[int, ...]) -> Action | None:
        best, rank = None, RANKS.get(version.storage_class, -1)
        for rule, storage_class in due:
            if RANKS[storage_class] > rank and self._is_worth(rule, version.size, storage_class):
                best, rank = Action(Kind.MOVE, rule.id, storage_class, newer), RANKS[storage_class]
        return best

    def _is_worth(self, rule: Rule, size: int, storage_class: str) -> bool:
        scope = rule.scope
        if size >= SMALL_BYTES or scope.larger_than is not None or scope.smaller_than is not None:
            return True
        return self._varies and storage_class in _ANY_SIZE


def _about(scope: Scope, version: Listed) -> bool:
    """But for its tags."""
    return scope.holds(version.key, {tag.key: tag.value for tag in scope.tags}, version.size)
