"""Patterns of policies: `*`, `?` and the variables ${key} that a request fills in. Pure.

A pattern is translated to a regular expression whose every `*` is settled at the first place that fits (atomic groups): a match costs
at most pattern times text, however many stars a hostile policy has.
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


class Pattern(msgspec.Struct, frozen=True):
    """fixed: the expression, when the text has no variables; else it is made from `pieces` for each request.

    pieces   text whose stars count (str), text taken literally (bytes, UTF-8), and variables
    """

    pieces: tuple[str | bytes | Variable, ...]
    wild: bool
    ignore_case: bool
    fixed: re.Pattern[str] | None = None

    def matches(self, text: str, lookup: Lookup) -> bool:
        """A variable that the request has no value for matches nothing."""
        expression = self.fixed
        if expression is None:
            filled = [_value(piece, lookup) for piece in self.pieces]
            if None in filled:
                return False
            expression = _translate([piece for piece in filled if piece is not None], self.wild, self.ignore_case)
        return expression.fullmatch(text) is not None

    @property
    def open(self) -> bool:
        """Whether it fits more than one text."""
        return any(isinstance(piece, Variable) or (self.wild and isinstance(piece, str) and _WILD.search(piece)) for piece in self.pieces)


_WILD = re.compile(r"[*?]")


def compile_pattern(text: str, *, wild: bool = True, variables: bool = True, ignore_case: bool = False) -> Pattern:
    """wild: `*` and `?` mean any text and any character; variables: ${...} is one."""
    pieces: list[str | bytes | Variable] = []
    at = 0
    for found in _VARIABLE.finditer(text) if variables else ():
        named = _NAMED.fullmatch(found[1])
        if found[1] not in _ESCAPES and named is None:
            continue  # no variable, but text that looks like one
        pieces.append(text[at : found.start()])
        at = found.end()
        if found[1] in _ESCAPES:
            pieces.append(found[1].encode())
        elif named is not None:
            pieces.append(Variable(normal_key(named[1]), named[2]))
    pieces.append(text[at:])
    settled = [piece for piece in pieces if not isinstance(piece, Variable)]
    fixed = _translate(settled, wild, ignore_case) if len(settled) == len(pieces) else None
    return Pattern(tuple(pieces), wild, ignore_case, fixed)


def normal_key(key: str) -> str:
    """A condition key as it is looked up: case counts only behind the slash (a tag's name)."""
    name, slash, tag = key.partition("/")
    return name.lower() + slash + tag


def _value(piece: str | bytes | Variable, lookup: Lookup) -> str | bytes | None:
    if not isinstance(piece, Variable):
        return piece
    values = lookup(piece.key)
    found = values[0] if len(values) == 1 else piece.default  # which of several is meant nobody can tell
    return None if found is None else found.encode("utf-8", "surrogatepass")


def _translate(pieces: Sequence[str | bytes], wild: bool, ignore_case: bool) -> re.Pattern[str]:
    flags = re.DOTALL | re.IGNORECASE if ignore_case else re.DOTALL
    parts = [""]  # expressions between the stars
    for piece in pieces:
        if isinstance(piece, bytes) or not wild:
            parts[-1] += re.escape(piece.decode("utf-8", "surrogatepass") if isinstance(piece, bytes) else piece)
            continue
        first, *more = piece.split("*")
        parts[-1] += _characters(first)
        parts += [_characters(each) for each in more]
    if len(parts) == 1:
        return re.compile(parts[0], flags)
    middle = "".join(f"(?>.*?{part})" for part in parts[1:-1] if part)
    return re.compile(f"{parts[0]}{middle}.*{parts[-1]}", flags)


def _characters(text: str) -> str:
    return ".".join(re.escape(each) for each in text.split("?"))
