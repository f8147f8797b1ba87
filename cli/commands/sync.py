"""sync: make a target like its source."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

import click

from cli.address import Address, Local, Remote, Stream
from cli.compare import Verdict, by_time, merge
from cli.connection import Answer
from cli.exit import Exit, Hinted
from cli.job import Job, Runner
from cli.match import Filter
from cli.meter import metered
from cli.output import count_text
from cli.parameter import ADDRESS, dry_run_option, filter_options, header_options, jobs_option, object_headers
from cli.session import Session, with_session
from cli.transfer import Transfers, check_no_link, path_below, same_bytes
from cli.walk import Item, local_items, remote_items
from node.errors import FrazilError
from node.threads import run_blocking

DELETIONS_MAX = 1_000_000
"""Names to delete that one run remembers; the next run finds the rest."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What sync was asked for."""

    source: Local | Remote
    target: Local | Remote
    passes: Filter
    checksum: bool
    size_only: bool
    delete: bool
    delete_max: int


@click.command("sync", short_help="Make a target like its source, copying what differs.")
@click.argument("source", type=ADDRESS)
@click.argument("target", type=ADDRESS)
@click.option("--checksum", is_flag=True, help="Compare bytes by the checksums that the store keeps, not times.")
@click.option("--size-only", is_flag=True, help="Compare sizes only.")
@click.option("--delete", is_flag=True, help="Delete from the target what the source doesn't have; only after everything was copied.")
@click.option(
    "--max-delete", metavar="N", type=click.IntRange(0), default=None, help="Delete nothing at all if it would be more than this many."
)
@filter_options
@header_options
@jobs_option
@dry_run_option
@with_session
def sync(session: Session, source: Address, target: Address, jobs: int, **options: object) -> Exit:
    """Make what is below TARGET like what is below SOURCE (folders or prefixes; at least one in a store).

    A file is copied when the target lacks it, has another size, or is older than the source; what was written within the same
    second is compared by checksum. Filters apply to both sides: what they hide is neither copied nor deleted.
    """
    if isinstance(source, Stream) or isinstance(target, Stream) or (isinstance(source, Local) and isinstance(target, Local)):
        raise click.UsageError("sync takes two folders, at least one of them in a store (s3://BUCKET/PREFIX)")
    options.pop("dry_run")
    headers = object_headers(options)
    passes = Filter.parse(options["include"], options["exclude"])  # type: ignore[arg-type]
    limit = options["max_delete"]
    plan = Plan(
        source=source.folder() if isinstance(source, Remote) else source,
        target=target.folder() if isinstance(target, Remote) else target,
        passes=passes,
        checksum=bool(options["checksum"]),
        size_only=bool(options["size_only"]),
        delete=bool(options["delete"]),
        delete_max=limit if isinstance(limit, int) else DELETIONS_MAX,
    )
    return session.run(lambda: _sync(session, plan, headers, jobs))


async def _sync(session: Session, plan: Plan, headers: dict[str, str], jobs: int) -> Exit:
    profiles = {place.profile for place in (plan.source, plan.target) if isinstance(place, Remote)}
    async with session.clients(profiles, connections_max=jobs * 2) as clients:
        with metered(session.output) as meter:
            transfers = Transfers(clients, meter, jobs, headers)
            runner = Runner(session.output, meter, jobs)
            doomed: list[str] = []
            await runner.run(_copies(session, runner, transfers, plan, doomed))
            if plan.delete and doomed:
                await _delete(session, runner, transfers, plan, doomed)
        return runner.finish("file")


async def _delete(session: Session, runner: Runner, transfers: Transfers, plan: Plan, doomed: list[str]) -> None:
    if runner.tally.failed:
        session.output.warn(f"{count_text(len(doomed), 'file')} not deleted from {plan.target}, because something failed before")
        return
    if len(doomed) > plan.delete_max:
        message = (
            f"{count_text(len(doomed), 'file')} would be deleted from {plan.target}, more than --max-delete {plan.delete_max}; none was"
        )
        raise Hinted(message, "see which with --dry-run, then raise it", code=Exit.CONFLICT)

    async def deletions() -> AsyncGenerator[Job, None]:
        for name in doomed:
            if isinstance(plan.target, Remote):
                yield transfers.delete_remote(plan.target.below(name))
            else:
                yield transfers.delete_local(plan.target.path, name)

    await runner.run(deletions())


async def _items(
    session: Session, runner: Runner, transfers: Transfers, place: Local | Remote, passes: Filter, *, target: bool
) -> AsyncGenerator[Item, None]:
    """What can't be read counts as failed, so that nothing is deleted on the other side for it."""
    items: AsyncIterator[Item]
    if isinstance(place, Remote):
        items = remote_items(transfers.client(place), place, passes)
    elif target and not os.path.isdir(place.path):  # noqa: ASYNC240 - once
        return  # made by the first download
    else:
        items = local_items(place.path, passes, session.output.warn, runner.fail)
    async for item in items:
        yield item


async def _copies(session: Session, runner: Runner, transfers: Transfers, plan: Plan, doomed: list[str]) -> AsyncGenerator[Job, None]:
    sources = _items(session, runner, transfers, plan.source, plan.passes, target=False)
    targets = _items(session, runner, transfers, plan.target, plan.passes, target=True)
    async with aclosing(sources), aclosing(targets):
        async for source, target in merge(sources, targets):
            if source is None:
                assert target is not None
                if plan.delete and len(doomed) < DELETIONS_MAX:
                    doomed.append(target.name)
            elif (verdict := _compare(plan, source, target)) is Verdict.SAME:
                runner.tally.skipped += 1
            else:
                try:
                    yield _copy(transfers, plan, source, target, verdict)
                except (FrazilError, OSError) as error:
                    runner.fail(source.name, error)


def _compare(plan: Plan, source: Item, target: Item | None) -> Verdict:
    """What sizes and times say."""
    if target is None or source.size != target.size:
        return Verdict.CHANGED
    if plan.checksum:
        return Verdict.LOOK
    if plan.size_only:
        return Verdict.SAME
    verdict = by_time(source, target)
    if verdict is Verdict.LOOK and isinstance(plan.target, Local):
        return Verdict.SAME  # a download gives the file the object's own time
    return verdict


def _copy(transfers: Transfers, plan: Plan, source: Item, target: Item | None, verdict: Verdict) -> Job:
    needed = _by_checksum(transfers, plan, source, target) if verdict is Verdict.LOOK else None
    if isinstance(plan.source, Local):
        assert isinstance(plan.target, Remote)
        return transfers.upload(os.path.join(plan.source.path, source.name), source.size, plan.target.below(source.name), needed)
    place = plan.source.below(source.name)
    if isinstance(plan.target, Remote):
        return transfers.copy(place, source.size, plan.target.below(source.name), needed)
    path = path_below(plan.target, source.name)
    check_no_link(plan.target, source.name)
    return transfers.download(place, source, path, needed)


def _by_checksum(transfers: Transfers, plan: Plan, source: Item, target: Item | None) -> Callable[[], Awaitable[bool]]:
    """Asks the stores for checksums; True (copy) when they differ or don't tell."""

    async def differ() -> bool:
        assert target is not None
        if isinstance(plan.source, Remote) and isinstance(plan.target, Remote):
            there = await _head(transfers, plan.source, source.name), await _head(transfers, plan.target, target.name)
            sums = [head.whole_checksum for head in there]
            return sums[0] != sums[1] if all(sums) else source.etag != target.etag
        remote, local = (plan.target, plan.source) if isinstance(plan.target, Remote) else (plan.source, plan.target)
        assert isinstance(remote, Remote)
        assert isinstance(local, Local)
        head = await _head(transfers, remote, source.name)
        return not await run_blocking(same_bytes, os.path.join(local.path, source.name), head, abandon=True)

    return differ


async def _head(transfers: Transfers, folder: Remote, name: str) -> Answer:
    place = folder.below(name)
    return await transfers.client(place).head(place.bucket, place.key)
