"""Everything off a host: a job for all of its volumes, done by the cluster itself, followed here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from cli.cluster.door import cluster_store, open_door
from cli.cluster.operator import lock, matching
from cli.cluster.replicas import peers_of, replace_peers, wait_replaced
from cli.estimate import ENDED
from cli.exit import Exit, Hinted
from cli.follow import LOOK_S, TOLD_EVERY_S, follow
from cli.output import Output, count_text
from cli.session import Session
from cli.work import fields, tell
from meta.conscience.protocol import Lock
from meta.protocol.jobs import Job
from node.errors import AlreadyExists
from store.jobs.task import VOLUMES
from store.store import Store

MIB = 1 << 20
KIND = "decommission"
PAGE = 1_000
EMPTY_S = 120.0
Tell = Callable[[int], None]
"""Told how many chunks have been moved so far."""


async def decommission_host(session: Session, host: str, *, pace_mib: int, detach: bool, dry_run: bool) -> Exit:
    """Raises: Hinted, FrazilError."""
    async with open_door(session.directory()) as node:
        services = matching(node, host)
        volumes = [each.id for each in services if each.registration.kind == "rawx"]
        if not volumes:
            raise Hinted(f"{host} has no volumes", "`frazil cluster status` lists them", code=Exit.NOT_FOUND)
        for each in services if not dry_run else ():
            await lock(node, each.id, Lock(place=0))
        peers = peers_of(services)
        stuck = await replace_peers(session, node, peers, dry_run=dry_run)
        code = await _empty(session, host, volumes, pace_mib, detach, dry_run)
        if not detach and not dry_run and not await wait_replaced(session, node, peers):
            stuck += 1
    return max(code, Exit.WARNINGS if stuck else Exit.OK)


async def _empty(session: Session, host: str, volumes: list[str], pace_mib: int, detach: bool, dry_run: bool) -> Exit:
    arguments = {"host": host, VOLUMES: ",".join(volumes)}
    async with cluster_store(session.directory()) as store:
        if dry_run:
            return tell(session.output, await follow(session.output, store, await _submit(store, Job(KIND, arguments | {"dry": "1"}))))
        job = await _submit(store, Job(KIND, arguments, pace_bytes=pace_mib * MIB))
        session.output.record("job", f"job {job.id} empties {count_text(len(volumes), 'volume')} of {host}", **fields(job))
        if detach:
            return Exit.OK
        left = sum([await _chunks(store, volume) for volume in volumes])
        with _progress(session.output, left + _moved(job)) as told:
            job = await _follow(store, job, told)
        code = tell(session.output, job)
        if code is Exit.OK and (left := await _wait_empty(store, volumes)):
            session.output.warn(f"{left:,} chunks that nothing names any more are still there; see `frazil scrub chunks`")
            code = Exit.WARNINGS
    return code


async def _submit(store: Store, job: Job) -> Job:
    """A new job, or that of this host which is not over: a second call follows the first one's work."""
    try:
        return await store.submit_job(job)
    except AlreadyExists:
        jobs = await store.meta.jobs.jobs()
        return next(each for each in jobs if (each.kind, each.arguments) == (job.kind, job.arguments) and each.state not in ENDED)


async def _wait_empty(store: Store, volumes: list[str]) -> int:
    """Moved chunks are deleted a little later, for whoever reads them; how many stay."""
    until = trio.current_time() + EMPTY_S
    while (left := sum([await _chunks(store, each) for each in volumes])) and trio.current_time() < until:  # noqa: ASYNC110
        await trio.sleep(LOOK_S)
    return left


async def _chunks(store: Store, volume: str) -> int:
    """How many chunks it holds."""
    count, after, more = 0, "", True
    while more:
        page = await store.volumes[volume].list(after, PAGE)
        count, more = count + len(page.chunks), page.truncated
        after = page.chunks[-1] if page.chunks else ""
    return count


async def _follow(store: Store, job: Job, told: Tell) -> Job:
    """Until it is over."""
    while job.state not in ENDED:
        await trio.sleep(LOOK_S)
        job = await store.meta.jobs.job(job.id)
        told(_moved(job))
    return job


def _moved(job: Job) -> int:
    return job.progress.get("moved", 0)


@contextmanager
def _progress(output: Output, total: int) -> Iterator[Tell]:
    """A bar on a terminal, else a line now and then."""
    if output.quiet or output.json or not sys.stderr.isatty():
        following = trio.current_time() + TOLD_EVERY_S

        def tell_line(moved: int) -> None:
            nonlocal following
            if trio.current_time() >= following:
                following = trio.current_time() + TOLD_EVERY_S
                output.note(f"{moved:,} of {total:,} chunks are moved")

        yield tell_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("chunks moved"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda moved: bar.update(task, completed=moved)
