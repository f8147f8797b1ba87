"""Patterns of policies: `*`, `?` and the variables ${key} that a request fills in. Pure.

A pattern is the parts between its stars; each is found at the first place that fits, so a match costs no more than looking through the
text once for each part, however many stars a hostile policy has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

Lookup = Callable[[str], Sequence[str]]
"""Values of a condition key in the request at hand; none when the request hasn't that key."""

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_NAMED = re.compile(r"\s*([^,\s]+)\s*(?:,\s*'([^']*)'\s*)?")
_ESCAPES = frozenset("*?$")


class Variable(msgspec.Struct, frozen=True):
    key: str
    default: str | None = None


class Literal(msgspec.Struct, frozen=True):
    """Text whose stars and question marks are just that."""

    text: str


Piece = str | Literal | Variable


class Part(msgspec.Struct, frozen=True):
    """What stands between two stars: `text`, or with question marks in it an expression for `length` characters."""

    text: str
    length: int
    expression: re.Pattern[str] | None = None

    def is_at(self, text: str, at: int) -> bool:
        return text.startswith(self.text, at) if self.expression is None else self.expression.match(text, at) is not None

    def find(self, text: str, at: int, end: int) -> int:
        if self.expression is None:
            return text.find(self.text, at, end)
        found = self.expression.search(text, at, end)
        return -1 if found is None else found.start()


class Pattern(msgspec.Struct, frozen=True):
    """parts: of a text without variables; else None, and they are made of `pieces` for each request."""

    pieces: tuple[Piece, ...]
    wild: bool
    ignore_case: bool
    parts: tuple[Part, ...] | None = None

    def matches(self, text: str, lookup: Lookup) -> bool:
        """A variable that the request has no value for matches nothing."""
        parts = self.parts
        if parts is None:
            filled = [_value(piece, lookup) for piece in self.pieces]
            if None in filled:
                return False
            parts = _parts([piece for piece in filled if piece is not None], self.wild, self.ignore_case)
        return _fits(parts, text.casefold() if self.ignore_case else text)


def compile_pattern(text: str, *, wild: bool = True, variables: bool = True, ignore_case: bool = False) -> Pattern:
    """wild: `*` and `?` mean any text and any character; variables: ${...} is one; ignore_case: only where nothing is wild."""
    assert not (wild and ignore_case)
    pieces: list[Piece] = []
    at = 0
    for found in _VARIABLE.finditer(text) if variables else ():
        named = _NAMED.fullmatch(found[1])
        if found[1] not in _ESCAPES and named is None:
            continue  # no variable, but text that looks like one
        pieces.append(text[at : found.start()])
        at = found.end()
        if found[1] in _ESCAPES:
            pieces.append(Literal(found[1]))
        elif named is not None:
            pieces.append(Variable(normal_key(named[1]), named[2]))
    pieces.append(text[at:])
    settled = [piece for piece in pieces if not isinstance(piece, Variable)]
    return Pattern(tuple(pieces), wild, ignore_case, _parts(settled, wild, ignore_case) if len(settled) == len(pieces) else None)


def normal_key(key: str) -> str:
    """A condition key as it is looked up: case counts only behind the slash (a tag's name)."""
    name, slash, tag = key.partition("/")
    return name.lower() + slash + tag


def _value(piece: Piece, lookup: Lookup) -> str | Literal | None:
    if not isinstance(piece, Variable):
        return piece
    values = lookup(piece.key)
    found = values[0] if len(values) == 1 else piece.default  # which of several is meant nobody can tell
    return None if found is None else Literal(found)


def _parts(pieces: Sequence[str | Literal], wild: bool, ignore_case: bool) -> tuple[Part, ...]:
    if not wild:
        text = "".join(piece.text if isinstance(piece, Literal) else piece for piece in pieces)
        return (_part([Literal(text.casefold() if ignore_case else text)]),)
    parts: list[list[str | Literal]] = [[]]
    for piece in pieces:
        if isinstance(piece, Literal):
            parts[-1].append(piece)
            continue
        first, *more = piece.split("*")
        parts[-1].append(first)
        parts += [[each] for each in more]
    return tuple(_part(part) for part in parts)


def _part(pieces: Sequence[str | Literal]) -> Part:
    text = "".join(piece.text if isinstance(piece, Literal) else piece for piece in pieces)
    if not any(isinstance(piece, str) and "?" in piece for piece in pieces):
        return Part(text, len(text))
    expression = "".join(
        re.escape(piece.text) if isinstance(piece, Literal) else ".".join(re.escape(each) for each in piece.split("?")) for piece in pieces
    )
    return Part("", len(text), re.compile(expression, re.DOTALL))


def _fits(parts: tuple[Part, ...], text: str) -> bool:
    first = parts[0]
    if len(parts) == 1:
        return len(text) == first.length and first.is_at(text, 0)
    last = parts[-1]
    at, end = first.length, len(text) - last.length
    if end < at or not first.is_at(text, 0) or not last.is_at(text, end):
        return False
    for part in parts[1:-1]:
        found = part.find(text, at, end)
        if found < 0:
            return False
        at = found + part.length
    return True
