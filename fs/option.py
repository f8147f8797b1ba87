"""What a mount can be told, in the words of mount(8); each number is a limit or a time that a person may want to change."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fs.attribute import Defaults
from node.errors import ConfigError

ENTRY_TIMEOUT_S = 1.0
ATTRIBUTE_TIMEOUT_S = 1.0
TIMEOUT_S_MAX = 86_400.0
ID_MAX = (1 << 32) - 2

_KERNELS = frozenset(
    [
        "defaults",
        "auto",
        "noauto",
        "user",
        "nouser",
        "users",
        "owner",
        "group",
        "nofail",
        "_netdev",
        "nosuid",
        "nodev",
        "noexec",
        "exec",
        "suid",
        "dev",
        "async",
        "sync",
        "dirsync",
        "relatime",
        "noatime",
        "atime",
        "nodiratime",
        "strictatime",
        "lazytime",
        "rw",
        "nonempty",
    ]
)
"""Words of fstab that mount(8) or the kernel looks after, or that change nothing here."""


@dataclass(frozen=True, slots=True)
class MountOptions:
    """target: "" for all buckets, else BUCKET or BUCKET/PREFIX.

    entry_timeout, attr_timeout, negative_timeout   seconds for which the kernel answers lookups, stat and missing names by itself
    buckets     folders may be made and removed where all buckets are: they are buckets; account: whose
    spool       a folder for what was written and is not stored yet; "": in the store's first directory
    writeback   the kernel gathers small writes and sends them later, at the latest when a file is closed
    """

    store: Path
    directory: Path
    target: str = ""
    ro: bool = False
    allow_other: bool = False
    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    umask: int = 0o022
    entry_timeout: float = ENTRY_TIMEOUT_S
    attr_timeout: float = ATTRIBUTE_TIMEOUT_S
    negative_timeout: float = 0.0
    writeback: bool = True
    buckets: bool = True
    account: str = "admin"
    spool: str = ""

    @property
    def defaults(self) -> Defaults:
        return Defaults(self.uid, self.gid, 0o666 & ~self.umask, 0o777 & ~self.umask)

    @property
    def place(self) -> tuple[str, str]:
        """(bucket, prefix); the prefix ends in "/" or is ""."""
        bucket, _, prefix = self.target.partition("/")
        return bucket, prefix and prefix.rstrip("/") + "/"

    @property
    def spool_path(self) -> Path:
        place = blake2b(f"{self.target}\n{self.directory}".encode(), digest_size=8).hexdigest()
        return Path(self.spool) if self.spool else self.store / "mounts" / place

    def told(self, words: Iterable[str]) -> MountOptions:
        """With what `-o` says, each NAME, noNAME or NAME=VALUE, several with commas. Raises: ConfigError."""
        changes: dict[str, Any] = {}
        for word in (word for text in words for word in text.split(",") if word):
            name, _, value = word.partition("=")
            name = name.replace("-", "_")
            if name in _KERNELS or name.startswith(("x_", "comment")):
                continue
            changes |= _change(name, value if "=" in word else None)
        return replace(self, **changes)


_TYPES = {each.name: each.type for each in fields(MountOptions) if each.name not in ("store", "directory", "target")}


def _change(name: str, value: str | None) -> dict[str, object]:
    plain = name.removeprefix("no") if name not in _TYPES else name
    kind = _TYPES.get(plain)
    if kind is None or (plain != name and kind != "bool"):
        close = get_close_matches(name, list(_TYPES), 1)
        raise ConfigError(f"a mount knows no option {name!r}" + (f"; meant {close[0]!r}?" if close else f": it knows {', '.join(_TYPES)}"))
    if kind == "str":
        if not value:
            raise ConfigError(f"the option {name} is written {name}=...")
        return {name: value}
    if kind == "bool":
        if value is not None:
            raise ConfigError(f"the option {name} has no value")
        return {plain: plain == name}
    try:
        return {name: _number(name, kind, value or "")}
    except ValueError as error:
        raise ConfigError(f"the option {name} is written {name}=NUMBER, not {value!r}") from error


def _number(name: str, kind: object, value: str) -> int | float:
    """Raises: ValueError."""
    if kind == "float":
        number = float(value)
        if not 0 <= number <= TIMEOUT_S_MAX or math.isnan(number):
            raise ValueError(name)
        return number
    whole = int(value, 8 if name == "umask" else 10)
    if not 0 <= whole <= (0o777 if name == "umask" else ID_MAX):
        raise ValueError(name)
    return whole
