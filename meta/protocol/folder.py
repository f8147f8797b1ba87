"""A bucket seen as folders."""

from __future__ import annotations

import msgspec

from meta.protocol.object import Dropped, ObjectRow

BROWSE_LIMIT_MAX = 1_000
FOLDER_END = "/"
"""Of the keys that programs which show them as paths take for folders."""
BEHIND = chr(ord(FOLDER_END) + 1)
"""Every key below "a/" is less than "a0"."""


def folder_of(key: str) -> str:
    """The prefix that a key's last part stands behind."""
    return key[: key.rfind(FOLDER_END) + 1]


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """What lies directly below a prefix: an object, or a folder, whose key ends in FOLDER_END. Rows come without their layouts.

    row       of a folder the object that has its very key, None when there is none
    shadowed  beside this object there is a folder of that name
    """

    key: str
    row: ObjectRow | None = None
    shadowed: bool = False


class BrowsePage(msgspec.Struct, frozen=True, omit_defaults=True):
    """nodes in order of their keys; begin: where the next page begins, "" when there is none. A page may be empty and yet not the last."""

    nodes: list[Node]
    begin: str = ""


class Peek(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a name stands for. row: the object with that key; folder: keys lie below it; marker: the object that has the folder's key."""

    row: ObjectRow | None = None
    folder: bool = False
    marker: ObjectRow | None = None


class Moved(msgspec.Struct, frozen=True, omit_defaults=True):
    """count: of objects that have other keys now; dropped: contents of what was replaced."""

    count: int
    dropped: tuple[Dropped, ...] = ()


class ChangedKey(msgspec.Struct, frozen=True, array_like=True):
    """folder: any key that begins with this one may have come or gone, too."""

    key: str
    folder: bool = False


class Changes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was changed behind an entry of a container's log. entry: the last one that was looked at; lost: some are not there any more."""

    entry: int
    keys: list[ChangedKey] = []
    lost: bool = False
