"""The highest epoch that a peer has promised in a set of peers, on disk. One for all bases of the set: an epoch is the set's.

PATH   `2 <epoch> <an epoch> <peer,peer,...>`: and who belonged to the set in the newest epoch that came with its peers; or `1 <epoch>`
"""

from __future__ import annotations

import threading
from pathlib import Path

from meta.connection import translate
from node.errors import BaseCorrupt
from node.files import write_durably

_VERSION = "2"


class Promise:
    """Used from the threads of all writers of the set. Raises, when it is made: BaseCorrupt, VolumeSick."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._epoch = 0
        self.peers: tuple[int, tuple[str, ...]] = (0, ())
        """Who belonged to the set in an epoch: the newest that a leader told them with."""
        self._load()

    def __repr__(self) -> str:
        return f"<Promise {self._epoch}>"

    @property
    def epoch(self) -> int:
        return self._epoch

    def make(self, epoch: int, peers: tuple[str, ...] = ()) -> None:
        """Durable at return; a lower one than before changes nothing. peers: of the set in that epoch, where the leader told them.

        Raises: VolumeFull, VolumeSick.
        """
        with self._lock:
            known = (epoch, peers) if peers and epoch > self.peers[0] else self.peers
            if epoch < self._epoch or (epoch, known) == (self._epoch, self.peers):
                return
            try:
                write_durably(self._path, f"{_VERSION} {epoch} {known[0]} {','.join(known[1])}\n".encode())
            except OSError as error:
                raise translate(error, self._path) from error
            self._epoch, self.peers = epoch, known

    def _load(self) -> None:
        try:
            words = self._path.read_text().split()
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate(error, self._path) from error
        if not (words[:1] in (["1"], [_VERSION]) and all(word.isdigit() for word in words[1:3]) and 2 <= len(words) <= 4):
            raise BaseCorrupt(f"{self._path} holds no promise; this peer must not vote: remove its folder and let it join anew")
        self._epoch = int(words[1])
        if len(words) == 4:
            self.peers = int(words[2]), tuple(words[3].split(","))
