"""The highest epoch that a peer has promised in a set of peers, on disk. One for all bases of the set: an epoch is the set's.

PATH   `3 <epoch> <holder or -> <an epoch> <peer,peer,...> <floor> <version>`: who belonged to the set in the newest epoch that came with
       its peers, and the place of the document that named them; before: `2 <epoch> <an epoch> <peer,peer,...>`; or `1 <epoch>`

An epoch has one holder, and peers come from ever newer documents, as long as ZooKeeper does not go back to an old copy of itself. It may:
so both is checked here, and who comes with an older document, or with another's epoch, gets no promise.
"""

from __future__ import annotations

import threading
from pathlib import Path

from meta.cluster.wire import Promising
from meta.connection import translate
from node.errors import BaseCorrupt, Fenced
from node.files import write_durably

_VERSION = "3"
_UNKNOWN = "-"


class Promise:
    """Used from the threads of all writers of the set. Raises, when it is made: BaseCorrupt, VolumeSick."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._epoch = 0
        self._holder = ""
        self.peers: tuple[int, tuple[str, ...]] = (0, ())
        """Who belonged to the set in an epoch: the newest that a leader told them with."""
        self.place = (0, 0)
        """Of the document that named them: floor of the epochs then, and version."""
        self._load()

    def __repr__(self) -> str:
        return f"<Promise {self._epoch}>"

    @property
    def epoch(self) -> int:
        return self._epoch

    def make(self, epoch: int) -> None:
        """Durable at return; a lower one than before changes nothing. Raises: VolumeFull, VolumeSick."""
        with self._lock:
            if epoch > self._epoch:
                self._write(epoch, "", self.peers, self.place)

    def give(self, call: Promising) -> None:
        """To a leader, who tells what else is known of its epoch. Durable at return. Raises: Fenced; VolumeFull, VolumeSick."""
        with self._lock:
            if call.epoch < self._epoch:
                raise Fenced(f"epoch {call.epoch:x} is over: this peer has promised {self._epoch:x}")
            if call.epoch == self._epoch and call.holder != self._holder and call.holder and self._holder:
                raise Fenced(f"epoch {call.epoch:x} was given before: ZooKeeper went back to an old copy")
            if call.peers and call.place < self.place:
                raise Fenced(
                    f"ZooKeeper says of the set {call.set} what it said before this peer's newest promise: it went back to an old copy"
                )
            holder = call.holder or (self._holder if call.epoch == self._epoch else "")
            peers = (call.epoch, call.peers) if call.peers and call.epoch > self.peers[0] else self.peers
            self._write(call.epoch, holder, peers, max(call.place, self.place))

    def _write(self, epoch: int, holder: str, peers: tuple[int, tuple[str, ...]], place: tuple[int, int]) -> None:
        if (epoch, holder, peers, place) == (self._epoch, self._holder, self.peers, self.place):
            return
        words = _VERSION, epoch, holder or _UNKNOWN, peers[0], ",".join(peers[1]) or _UNKNOWN, *place
        try:
            write_durably(self._path, (" ".join(map(str, words)) + "\n").encode())
        except OSError as error:
            raise translate(error, self._path) from error
        self._epoch, self._holder, self.peers, self.place = epoch, holder, peers, place

    def _load(self) -> None:
        try:
            words = self._path.read_text().split()
        except FileNotFoundError:
            return
        except OSError as error:
            raise translate(error, self._path) from error
        try:
            self._take(words)
        except (ValueError, IndexError) as error:
            raise BaseCorrupt(f"{self._path} holds no promise; this peer must not vote: remove its folder and let it join anew") from error

    def _take(self, words: list[str]) -> None:
        """Raises: ValueError, IndexError."""
        version, self._epoch = words[0], int(words[1])
        if version == _VERSION:
            _, _, holder, at, peers, floor, number = words
            self._holder = "" if holder == _UNKNOWN else holder
            self.peers = int(at), () if peers == _UNKNOWN else tuple(peers.split(","))
            self.place = int(floor), int(number)
        elif version == "2" and len(words) in (3, 4):
            self.peers = int(words[2]), tuple(words[3].split(",")) if len(words) == 4 else ()
        elif version != "1" or len(words) != 2:
            raise ValueError(version)
