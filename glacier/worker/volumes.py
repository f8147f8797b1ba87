"""The volumes whose chunks a worker looks after: opened beside the process that owns them, and again when a disk came back."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import trio

from node.errors import FrazilError
from node.log import get_logger
from node.threads import run_blocking
from rawx.device import Devices
from rawx.probe import Probe
from rawx.volume import Volume, open_volume

LOOK_S = 5.0
LOOK_S_MAX = 10.0
log = get_logger("glacier.worker")


class HotVolumes(Mapping[str, Volume]):
    """Those that are there now, by id."""

    def __init__(self, paths: Sequence[Path], namespace: str) -> None:
        self._paths = list(paths)
        self._namespace = namespace
        self._devices = Devices()
        self._open: dict[Path, Volume] = {}
        self._probes: dict[Path, Probe] = {}
        self._retired: list[Volume] = []  # calls may still be under way on them
        self._told: set[Path] = set()
        self._looking: set[Path] = set()
        self._changing = threading.Lock()

    def __repr__(self) -> str:
        return f"<HotVolumes {len(self._open)} of {len(self._paths)}>"

    def __getitem__(self, volume: str) -> Volume:
        for found in self._open.values():
            if found.volume_id == volume:
                return found
        raise KeyError(volume)

    def __iter__(self) -> Iterator[str]:
        return iter([volume.volume_id for volume in self._open.values()])

    def __len__(self) -> int:
        return len(self._open)

    def close(self) -> None:
        for volume in [*self._open.values(), *self._retired]:
            volume.close()
        self._open.clear()

    async def look(self) -> None:
        """Opens what came, and lets go of what went, side by side; a disk that hangs is waited for LOOK_S_MAX."""
        async with trio.open_nursery() as nursery:
            for path in self._paths:
                nursery.start_soon(self._look_at, path)

    async def _look_at(self, path: Path) -> None:
        if path in self._looking:
            return  # an earlier look still hangs
        self._looking.add(path)
        with trio.move_on_after(LOOK_S_MAX) as scope:
            await run_blocking(self._look, path, abandon=True)
        if scope.cancelled_caught:
            log.warning("a volume's disk does not answer; its chunks wait", extra={"path": str(path)})

    def _look(self, path: Path) -> None:
        """Blocking; the loop may look meanwhile."""
        try:
            volume = self._open.get(path)
            if volume is not None and _is_gone(volume, path):
                with self._changing:
                    self._open = {each: there for each, there in self._open.items() if each != path}
                self._retired.append(volume)
                volume = None
            if volume is None:
                self._try(path)
        finally:
            self._looking.discard(path)

    def _try(self, path: Path) -> None:
        try:
            volume = open_volume(path, namespace=self._namespace, devices=self._devices)
            self._probes[path] = Probe(volume)
            with self._changing:
                self._open = self._open | {path: volume}
            self._told.discard(path)
        except FrazilError as error:
            if path not in self._told:
                log.warning("a volume is away; its chunks wait", extra={"path": str(path), "error": str(error)})
            self._told.add(path)

    async def keep(self) -> None:
        """For ever."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.sleep(LOOK_S)
                await self.look()
                for path, volume in self._open.items():
                    if _ails(volume):
                        nursery.start_soon(self._probes[path].run)


def _ails(volume: Volume) -> bool:
    """Whether something failed on it: it serves again after the first probe that succeeds."""
    return bool(volume.health.sick or volume.health.full or volume.health.read_only)


def _is_gone(volume: Volume, path: Path) -> bool:
    """Whether what is at the path is not what is open: a disk was unmounted or mounted. Blocking."""
    try:
        return not os.path.samestat(os.fstat(volume.root), os.stat(path))
    except OSError:
        return True
