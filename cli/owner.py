"""Working as the user who runs a store, when root was asked to: what root made in it, the store's own process could not read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.log import get_logger

log = get_logger("owner")


def work_as_owner_of(path: Path) -> bool:
    """Root takes the effective ids of the file's owner, for good but for `as_root`; whether it did. Raises: OSError."""
    if os.geteuid() != 0:
        return False
    found = path.stat()
    if found.st_uid == 0:
        return False
    os.setgroups([found.st_gid])
    os.setegid(found.st_gid)
    os.seteuid(found.st_uid)
    log.info("works as the user %d, whose store it is", found.st_uid)
    return True


def make_file_as_owner_of(path: Path, new: Path) -> None:
    """An empty file in folders that are made, all of them the owner's of `path`. Raises: OSError."""
    found = path.stat()
    missing = [folder for folder in (new.parent, *new.parent.parents) if not folder.exists()]
    new.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new.touch(mode=0o600)
    if os.geteuid() == 0:
        for made in (new, *missing):
            os.chown(made, found.st_uid, found.st_gid, follow_symlinks=False)


@contextmanager
def as_root() -> Iterator[None]:
    """For what only root may do, if this process was root's; all threads are root meanwhile."""
    user = os.geteuid()
    if os.getuid() != 0 or user == 0:
        yield
        return
    os.seteuid(0)
    try:
        yield
    finally:
        os.seteuid(user)
