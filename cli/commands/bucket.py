"""mb, rb, bucket: make and remove buckets, and how much one may hold."""

from __future__ import annotations

from typing import Any

import click

from cli.address import Remote
from cli.client import S3Client
from cli.commands.remove import delete_all
from cli.confirm import confirm
from cli.exit import Exit
from cli.job import Runner
from cli.meter import SilentMeter
from cli.parameter import REMOTE, SIZE, dry_run_option
from cli.session import Session, with_session
from meta.protocol.bucket import QUOTA_BYTES_MAX
from node.errors import FrazilError
from node.text import bytes_text, visible


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


class _QuotaType(click.ParamType[int]):
    """A size, or "none" as 0."""

    name = "quota"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and value.lower() == "none":
            return 0
        size = SIZE.convert(value, param, ctx)
        if not 0 < size <= QUOTA_BYTES_MAX:
            self.fail(f"a quota is more than nothing and less than {bytes_text(QUOTA_BYTES_MAX + 1)}, or none", param, ctx)
        return size


@click.group("bucket", short_help="Show and change how much a bucket may hold.")
def bucket() -> None:
    """Show and change how much a bucket may hold.

    These commands work on the store's host, whether or not it runs, and on any host of a cluster.
    """


@bucket.command("quota", short_help="Show or change a bucket's quota.")
@click.argument("place", type=REMOTE, metavar="BUCKET")
@click.argument("size", type=_QuotaType(), metavar="[SIZE|none]", required=False)
@with_session
def quota(session: Session, place: Remote, size: int | None) -> Exit:
    """Show the quota of BUCKET, what of it is used and what is left; with SIZE (as 500MiB or 10GiB) set it, with "none" remove it.

    It counts the bytes of all versions of all objects and of the parts of uploads in progress, as S3 shows them. A request that would
    have the bucket hold more is refused (403 QuotaExceeded; EDQUOT in a mount). It may be less than the bucket holds: nothing is deleted,
    but nothing more fits until enough is.
    """
    _check_buckets((place,))
    session.subject = str(place)
    return session.run(lambda: _quota(session, place, size))


async def _quota(session: Session, place: Remote, size: int | None) -> Exit:
    from cli.door import check_store, local_store

    directory = session.directory(place.profile)
    if not directory.is_cluster:
        check_store(directory)  # else one that is named would be made
    async with local_store(directory, write=size is not None) as store:
        container = store.meta.container(place.bucket)
        settings = await (container.settings() if size is None else container.change_settings(quota_bytes=size))
        used = (await container.counters()).used_bytes
    total = settings.quota_bytes or None
    left = None if total is None else max(total - used, 0)
    session.output.record("quota", f"{place}: {_quota_text(total, used)}", bucket=place.bucket, quota=total, used=used, left=left)
    return Exit.OK


def _quota_text(total: int | None, used: int) -> str:
    if total is None:
        return f"no quota, {bytes_text(used)} used"
    start = f"quota {bytes_text(total)}, {bytes_text(used)} used, "
    if used <= total:
        return start + f"{bytes_text(total - used)} left"
    return start + f"{bytes_text(used - total)} beyond it: nothing more fits until enough is deleted"
