"""Include and exclude patterns for names below a folder or prefix. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from node.errors import InvalidArgument

PATTERN_CHARACTERS_MAX = 1024


@lru_cache(maxsize=256)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression over the whole relative name.

    `*` and `?` stay within one step of the path, `**` crosses steps, `[abc]`, `[a-z]` and `[!a]` are sets.
    A pattern without a slash matches the last step at any depth; one that ends in a slash matches everything below such a folder.
    Raises: InvalidArgument.
    """
    if not pattern or len(pattern) > PATTERN_CHARACTERS_MAX:
        raise InvalidArgument(f"a pattern has 1 to {PATTERN_CHARACTERS_MAX} characters")
    body = pattern[:-1] if pattern.endswith("/") else pattern
    anywhere = "/" not in body
    expression = _translate(body.removeprefix("/"))
    start = r"(?:.*/)?" if anywhere else ""
    stop = r"/.*" if pattern.endswith("/") else ""
    try:
        return re.compile(f"{start}{expression}{stop}", re.DOTALL)
    except re.error as error:
        raise InvalidArgument(f"pattern {pattern!r}: {error}") from error


def _translate(pattern: str) -> str:
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if pattern.startswith("**", at):
            while pattern.startswith("*", at):
                at += 1
            if pattern.startswith("/", at) and (at < 3 or pattern[at - 3] == "/"):  # a/**/b matches a/b too
                parts.append(r"(?:.*/)?")
                at += 1
            else:
                parts.append(r".*")
            continue
        if char == "*":
            parts.append(r"[^/]*")
        elif char == "?":
            parts.append(r"[^/]")
        elif char == "[":
            stop = pattern.find("]", at + 2)
            if stop < 0:
                raise InvalidArgument(f"pattern {pattern!r}: '[' has no ']'")
            inside = pattern[at + 1 : stop]
            negated = inside[0] in "!^"
            parts.append(f"[{'^/' if negated else ''}{_members(inside[1:] if negated else inside)}]")
            at = stop
        else:
            parts.append(re.escape(char))
        at += 1
    return "".join(parts)


def _members(inside: str) -> str:
    """What stands between brackets, for `re`: a hyphen between two others is a range, everything else stands for itself."""
    last = len(inside) - 1
    ranges = [0 < at < last and char == "-" and "-" not in (inside[at - 1], inside[at + 1]) for at, char in enumerate(inside)]
    return "".join(char if is_range else re.escape(char) for char, is_range in zip(inside, ranges, strict=True))


@dataclass(frozen=True, slots=True)
class Filter:
    """A name passes when it matches an include pattern (or there are none) and no exclude pattern."""

    include: tuple[re.Pattern[str], ...] = ()
    exclude: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def parse(cls, include: Iterable[str], exclude: Iterable[str]) -> Filter:
        return cls(tuple(compile_pattern(text) for text in include), tuple(compile_pattern(text) for text in exclude))

    def passes(self, name: str) -> bool:
        if self.include and not any(pattern.fullmatch(name) for pattern in self.include):
            return False
        return not any(pattern.fullmatch(name) for pattern in self.exclude)
