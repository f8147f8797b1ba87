"""Whether a volume takes new chunks, for all processes that write into it. Blocking.

    <root>/retired     an empty file: it takes none

Theory of operation. Who begins a chunk notes it in his journal, and looks for the mark then; who makes the mark reads all journals then.
Whichever comes first, a chunk that is begun is either refused or known to who retires the volume, without a word between the two.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from node.errors import VolumeReadOnly
from rawx.attributes import FILE_MODE
from rawx.folders import path_of
from rawx.journal import Journal

RETIRED = "retired"


class Gate:
    """Of one volume in one process. Thread-safe. Raises: OSError."""

    def __init__(self, root: int, journal: Journal) -> None:
        self._root = root
        self._journal = journal

    def __repr__(self) -> str:
        return f"<Gate {self._journal!r}>"

    @property
    def closed(self) -> bool:
        try:
            os.stat(RETIRED, dir_fd=self._root)
        except FileNotFoundError:
            return False
        return True

    def enter(self, chunk: str) -> None:
        """A chunk is begun that is not visible for a while. Raises: VolumeReadOnly."""
        self._journal.add([chunk])
        if self.closed:
            self._journal.drop([chunk])
            raise refusal()

    def refused(self, fresh: Iterable[str]) -> set[str]:
        """Of chunks that were noted just now those that must not become visible."""
        chunks = set(fresh)
        return chunks if chunks and self.closed else set()

    def leave(self, chunk: str) -> None:
        """It is given up."""
        self._journal.drop([chunk])

    def retire(self, retired: bool) -> list[str]:
        """Durable at return. The chunks that were begun, and whose metadata may be on its way.

        Of those of a dead process the ones that became visible: who had it write them may live, on another host, and name them yet.
        """
        if retired:
            os.close(os.open(RETIRED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE, dir_fd=self._root))
        else:
            try:
                os.unlink(RETIRED, dir_fd=self._root)
            except FileNotFoundError:
                pass
        os.fsync(self._root)
        return sorted(self._journal.begun() | set(filter(self._is_there, self._journal.left())))

    def _is_there(self, chunk: str) -> bool:
        try:
            os.stat(path_of(chunk), dir_fd=self._root)
        except FileNotFoundError:
            return False
        return True


def refusal() -> VolumeReadOnly:
    return VolumeReadOnly("the volume is being emptied, or was: it takes no new chunks")
