"""mb, rb: make and remove buckets."""

from __future__ import annotations

import click

from cli.address import Remote
from cli.client import S3Client
from cli.commands.remove import delete_all
from cli.confirm import confirm
from cli.exit import Exit
from cli.job import Runner
from cli.meter import SilentMeter
from cli.parameter import REMOTE, dry_run_option
from cli.session import Session, with_session
from node.errors import FrazilError
from node.text import visible


def _check_buckets(buckets: tuple[Remote, ...]) -> None:
    for place in buckets:
        if place.key:
            raise click.UsageError(f"{place} is no bucket but something in one")


@click.command("mb", short_help="Make buckets.")
@click.argument("buckets", type=REMOTE, nargs=-1, required=True, metavar="BUCKET...")
@dry_run_option
@with_session
def make_bucket(session: Session, buckets: tuple[Remote, ...], dry_run: bool) -> Exit:
    """Make buckets. One that this key has already is left as it is."""
    _check_buckets(buckets)
    return session.run(lambda: _make(session, buckets))


async def _make(session: Session, buckets: tuple[Remote, ...]) -> Exit:
    runner = Runner(session.output, SilentMeter())
    async with session.clients({place.profile for place in buckets}) as clients:
        for place in buckets:
            try:
                if not session.output.dry_run:
                    await clients[place.profile].create_bucket(place.bucket)
            except FrazilError as error:
                runner.fail(str(place), error)
            else:
                runner.tally.done += 1
                session.output.progress("done", f"made {place}", verb="make", source=str(place))
    return runner.finish("bucket")


@click.command("rb", short_help="Remove buckets.")
@click.argument("buckets", type=REMOTE, nargs=-1, required=True, metavar="BUCKET...")
@click.option("--force", is_flag=True, help="Also delete all that is in them: objects, versions, uploads.")
@click.option("--yes", is_flag=True, help="Don't ask before --force.")
@dry_run_option
@with_session
def remove_bucket(session: Session, buckets: tuple[Remote, ...], force: bool, yes: bool, dry_run: bool) -> Exit:
    """Remove buckets that are empty."""
    _check_buckets(buckets)
    for place in buckets if force else ():
        confirm(f"This deletes {place} and all that is in it", place.bucket, yes=yes or dry_run)
    return session.run(lambda: _remove(session, buckets, force=force))


async def _remove(session: Session, buckets: tuple[Remote, ...], *, force: bool) -> Exit:
    runner = Runner(session.output, SilentMeter())
    removed = 0
    async with session.clients({place.profile for place in buckets}) as clients:
        for place in buckets:
            client = clients[place.profile]
            try:
                if force:
                    await _empty(session, runner, client, place.bucket)
                if not session.output.dry_run:
                    await client.delete_bucket(place.bucket)
            except FrazilError as error:
                runner.fail(str(place), error)
            else:
                removed += 1
                session.output.progress("done", f"removed {visible(str(place))}", verb="remove", source=str(place))
    runner.tally.done = removed
    return runner.finish("bucket")


async def _empty(session: Session, runner: Runner, client: S3Client, bucket: str) -> None:
    await delete_all(session, runner, client, bucket, client.list_versions(bucket))
    async for upload in client.list_uploads(bucket):
        if not session.output.dry_run:
            await client.abort_upload(bucket, upload.key, upload.upload)
