"""rm: delete objects, prefixes, uploads that were never completed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeVar

import click
import trio

from cli.address import Remote
from cli.answer import Version
from cli.client import DELETE_MANY_MAX, S3Client
from cli.confirm import confirm
from cli.exit import Exit
from cli.job import Runner
from cli.match import Filter
from cli.meter import SilentMeter
from cli.parameter import REMOTE, dry_run_option, filter_options, jobs_option
from cli.session import Session, with_session
from node.errors import FrazilError, ObjectNotFound
from node.text import visible

T = TypeVar("T")
BATCHES_AT_ONCE = 4


@click.command("rm", short_help="Delete objects.")
@click.argument("places", type=REMOTE, nargs=-1, required=True, metavar="PLACE...")
@click.option("-r", "--recursive", is_flag=True, help="All objects whose keys begin with PLACE's.")
@click.option("--uploads", is_flag=True, help="Instead of objects, uploads in parts that were never completed.")
@click.option("-f", "--force", is_flag=True, help="A missing object is no error.")
@click.option("--yes", is_flag=True, help="Don't ask before -r.")
@filter_options
@jobs_option
@dry_run_option
@with_session
def rm(
    session: Session,
    places: tuple[Remote, ...],
    recursive: bool,
    uploads: bool,
    force: bool,
    yes: bool,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    jobs: int,
    dry_run: bool,
) -> Exit:
    """Delete objects; with -r all whose keys begin with PLACE's (a folder when it ends in a slash)."""
    for place in places:
        if not place.key and not recursive and not uploads:
            raise click.UsageError(f"{place} is a bucket; `frazil rb` removes buckets, -r deletes all that is in one")
        if recursive and not uploads:
            confirm(f"This deletes all that begins with {place}", place.bucket, yes=yes or dry_run)
    passes = Filter.parse(include, exclude)
    return session.run(lambda: _rm(session, places, passes, jobs, recursive=recursive, uploads=uploads, force=force))


async def _rm(
    session: Session, places: tuple[Remote, ...], passes: Filter, jobs: int, *, recursive: bool, uploads: bool, force: bool
) -> Exit:
    runner = Runner(session.output, SilentMeter(), jobs)
    async with session.clients({place.profile for place in places}, connections_max=jobs) as clients:
        for place in places:
            client = clients[place.profile]
            try:
                if uploads:
                    await _remove_uploads(session, runner, client, place, passes)
                elif recursive:
                    await delete_all(session, runner, client, place.bucket, _below(client, place, passes))
                else:
                    await _remove_one(session, runner, client, place, force=force)
            except FrazilError as error:
                runner.fail(str(place), error)
    return runner.finish("upload" if uploads else "object")


async def _remove_one(session: Session, runner: Runner, client: S3Client, place: Remote, *, force: bool) -> None:
    try:
        await client.head(place.bucket, place.key)  # S3's delete doesn't tell whether there was something
    except ObjectNotFound:
        if not force:
            raise
        runner.tally.skipped += 1
        return
    if not session.output.dry_run:
        await client.delete(place.bucket, place.key)
    _report(session, runner, place)


def _report(session: Session, runner: Runner, place: Remote, **fields: object) -> None:
    runner.tally.done += 1
    session.output.progress("done", f"delete {visible(str(place))}", verb="delete", source=str(place), **fields)


async def _below(client: S3Client, place: Remote, passes: Filter) -> AsyncIterator[Version]:
    cut = place.key.rfind("/") + 1
    async for entry in client.list_objects(place.bucket, place.key):
        if passes.passes(entry.key[cut:]):
            yield Version(entry.key)


async def delete_all(session: Session, runner: Runner, client: S3Client, bucket: str, doomed: AsyncIterator[Version]) -> None:
    """Deletes in batches, some at a time, while the listing goes on; failures are reported one by one."""
    slots = trio.Semaphore(BATCHES_AT_ONCE)

    async def one(batch: list[Version]) -> None:
        try:
            failed = {} if session.output.dry_run else dict(await client.delete_many(bucket, batch))
            for version in batch:
                place = Remote(bucket, version.key)
                if version.key in failed:
                    runner.fail(str(place), failed[version.key])
                else:
                    _report(session, runner, place, **({"version": version.version} if version.version else {}))
        finally:
            slots.release()

    async with trio.open_nursery() as nursery:
        async for batch in batches(doomed, DELETE_MANY_MAX):
            await slots.acquire()
            nursery.start_soon(one, batch)


async def batches(items: AsyncIterator[T], size: int) -> AsyncIterator[list[T]]:
    """Lists of up to `size` items."""
    batch: list[T] = []
    async for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


async def _remove_uploads(session: Session, runner: Runner, client: S3Client, place: Remote, passes: Filter) -> None:
    cut = place.key.rfind("/") + 1
    async for upload in client.list_uploads(place.bucket, place.key):
        if passes.passes(upload.key[cut:]):
            if not session.output.dry_run:
                await client.abort_upload(place.bucket, upload.key, upload.upload)
            _report(session, runner, Remote(place.bucket, upload.key), upload=upload.upload)
