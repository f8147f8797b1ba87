"""Whether a volume may be used, and what an error of its file system means to the caller."""

from __future__ import annotations

import errno
from collections import Counter

from node.errors import (
    AlreadyExists,
    Busy,
    ChunkCorrupt,
    ChunkNotFound,
    DeadlineExceeded,
    FrazilError,
    VolumeFull,
    VolumeReadOnly,
    VolumeSick,
)
from node.statistics import Latency

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OF_ONE_CHUNK = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ELOOP, errno.ENXIO, errno.EISDIR})
"""EUCLEAN: ext4's and XFS's "structure needs cleaning"; the last three: what has its name is no file."""
DAMNING = tuple(kind.__name__ for kind in (ChunkCorrupt, VolumeSick, DeadlineExceeded))
"""Errors that speak against the disk."""
FORGIVEN_S = 600.0
_SHORT_OF_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def translate(error: OSError, doing: str) -> FrazilError:
    """What the system call's failure means; every other number says that the volume itself can't be trusted."""
    number = error.errno or 0
    text = f"{doing}: {error.strerror or error}"
    if number == errno.ENOENT:
        return ChunkNotFound(text)
    if number == errno.EEXIST:
        return AlreadyExists(text)
    if number in _FULL:
        return VolumeFull(text)
    if number == errno.EROFS:
        return VolumeReadOnly(text)
    if number in _SHORT_OF_MEANS:
        return Busy(text)
    return VolumeSick(text)


class Trust:
    """What is to be thought of a disk after the errors that it had of late."""

    def __init__(self) -> None:
        self._amount = 0.0
        self._seen = 0
        self._at_s = 0.0

    def __repr__(self) -> str:
        return f"<Trust after {self._amount:.1f} errors>"

    def sample(self, errors: Counter[str], now_s: float) -> float:
        """100: wholly; 50 after one error, 10 after nine; half of them are forgiven in FORGIVEN_S."""
        seen = sum(errors[code] for code in DAMNING)
        self._amount = self._amount * 0.5 ** ((now_s - self._at_s) / FORGIVEN_S) + max(seen - self._seen, 0)
        self._seen, self._at_s = seen, now_s
        return 100.0 / (1.0 + self._amount)


class Health:
    """State of one volume, shared by its parts. Written from the event loop and from threads: plain assignments only.

    sick       reason why nothing is served, "" when healthy
    full       reason why nothing is written for lack of space, inodes or quota
    read_only  the file system refuses writes
    errors     how often each kind of error was met
    latency    of its last syncs
    """

    __slots__ = ("errors", "full", "latency", "read_only", "sick")

    def __init__(self) -> None:
        self.sick = ""
        self.full = ""
        self.read_only = False
        self.errors: Counter[str] = Counter()
        self.latency = Latency()

    def __repr__(self) -> str:
        return f"<Health sick={self.sick!r} full={self.full!r} read_only={self.read_only}>"

    def admit_read(self) -> None:
        """Raises: VolumeSick at once, so that no thread joins those that hang."""
        if self.sick:
            raise VolumeSick(self.sick)

    def admit_write(self) -> None:
        """Raises: VolumeSick, VolumeReadOnly, VolumeFull."""
        self.admit_delete()
        if self.full:
            raise VolumeFull(self.full)

    def admit_delete(self) -> None:
        """What needs no space. Raises: VolumeSick, VolumeReadOnly."""
        if self.sick:
            raise VolumeSick(self.sick)
        if self.read_only:
            raise VolumeReadOnly("the file system is read-only")

    def write_failed(self, error: OSError, doing: str) -> FrazilError:
        """The error to raise for a failed write or sync; a volume that fails so serves no more until a probe succeeds."""
        meaning = translate(error, doing)
        if isinstance(meaning, ChunkNotFound):  # folders are made when they are missing, so it is the root that is gone
            meaning = VolumeSick(str(meaning))
        self.errors[meaning.code] += 1
        if isinstance(meaning, VolumeSick):
            self.sick = str(meaning)
        elif isinstance(meaning, VolumeReadOnly):
            self.read_only = True
        return meaning

    def read_failed(self, error: OSError, doing: str) -> FrazilError:
        """The error to raise for a failed read. EIO damns the chunk, not the volume: one bad sector is no reason to stop the rest,
        and when all of it is bad the next probe sees that."""
        meaning = translate(error, doing)
        if error.errno in _OF_ONE_CHUNK:
            meaning = ChunkCorrupt(str(meaning))
        if not isinstance(meaning, ChunkNotFound):
            self.errors[meaning.code] += 1
        return meaning

    def hung(self, doing: str, seconds: float, *, held_up: bool = False) -> DeadlineExceeded:
        """The error to raise when the disk did not answer in time; the volume is sick until a probe succeeds, unless it was this process
        that was held up."""
        if held_up:
            return DeadlineExceeded(f"{doing}: this process had no turn for {seconds:g} s")
        self.errors["DeadlineExceeded"] += 1
        self.sick = f"{doing}: no answer from the disk within {seconds:g} s"
        return DeadlineExceeded(self.sick)

    def corrupt(self, message: str) -> ChunkCorrupt:
        self.errors["ChunkCorrupt"] += 1
        return ChunkCorrupt(message)
