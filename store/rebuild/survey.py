"""All records of all volumes into the census: by this process and, when there are many of a store of this host, by a second one beside it.

Theory of operation. Volumes are taken from one list, by this process and by its helper (helper.py), until none is left. What a helper
found counts when it ended well; else its volumes are on the list again.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from meta.protocol.bucket import SYSTEM_BUCKET
from node.auth import NamespaceKey
from node.threads import run_blocking
from rawx.device import Devices
from rawx.protocol import Rawx
from store.fleet import Fleet
from store.parallel import crew, stream
from store.rebuild.census import Census
from store.rebuild.report import Progress, Report
from store.settings import Settings
from store.slot import Slot

LIST_PAGE = 2_000
FAR_AT_ONCE = 4
"""Volumes of other hosts that are looked at side by side: while one is waited for, another answers."""
HELP_CHUNKS = 2 * LIST_PAGE
"""Where a volume has so many a second process is worth its start, which takes as long as a look at some ten thousand."""


@dataclass(slots=True)
class Site:
    """A store that no process runs: its folder, its volumes, its key. away: why some volumes can't be looked at;
    here: the volumes are this host's, and the settings in `first` name them"""

    first: Path
    key: NamespaceKey
    fleet: Fleet
    away: dict[str, str]
    here: bool = False


class Page(msgspec.Struct, frozen=True):
    """Some chunks of a volume. damaged: by problem, what can't be used;  last: the volume has no more"""

    chunks: int
    damaged: dict[str, int]
    last: bool


def slots_of(settings: Settings, first: Path) -> Iterator[Slot]:
    """To be entered."""
    devices = Devices()
    return (Slot(slot.id, settings.path_of(slot, first), settings.namespace, devices) for slot in settings.volumes)


async def pages(volume: Rawx, census: Census, bucket: str) -> AsyncIterator[Page]:
    """The volume's records into the census, page by page; with `bucket` only its own and the system's. Raises: VolumeSick and the like."""
    after, wanted, truncated = "", {bucket, SYSTEM_BUCKET}, True
    while truncated:
        page = await volume.list(after, LIST_PAGE)
        found = await volume.examine(page.chunks, deep=False)
        good = [each for each in found if not each.problem]
        if bucket:
            good = [each for each in good if each.record is not None and each.record.bucket in wanted]
        await run_blocking(census.add, volume.volume_id, good)
        truncated = page.truncated
        damaged = Counter(each.problem for each in found if each.problem and each.problem != "missing")
        yield Page(len(page.chunks), damaged, not truncated)
        after = page.chunks[-1] if page.chunks else after


class Survey:
    """Over the volumes that are there. many: set when a helper is worth its start, or nothing is left for it."""

    def __init__(self, site: Site, census: Census, report: Report, bucket: str, progress: Progress) -> None:
        self.site, self.bucket = site, bucket
        self._census, self._report, self._progress = census, report, progress
        self.waiting = deque(sorted(site.fleet.volumes.keys() - site.away.keys()))
        self._many = trio.Event()

    def __repr__(self) -> str:
        return f"<Survey waiting={len(self.waiting)} chunks={self._report.chunks}>"

    async def run(self) -> None:
        """Raises: VolumeSick and the like; VolumeFull."""
        if not self.site.here:
            await stream([self._look] * FAR_AT_ONCE, FAR_AT_ONCE)
            return
        async with crew() as nursery:
            if len(os.sched_getaffinity(0)) > 1:
                nursery.start_soon(self._have_help)
            await self._look()
            self._many.set()
        await self._look()  # what a helper gave back

    async def _look(self) -> None:
        while self.waiting:
            chunks = 0
            async for page in pages(self.site.fleet.volume(self.waiting.popleft()), self._census, self.bucket):
                self.count(page)
                self.show(page)
                chunks += page.chunks
                if chunks >= HELP_CHUNKS:
                    self._many.set()

    def count(self, page: Page) -> None:
        self._report.chunks += page.chunks
        self._report.damaged.update(page.damaged)

    def show(self, page: Page) -> None:
        self._progress("chunks", page.chunks)

    async def _have_help(self) -> None:
        from store.rebuild.helper import help_with

        await self._many.wait()
        if self.waiting:
            await help_with(self, self._census)
