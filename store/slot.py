"""The place of one volume in the store: what is there now, and whether that is still so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import trio

from node.errors import FrazilError
from node.log import get_logger
from node.threads import run_blocking
from rawx.device import Devices
from rawx.probe import PROBE_INTERVAL_S, Probe
from rawx.protocol import Rawx
from rawx.volume import Forget, Volume, open_volume
from store.absent import AbsentVolume
from store.fleet import Fleet
from store.settings import Settings

LOOK_PERIOD_S = 2.0
"""How often each volume's folder is looked at."""
log = get_logger("store")


class Slot:
    """Opens its volume when entered, else puts an AbsentVolume in its place: the store goes on without it."""

    def __init__(
        self, volume_id: str, path: Path, namespace: str, devices: Devices, *, create: bool = True, forget: Forget | None = None
    ) -> None:
        """create: an empty folder takes the volume's identity; not for who only joins the volume's owner. forget: see Volume."""
        self.id = volume_id
        self.path = path
        self.volume: Rawx = AbsentVolume(volume_id, "not opened yet")
        self._namespace = namespace
        self._devices = devices
        self._create = create
        self._forget = forget
        self._real: Volume | None = None
        self._probe: Probe | None = None
        self._retired: list[Volume] = []  # calls may still be under way on them

    def __repr__(self) -> str:
        return f"<Slot {self.path} {self.volume!r}>"

    def __enter__(self) -> Slot:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        for volume in [*self._retired, self._real]:
            if volume is not None:
                volume.close()

    def open(self) -> None:
        """Blocking. A folder that is there but empty takes the identity again, and what the volume held is to be rebuilt into it."""
        if self._real is not None:
            self._retired.append(self._real)
            self._real = self._probe = None
        try:
            self.volume = self._real = open_volume(
                self.path,
                namespace=self._namespace,
                volume_id=self.id,
                create=self._create and self.path.is_dir(),
                devices=self._devices,
                forget=self._forget,
            )
        except FrazilError as error:
            hint = f"mount its disk, or make an empty folder there for a new disk, then `frazil rebuild volume {self.id}`"
            reason = str(error) if self.path.exists() else f"{self.path} is missing: {hint}"
            if not isinstance(self.volume, AbsentVolume) or self.volume.reason != reason:
                log.warning("a volume is away; the store goes on without it", extra={"volume": self.id, "reason": reason})
            self.volume = AbsentVolume(self.id, reason)
        else:
            self._probe = Probe(self._real)

    @property
    def there(self) -> bool:
        return self._real is not None

    async def sweep(self) -> None:
        """Removes what a crash left in the volume beside whole chunks; for the process that owns the store, once at start."""
        if self._real is None:
            return
        try:
            await self._real.sweep()
        except FrazilError as error:
            log.warning("a volume could not be swept; the next start does it", extra={"volume": self.id, "error": str(error)})

    async def keep_probed(self) -> None:
        """Tries the disk for ever: one that fell sick, full or read-only is used again after the first probe that succeeds."""
        while True:
            await trio.sleep(PROBE_INTERVAL_S)
            if self._probe is not None:
                await self._probe.run()

    def changed(self) -> bool:
        """Whether what is at the path is not what is open: the folder was removed or put back, a disk mounted or unmounted. Blocking."""
        if self._real is None:
            return self.path.exists()
        try:
            return not os.path.samestat(os.fstat(self._real.root), os.stat(self.path))
        except OSError:
            return True


def slots_of(settings: Settings, first: Path) -> Iterator[Slot]:
    """To be entered."""
    devices = Devices()
    return (Slot(slot.id, settings.path_of(slot, first), settings.namespace, devices) for slot in settings.volumes)


async def keep_open(fleet: Fleet, slots: list[Slot]) -> None:
    """Follows for ever what comes and goes at the volumes' paths."""
    while True:
        await trio.sleep(LOOK_PERIOD_S)
        for slot in slots:
            if await run_blocking(slot.changed, abandon=True):
                await run_blocking(slot.open)
                fleet.replace(slot.id, slot.volume)
