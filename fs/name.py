"""Names in a mount and parts of keys: a rule that shows every key of S3 as a path, and takes every name back to the one key it means.

A part of a key (what lies between slashes) is its own name, but for these, which no path can hold:

    the empty part (of "//", "/x")      ‛e
    .  and  ..                          ‛.  and  ‛..
    NUL                                 ‛0
    ‛ where it would mean one of these  ‛‛
    a file beside a folder of its name  NAME‛f
    more than 255 bytes                 ‛l, a digest, and as much of the part as has room

‛ is U+201B. Each name that isn't what its own key would show as is refused, so two names never mean one key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b

ESCAPE = "\u201b"
NAME_BYTES_MAX = 255
KEY_BYTES_MAX = 1024
"""As meta/row.py has it."""
_DIGEST_CHARACTERS = 16
_EMPTY, _LONG, _BESIDE = ESCAPE + "e", ESCAPE + "l", ESCAPE + "f"
_AMBIGUOUS = re.compile(f"{ESCAPE}(?=[el0f.\0{ESCAPE}]|$)")
_ESCAPED = re.compile(f"{ESCAPE}([0{ESCAPE}])")


class NameUnusable(ValueError):
    """A name that no key is shown as, or that is no UTF-8."""


class NameTooLong(ValueError):
    """A name of more than NAME_BYTES_MAX bytes."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a name stands for. beside: it is a file beside a folder of that name; digest: `part` is unknown, only its digest is told."""

    part: str
    beside: bool = False
    digest: str = ""


def show(part: str, *, beside: bool = False) -> str:
    """The name of a part of a key."""
    end = _BESIDE if beside else ""
    if not part:
        return _EMPTY + end
    if part in (".", ".."):
        return ESCAPE + part + end
    name = _AMBIGUOUS.sub(ESCAPE * 2, part).replace("\0", ESCAPE + "0") if ESCAPE in part or "\0" in part else part
    name += end
    if len(name) * 4 > NAME_BYTES_MAX and len(name.encode()) > NAME_BYTES_MAX:
        return _long(part, end)
    return name


def digest_of(part: str) -> str:
    return blake2b(part.encode(), digest_size=_DIGEST_CHARACTERS // 2).hexdigest()


def parse(raw: bytes) -> Name:
    """Raises: NameUnusable, NameTooLong."""
    if len(raw) > NAME_BYTES_MAX:
        raise NameTooLong(f"a name has at most {NAME_BYTES_MAX} bytes")
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise NameUnusable("a name is valid UTF-8, as keys are") from error
    if ESCAPE not in name:
        return Name(name)
    found = _parse(name)
    if not found.digest and show(found.part, beside=found.beside) != name:
        raise NameUnusable("no key is shown by this name")
    return found


def _parse(name: str) -> Name:
    if name.startswith(_LONG):
        digest = name[len(_LONG) : len(_LONG) + _DIGEST_CHARACTERS]
        return Name("", name.endswith(_BESIDE), digest or "-")
    text, beside = name, False
    if name.endswith(_BESIDE) and not _escaped_at(name, len(name) - len(_BESIDE)):
        text, beside = name[: -len(_BESIDE)], True
    if text == _EMPTY:
        return Name("", beside)
    if text in (ESCAPE + ".", ESCAPE + ".."):
        return Name(text[len(ESCAPE) :], beside)
    return Name(_ESCAPED.sub(lambda match: "\0" if match[1] == "0" else ESCAPE, text), beside)


def _escaped_at(name: str, at: int) -> bool:
    """Whether the escape character at this place is itself the second of a pair."""
    return any(match.start() + 1 == at for match in _ESCAPED.finditer(name))


def _long(part: str, end: str) -> str:
    room = NAME_BYTES_MAX - len((_LONG + end).encode()) - _DIGEST_CHARACTERS
    safe = part.replace("\0", "").replace(ESCAPE, "")
    return _LONG + digest_of(part) + safe.encode()[:room].decode(errors="ignore") + end
