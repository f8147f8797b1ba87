"""Volumes that take nothing new, because they are being emptied or were."""

from __future__ import annotations

import trio

from meta.protocol.jobs import Job
from node.errors import BaseNotFound, FrazilError
from node.log import get_logger
from store.context import Context
from store.fleet import Fleet
from store.jobs.task import volumes_of

LOOK_S = 1.0
REOPEN_S = 10.0
"""How old may be what is known of the volumes when they are looked at."""
EMPTIED = "decommission"
log = get_logger("store.jobs")


def retire(fleet: Fleet, jobs: list[Job]) -> None:
    """Volumes that are being emptied, or were, take nothing new; of several such jobs of a volume the last counts."""
    emptied = [job for job in sorted(jobs, key=lambda job: job.id) if job.kind == EMPTIED and "dry" not in job.arguments]
    last = {volume: job for job in emptied for volume in volumes_of(job.arguments)}
    fleet.retire({volume for volume, job in last.items() if job.state != "aborted"})


async def reopen(context: Context) -> None:
    """Volumes that were told to take nothing new, by a job that was aborted since, or is forgotten, are told that they may."""
    fleet = context.fleet
    for stat in await fleet.stats(age_s_max=REOPEN_S):
        if stat.retired and stat.volume not in fleet.retired:
            try:
                await fleet.volume(stat.volume).retire(False)
            except FrazilError as error:
                log.info("a volume can't be told that it may be used again", extra={"volume": stat.volume, "error": str(error)})


async def keep_retired(context: Context) -> None:
    """The same in a process that works on no jobs, for ever."""
    while True:
        try:
            retire(context.fleet, await context.meta.jobs.jobs())
        except (FrazilError, BaseNotFound) as error:
            log.info("the jobs can't be read now", extra={"error": str(error)})
        await trio.sleep(LOOK_S * 2)
