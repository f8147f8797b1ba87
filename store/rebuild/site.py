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
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from random import Random

from meta.local import open_meta
from meta.protocol.door import Meta
from node.clock import SystemClock
from node.errors import ConfigError
from node.threads import run_blocking
from store.embedded import StoreOptions, prepare
from store.fleet import Fleet
from store.rebuild.census import Census
from store.rebuild.filler import Filler
from store.rebuild.grouping import put_together
from store.rebuild.report import Progress, Report
from store.rebuild.survey import Site, Survey
from store.settings import exclusive
from store.slot import slots_of


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
        slots = [stack.enter_context(slot) for slot in slots_of(settings, first)]
        fleet = Fleet({slot.id: slot.volume for slot in slots}, random=Random(os.urandom(32)))
        away = {stat.volume: stat.sick for stat in await fleet.stats() if stat.sick}
        yield Site(first, key, fleet, away, here=True)


async def build(
    site: Site, folder: Path, *, bucket: str = "", progress: Progress = lambda _what, _count: None, into: Meta | None = None
) -> Report:
    """Fills `folder` with the metadata that the chunks tell; with `bucket` of that one only. into: fills this instead.

    Raises: ConfigError, VolumeFull, VolumeSick.
    """
    began = time.monotonic()
    report = Report()
    census = await run_blocking(_begin, folder, sorted(site.fleet.volumes))
    try:
        await Survey(site, census, report, bucket, progress).run()
        await run_blocking(put_together, census, report)
        async with open_meta(folder, key=site.key, clock=SystemClock()) if into is None else nullcontext(into) as meta:
            await Filler(site.fleet, meta, census, report, progress).fill(bucket)
    finally:
        await run_blocking(census.close)
    report.seconds = time.monotonic() - began
    return report


def _begin(folder: Path, volumes: Sequence[str]) -> Census:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return Census(folder / "census", volumes)
