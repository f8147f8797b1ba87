"""The highest epoch that a peer has promised in a set of peers, on disk. One for all bases of the set: an epoch is the set's.

PATH   `1 <epoch>`
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from meta.connection import sync_folder, translate
from node.errors import BaseCorrupt

_VERSION = "1"


class Promise:
    """Used from the threads of all writers of the set. Raises, when it is made: BaseCorrupt, VolumeSick."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._epoch = self._load()

    def __repr__(self) -> str:
        return f"<Promise {self._epoch}>"

    @property
    def epoch(self) -> int:
        return self._epoch

    def make(self, epoch: int) -> None:
        """Durable at return; a lower one than before changes nothing. Raises: VolumeFull, VolumeSick."""
        with self._lock:
            if epoch <= self._epoch:
                return
            new = self._path.with_name(f"{self._path.name}.new")
            try:
                with new.open("w") as file:
                    file.write(f"{_VERSION} {epoch}\n")
                    file.flush()
                    os.fsync(file.fileno())
                new.replace(self._path)
                sync_folder(self._path.parent)
            except OSError as error:
                raise translate(error, self._path) from error
            self._epoch = epoch

    def _load(self) -> int:
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise translate(error, self._path) from error
        version, _, epoch = text.strip().partition(" ")
        if version != _VERSION or not epoch.isdigit():
            raise BaseCorrupt(f"{self._path} holds no promise; this peer must not vote: remove its folder and let it join anew")
        return int(epoch)
