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
PATIENCE_S = 30.0
"""How long a store may be away until programs see EIO."""
TIMEOUT_S_MAX = 86_400.0
ID_MAX = (1 << 32) - 2
_WHOLE_MAX = {"umask": 0o777, "read_ahead": 1 << 20, "spool_size": 1 << 24}

_PASSED = frozenset(["suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync", "noatime"])
"""What the kernel looks after once it is told: mount(8) leaves that to a type's helper."""
_IDLE = frozenset(
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
        "relatime",
        "atime",
        "nodiratime",
        "strictatime",
        "lazytime",
        "rw",
        "nonempty",
    ]
)
"""Words of fstab that mount(8) looks after, or that change nothing here."""


PROFILES: dict[str, dict[str, object]] = {
    "safe": {"entry_timeout": 0.0, "attr_timeout": 0.0, "exclusive": True, "behind": False},
    "fast": {"entry_timeout": 60.0, "attr_timeout": 60.0},
    "media": {"entry_timeout": 300.0, "attr_timeout": 300.0, "read_ahead": 16_384},
}
"""safe: every name is asked for each time, O_EXCL holds among mounts, and what is closed is durable. fast: the kernel keeps names for a
minute unless it is told that they changed. media: for large files that are read in order."""
COLD = ("error", "wait", "restore")


@dataclass(frozen=True, slots=True)
class MountOptions:
    """target: "" for all buckets, else BUCKET or BUCKET/PREFIX.

    store         a store's first directory, or the file of a cluster's node
    home          folder for what the mount keeps for itself; None: the store's first directory
    entry_timeout, attr_timeout   seconds for which the kernel answers lookups and stat by itself
    writeback   the kernel gathers small writes and sends them later, at the latest when a file is closed
    behind      closing a small file and removing one doesn't wait for the store, though all see it; fsync does
    exclusive   O_EXCL is decided in the store at once
    buckets     folders may be made and removed where all buckets are: they are buckets; account: whose
    spool       a folder for what was written and is not stored yet; "": below `home`;  spool_size: MiB in it at most
    read_ahead  KiB that the kernel reads ahead of a program, when this is root
    patience    seconds for which calls wait for a store that is away, before they fail
    cold        reading an object of a cold class fails (error), or waits until it is restored (wait), which it also asks for (restore)
    """

    store: Path
    directory: Path
    target: str = ""
    home: Path | None = None
    ro: bool = False
    allow_other: bool = False
    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    umask: int = 0o022
    entry_timeout: float = ENTRY_TIMEOUT_S
    attr_timeout: float = ATTRIBUTE_TIMEOUT_S
    writeback: bool = True
    behind: bool = True
    exclusive: bool = False
    buckets: bool = True
    account: str = "admin"
    spool: str = ""
    spool_size: int = 4_096
    read_ahead: int = 4_096
    cold: str = "error"
    patience: float = PATIENCE_S
    kernel: tuple[str, ...] = ()

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
        return Path(self.spool) if self.spool else (self.home or self.store) / "mounts" / place

    def told(self, words: Iterable[str]) -> MountOptions:
        """With what `-o` says, each NAME, noNAME or NAME=VALUE, several with commas. Raises: ConfigError."""
        changes: dict[str, Any] = {}
        for word in (word for text in words for word in text.split(",") if word):
            name, _, value = word.partition("=")
            name = name.replace("-", "_")
            if name in _IDLE or name.startswith(("x_", "X_", "comment")):
                continue
            if name in _PASSED:
                changes["kernel"] = (*changes.get("kernel", self.kernel), name)
            elif name == "profile":
                changes |= _profile(value)
            else:
                changes |= _change(name, value if "=" in word else None)
        return replace(self, **changes)


_TYPES = {each.name: each.type for each in fields(MountOptions) if each.name not in ("store", "directory", "target", "home", "kernel")}


def _profile(name: str) -> dict[str, object]:
    if name not in PROFILES:
        raise ConfigError(f"a mount knows no profile {name!r}, but {', '.join(PROFILES)}")
    return PROFILES[name]


def _change(name: str, value: str | None) -> dict[str, object]:
    plain = name.removeprefix("no") if name not in _TYPES else name
    kind = _TYPES.get(plain)
    if kind is None or (plain != name and kind != "bool"):
        close = get_close_matches(name, list(_TYPES), 1)
        raise ConfigError(f"a mount knows no option {name!r}" + (f"; meant {close[0]!r}?" if close else f": it knows {', '.join(_TYPES)}"))
    if kind == "str":
        if not value:
            raise ConfigError(f"the option {name} is written {name}=...")
        if name == "cold" and value not in COLD:
            raise ConfigError(f"the option cold is one of {', '.join(COLD)}, not {value!r}")
        return {name: os.path.abspath(value) if name == "spool" else value}
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
    if not 0 <= whole <= _WHOLE_MAX.get(name, ID_MAX):
        raise ValueError(name)
    return whole
