"""The metadata of a whole store anew, from nothing but the chunks on its volumes.

Theory of operation. All records go into a scratch table (census.py), sorted by content; each content is put together (assembly.py) or told
as unwhole. Rows that result are sorted by key; what newer ones had replaced goes to the deletions. Everything is built in a folder beside
the metadata that is there, which takes its place only when it is complete; the old one is kept aside. A rebuild that is killed leaves
either the old state or, between two renames, none: then the store refuses to start and the next rebuild finishes the renames.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from random import Random

from meta.local import open_meta
from meta.protocol.bucket import SYSTEM_BUCKET
from meta.protocol.door import Meta
from node.auth import NamespaceKey
from node.clock import SystemClock
from node.errors import ConfigError
from node.threads import run_blocking
from rawx.device import Devices
from store.embedded import StoreOptions, prepare
from store.fleet import Fleet
from store.rebuild.census import Census
from store.rebuild.filler import Filler
from store.rebuild.grouping import put_together
from store.rebuild.report import Progress, Report
from store.settings import exclusive
from store.slot import Slot

LIST_PAGE = 2_000


@dataclass(slots=True)
class Site:
    """A store that no process runs: its folder, its volumes, its key. away: why some volumes can't be looked at."""

    first: Path
    key: NamespaceKey
    fleet: Fleet
    away: dict[str, str]


@asynccontextmanager
async def open_site(first: Path) -> AsyncIterator[Site]:
    """Raises: ConfigError when a process runs the store or there is none."""
    with ExitStack() as stack:
        try:
            (first / "run").mkdir(exist_ok=True, mode=0o700)
            stack.enter_context(exclusive(first / "run"))
            settings, key = prepare(first, StoreOptions((first,)), create=False)
        except OSError as error:
            raise ConfigError(f"{error.filename or first} can't be used: {error.strerror}") from error
        devices = Devices()
        slots = [
            stack.enter_context(Slot(slot.id, settings.path_of(slot, first), settings.namespace, devices)) for slot in settings.volumes
        ]
        fleet = Fleet({slot.id: slot.volume for slot in slots}, random=Random(os.urandom(32)))
        away = {stat.volume: stat.sick for stat in await fleet.stats() if stat.sick}
        yield Site(first, key, fleet, away)


async def build(
    site: Site, folder: Path, *, bucket: str = "", progress: Progress = lambda _what, _count: None, into: Meta | None = None
) -> Report:
    """Fills `folder` with the metadata that the chunks tell; with `bucket` of that one only. into: fills this instead.

    Raises: ConfigError, VolumeFull, VolumeSick.
    """
    began = time.monotonic()
    report = Report()
    census = await run_blocking(_begin, folder)
    try:
        for volume in sorted(site.fleet.volumes):
            if volume not in site.away:
                await _survey(site.fleet, volume, census, report, bucket, progress)
        await run_blocking(put_together, census, report)
        async with open_meta(folder, key=site.key, clock=SystemClock()) if into is None else nullcontext(into) as meta:
            await Filler(site.fleet, meta, census, report, progress).fill(bucket)
    finally:
        await run_blocking(census.close)
    report.seconds = time.monotonic() - began
    return report


def _begin(folder: Path) -> Census:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return Census(folder / "census")


async def _survey(fleet: Fleet, volume_id: str, census: Census, report: Report, bucket: str, progress: Progress) -> None:
    volume, after = fleet.volume(volume_id), ""
    wanted = {bucket, SYSTEM_BUCKET}
    while True:
        page = await volume.list(after, LIST_PAGE)
        found = await volume.examine(page.chunks, deep=False)
        good = [each for each in found if not each.problem]
        report.damaged.update(each.problem for each in found if each.problem and each.problem != "missing")
        if bucket:
            good = [each for each in good if each.record is not None and each.record.bucket in wanted]
        await run_blocking(census.add, volume_id, good)
        report.chunks += len(page.chunks)
        progress("chunks", len(page.chunks))
        if not page.truncated:
            return
        after = page.chunks[-1]
