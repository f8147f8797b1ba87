"""All records of all volumes into the census: by this process and, when there are many of a store of this host, by a second one beside it.

Theory of operation. Volumes are taken from one list, by this process and by its helper (helper.py), until none is left. What a helper
found counts when it ended well; else its volumes are on the list again.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import trio

from node.auth import NamespaceKey
from store.fleet import Fleet
from store.parallel import crew, stream
from store.rebuild.census import Census
from store.rebuild.helper import help_with
from store.rebuild.page import Page, pages
from store.rebuild.report import Progress, Report

FAR_AT_ONCE = 4
"""Volumes of other hosts that are looked at side by side: while one is waited for, another answers."""
HELP_CHUNKS = 4_000
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


class Survey:
    """Over the volumes that are there."""

    def __init__(self, site: Site, census: Census, report: Report, bucket: str, progress: Progress) -> None:
        self._site, self._bucket = site, bucket
        self._census, self._report, self._progress = census, report, progress
        self._waiting = deque(sorted(site.fleet.volumes.keys() - site.away.keys()))
        self._many = trio.Event()
        """Set when a helper is worth its start, or nothing is left for it."""

    def __repr__(self) -> str:
        return f"<Survey waiting={len(self._waiting)} chunks={self._report.chunks}>"

    async def run(self) -> None:
        """Raises: VolumeSick and the like; VolumeFull."""
        if not self._site.here:
            await stream([self._look] * FAR_AT_ONCE, FAR_AT_ONCE)
            return
        async with crew() as nursery:
            if len(os.sched_getaffinity(0)) > 1:
                nursery.start_soon(self._have_help)
            await self._look()
            self._many.set()
        await self._look()  # what a helper gave back

    async def _look(self) -> None:
        while self._waiting:
            chunks = 0
            async for page in pages(self._site.fleet.volume(self._waiting.popleft()), self._census, self._bucket):
                self._count(page)
                self._show(page)
                chunks += page.chunks
                if chunks >= HELP_CHUNKS:
                    self._many.set()

    def _count(self, page: Page) -> None:
        self._report.chunks += page.chunks
        self._report.damaged.update(page.damaged)

    def _show(self, page: Page) -> None:
        self._progress("chunks", page.chunks)

    async def _have_help(self) -> None:
        await self._many.wait()
        if self._waiting:
            for page in await help_with(self._site.first, self._bucket, self._waiting, self._census, self._show):
                self._count(page)
