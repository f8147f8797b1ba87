"""What the volumes on one file system share: a lane for their changes, one for their deletions, and one sync for all that waits.

Several volumes of one disk would else sync it one beside the other, and each copy of a small object would take a thread of its own.
"""

from __future__ import annotations

import os
import threading
import time

from node.lane import Lane
from rawx.commit import Begun, Committer, Request, Result
from rawx.durability import Syncer, Unsynced
from rawx.turns import Turns

BATCH_MAX = 256
"""Requests that share one sync at most."""
STALLED_S = 30.0
"""A device that works on one batch for longer is left to the volumes it has; a volume that is opened gets another."""

Addressed = tuple[Committer, Request]
"""A request and the volume's part that does it."""


class Device:
    """Its lanes take requests of all its volumes."""

    def __init__(self, root: int) -> None:
        """root: a folder on the file system; stays the caller's. Raises: OSError."""
        self._root = os.dup(root)
        self._syncer = Syncer(self._root)
        self._began_s: float | None = None
        self.users = 0
        self.commits: Lane[Addressed, Result] = Lane(self._commit, batch_max=BATCH_MAX)
        self.removals: Lane[Addressed, Result] = Lane(self._remove, batch_max=BATCH_MAX)

    def __repr__(self) -> str:
        return f"<Device users={self.users} commits={self.commits!r} stalled={self.stalled}>"

    @property
    def stalled(self) -> bool:
        began_s = self._began_s
        return began_s is not None and time.monotonic() - began_s > STALLED_S

    def close(self) -> None:
        os.close(self._root)

    def _commit(self, batch: list[Addressed]) -> list[Result]:
        self._began_s = time.monotonic()
        by_volume: dict[Committer, list[int]] = {}
        for index, (committer, _) in enumerate(batch):
            by_volume.setdefault(committer, []).append(index)
        parts = {committer: Begun([batch[index][1] for index in indexes]) for committer, indexes in by_volume.items()}
        try:
            for committer, begun in parts.items():
                committer.begin(begun)
            self._sync(parts)
        finally:
            for committer, begun in parts.items():
                committer.close(begun)
            self._began_s = None
        results: list[Result] = [[]] * len(batch)
        for committer, indexes in by_volume.items():
            for index, result in zip(indexes, parts[committer].results, strict=True):
                results[index] = result
        return results

    def _sync(self, parts: dict[Committer, Begun]) -> None:
        files: list[Unsynced] = []
        roots: dict[Committer, int] = {}
        ends: dict[Committer, slice] = {}
        for committer, begun in parts.items():
            own, root = committer.to_sync(begun)
            if root is not None:
                roots[committer] = root
            ends[committer] = slice(len(files), len(files) + len(own))
            files += own
        began_s = time.monotonic()
        outcomes = self._syncer.sync(files, list(roots.values()))
        took_s = time.monotonic() - began_s
        for committer, begun in parts.items():
            committer.health.latency.add(took_s)
            committer.end(begun, outcomes[ends[committer]], root_too=committer in roots)

    @staticmethod
    def _remove(batch: list[Addressed]) -> list[Result]:
        return [committer.remove(request) for committer, request in batch]


class Devices:
    """The devices of a process, by file system. Thread-safe. looks: of all their volumes at chunks.

    A device holds a descriptor, so the kernel gives its file system's number to no other as long as it is here.
    """

    def __init__(self) -> None:
        self.looks = Turns()
        self._devices: dict[int, Device] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Devices {len(self._devices)}>"

    def enter(self, root: int) -> Device:
        """The device of an open folder, for a volume that uses it until `leave`. Raises: OSError."""
        number = os.fstat(root).st_dev
        with self._lock:
            device = self._devices.get(number)
            if device is None or device.stalled:
                device = self._devices[number] = Device(root)
            device.users += 1
            return device

    def leave(self, device: Device) -> None:
        with self._lock:
            device.users -= 1
            if device.users:
                return
            device.close()
            for number, each in list(self._devices.items()):
                if each is device:
                    del self._devices[number]
