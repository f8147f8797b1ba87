"""A service's two scores: what its expressions say, slowly up and at once down. Pure.

A score of 0 says that it must not be used; so an expression's value below 1 counts as 1 unless it is 0 or less.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from meta.conscience.expression import compile_expression
from meta.conscience.protocol import Lock

SCORE_MAX = 100
RISE_MAX = 20
"""A report lifts a score by no more: a disk that comes and goes gets little. A service heard of for the first time starts where it is."""

_BUSY = "clamp(6.667 * (cpu - 5), 1, 100) * clamp(1.333 * (io - 5), 1, 100)"
_SYNC = "root(2, clamp(sync, 1, 100)) / 10"
_KEEPER = f"0 if space <= 1 else root(3, clamp(cpu, 1, 100) * clamp(io, 1, 100) * space) * {_SYNC}"


class Expressions(msgspec.Struct, frozen=True):
    """place: for new things; read: for what is there."""

    place: str
    read: str


DEFAULTS: Mapping[str, Expressions] = {
    "rawx": Expressions(
        f"0 if space <= 2 else trust / 100 * root(4, clamp(space, 1, 100) ** 2 * {_BUSY}) * {_SYNC}", f"trust / 100 * root(2, {_BUSY})"
    ),
    "meta": Expressions(_KEEPER, _KEEPER),
    "gateway": Expressions("1 + cpu", "1 + cpu"),
    "conscience": Expressions("1 + cpu", "1 + cpu"),
    "freezer": Expressions("100", "100"),
    "worker": Expressions("100", "100"),
}


class Scores(msgspec.Struct, frozen=True):
    place: int = 0
    read: int = 0


def scores(expressions: Expressions, statistics: Mapping[str, float], before: Scores | None) -> Scores:
    """before: what they were, None when the service is new."""
    place = _score(compile_expression(expressions.place)(statistics))
    read = _score(compile_expression(expressions.read)(statistics))
    if before is None:
        return Scores(place, read)
    return Scores(min(place, before.place + RISE_MAX), min(read, before.read + RISE_MAX))


def locked(found: Scores, lock: Lock | None) -> Scores:
    """What an operator's lock makes of them."""
    if lock is None:
        return found
    return Scores(found.place if lock.place is None else lock.place, found.read if lock.read is None else lock.read)


def _score(value: float) -> int:
    return 0 if not value > 0 else max(1, min(SCORE_MAX, round(min(value, SCORE_MAX))))
