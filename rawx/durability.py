"""How names and bytes are made durable, one file at a time or a whole batch with one syncfs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import NamedTuple

from rawx import system

_LINK_SYNCED_WITH_INODE = frozenset({system.EXT4, system.XFS, system.BTRFS, system.TMPFS})
_SYNCFS_FIRST_GUESS_S = 0.001
_FSYNC_FIRST_GUESS_S = 0.0005
_WEIGHT_SLOWER = 0.2
_WEIGHT_FASTER = 0.5
"""Share of the newest measurement in the moving averages: what was slow once is forgiven sooner than what was fast is forgotten."""
_SLOWER_TIMES_MAX = 4.0
"""A measurement counts as this multiple of the average at the most: one stall of the disk must not decide the next hundred batches."""
EXPLORE_EVERY = 16
"""Of this many batches one goes the way that seems slower, so that its estimate stays fresh."""


class SyncChoice:
    """Chooses between an fsync per file and one syncfs for the batch, by what both cost lately.

    Measured on ext4 for 4 KiB files, per file: fsync 400 us alone and 300 in a row; syncfs 400 to 800 us alone, 140 each for two,
    40 each for sixteen. But syncfs writes out everything dirty on the file system, so beside a heavy writer it may cost a hundred
    times that: hence no fixed limit.
    """

    __slots__ = ("_batches", "fsync_s", "syncfs_s")

    def __init__(self) -> None:
        self.fsync_s = _FSYNC_FIRST_GUESS_S
        self.syncfs_s = _SYNCFS_FIRST_GUESS_S
        self._batches = 0

    def __repr__(self) -> str:
        return f"<SyncChoice fsync={self.fsync_s * 1e6:.0f} us syncfs={self.syncfs_s * 1e6:.0f} us>"

    def together(self, count: int) -> bool:
        """True when one syncfs is to serve `count` files."""
        if count < 2:
            return False
        self._batches += 1
        better = count * self.fsync_s > self.syncfs_s
        return not better if self._batches % EXPLORE_EVERY == 0 else better

    def measured(self, *, together: bool, count: int, seconds: float) -> None:
        if together:
            self.syncfs_s = _averaged(self.syncfs_s, seconds)
        else:
            self.fsync_s = _averaged(self.fsync_s, seconds / count)


def _averaged(average: float, measured: float) -> float:
    weight = _WEIGHT_SLOWER if measured > average else _WEIGHT_FASTER
    return average + weight * (min(measured, _SLOWER_TIMES_MAX * average) - average)


class Unsynced(NamedTuple):
    """An open file whose bytes, attributes and name are to be made durable. path: its name below the open folder `root`."""

    descriptor: int
    root: int
    path: str


class Syncer:
    """Syncs the members of a batch, all on one file system. Used by one thread at a time."""

    def __init__(self, root: int) -> None:
        """root: any folder of the file system, open as long as this is used."""
        self._root = root
        self._choice = SyncChoice()
        self._folder_too = system.file_system_type(root) not in _LINK_SYNCED_WITH_INODE

    def sync(self, files: Sequence[Unsynced], roots: Sequence[int] = ()) -> list[OSError | None]:
        """Makes each file durable with its name; roots: of volumes with new folders, whose names are synced too.

        Returns the error of each that could not be.
        After a failure the kernel has marked the pages clean: another sync would succeed and lie, so the caller must drop the file.
        A failed syncfs can't tell whose pages were lost: all members fail.
        Source: Rebello et al., "Can applications recover from fsync failures?", ATC 2020.
        """
        if not files:
            return []
        together = self._choice.together(len(files))
        begin = time.monotonic()
        if together:
            try:
                system.syncfs(self._root)
            except OSError as error:
                return [error] * len(files)
            outcomes: list[OSError | None] = [None] * len(files)
        else:
            unnamed: dict[int, OSError] = {}
            for root in roots:
                try:
                    os.fsync(root)
                except OSError as error:
                    unnamed[root] = error
            outcomes = [unnamed.get(file.root) or self._sync_one(file) for file in files]
        self._choice.measured(together=together, count=len(files), seconds=time.monotonic() - begin)
        return outcomes

    def _sync_one(self, file: Unsynced) -> OSError | None:
        """One file: bytes, attributes and the name it was just given.

        On ext4, XFS and Btrfs the sync of an inode also persists the link made just before: it waits for the journal's transaction
        that holds both (ext4 without a journal syncs the parents of a new inode; Btrfs logs the new names). Elsewhere the folder is
        synced too.
        """
        try:
            os.fsync(file.descriptor)
            if self._folder_too:
                folder = os.open(os.path.dirname(file.path), os.O_RDONLY | os.O_DIRECTORY, dir_fd=file.root)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
        except OSError as error:
            return error
        return None
