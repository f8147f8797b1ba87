"""rebuild: metadata out of the chunks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.exit import Exit, Hinted
from cli.output import Output, count_text
from cli.rebuilt import Progress, check_told, tell, tell_differences
from cli.session import Session, with_session

if TYPE_CHECKING:
    from store.rebuild.survey import Site


@click.group("rebuild", short_help="Make anew what a disk has lost.")
def rebuild() -> None:
    """Make anew what a disk has lost."""


@rebuild.command("meta", short_help="Make the metadata anew from the chunks.")
@click.option("--bucket", default="", metavar="NAME", help="Of this bucket only.")
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing; tell in what the metadata that is there differs.")
@click.option("--force", is_flag=True, help="Also when the metadata is whole, or some volumes are away.")
@with_session
def meta(session: Session, bucket: str, dry_run: bool, force: bool) -> Exit:
    """Make the metadata anew, from nothing but the chunks on the volumes: of a cluster, or of a store that does not run.

    Objects, versions, delete markers, tags, uploads in progress, bucket settings and access keys come back; what could not be proven
    whole is told. What was there before is kept beside it, as meta.before-TIME. Exit code 7 when something could not be restored, or
    differs.

    In a cluster all of its metadata is made anew on the peers that are up, while it serves nobody; with --bucket that of one which is
    lost, or damaged at every peer, while the others are served.
    """
    if session.directory().is_cluster:
        from cli.cluster.renew import renew

        return session.run(lambda: renew(session, bucket, force=force))
    return session.run(lambda: _rebuild(session, bucket, force))


async def _rebuild(session: Session, bucket: str, force: bool) -> Exit:
    from cli.door import check_store
    from store.rebuild.site import build, open_site
    from store.rebuild.swap import META_FOLDER, NEW_FOLDER, finish_renames, is_built

    first, output = check_store(session.directory()), session.output
    async with open_site(first) as site:
        if is_built(first):
            finish_renames(first)
            output.record("done", "an earlier rebuild was complete and is in its place now", verb="rebuild")
            return Exit.OK
        _check(site, bucket, force or output.dry_run)
        report = await build(site, first / NEW_FOLDER, bucket=bucket, progress=Progress(output))
        differ = 0
        try:
            check_told(report, bucket)
            if output.dry_run:
                differ = tell_differences(output, first / META_FOLDER, first / NEW_FOLDER, bucket)
            else:
                await _put_in_place(output, site, bucket)
        finally:
            shutil.rmtree(first / NEW_FOLDER, ignore_errors=True)
    return tell(output, report, differ)


def _check(site: Site, bucket: str, force: bool) -> None:
    """Raises: Hinted."""
    from store.rebuild.swap import META_FOLDER, unhealthy

    if force:
        return
    if site.away:
        volume, reason = next(iter(site.away.items()))
        hint = "bring them back, or give --force: what only they hold is not restored then"
        raise Hinted(f"{count_text(len(site.away), 'volume')} can't be looked at: {volume}: {reason}", hint, code=Exit.TEMPORARY)
    if not unhealthy(site.first / META_FOLDER, bucket=bucket):
        raise Hinted("the metadata is whole", "compare it with --dry-run, or replace it with --force", code=Exit.CONFLICT)


async def _put_in_place(output: Output, site: Site, bucket: str) -> None:
    from store.rebuild.swap import put_bucket_in_place, put_in_place

    if not bucket:
        old: Path | None = put_in_place(site.first)
    else:
        old = put_bucket_in_place(site.first, bucket)
        await _name(site, bucket)
    if old is not None:
        output.note(f"the metadata as it was lies in {old}")


async def _name(site: Site, bucket: str) -> None:
    """The bucket's names in registry, directory and account, as its container says."""
    from meta.local import open_meta
    from meta.protocol.registry import BucketEntry
    from node.clock import SystemClock
    from store.rebuild.swap import META_FOLDER

    async with open_meta(site.first / META_FOLDER, key=site.key, clock=SystemClock()) as meta:
        settings = await meta.container(bucket).settings()
        entry = BucketEntry(bucket, settings.account, settings.created_us, settings.region)
        await meta.registry.claim(entry)
        await meta.directory.assign(bucket)
        await meta.accounts.add_bucket(entry)


@rebuild.command("host", short_help="Make anew what a lost host held.")
@click.argument("host")
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing; tell how much would be made anew.")
@click.option("--pace", type=click.IntRange(0), default=0, metavar="MIB", help="At most so many MiB per second [default: no limit].")
@click.option("--detach", is_flag=True, help="Don't wait for the end.")
@with_session
def host(session: Session, host: str, dry_run: bool, pace: int, detach: bool) -> Exit:
    """Make anew, on the other hosts of a cluster, all that HOST held, which is lost for good: chunks, and replicas of the metadata.

    What there are no volumes for waits until there are; a host that is added serves. The work goes on by itself when this command is
    interrupted; running it again follows it.
    """
    return session.run(lambda: _rebuild_host(session, host, pace << 20, detach, dry_run))


async def _rebuild_host(session: Session, host: str, pace_bytes: int, detach: bool, dry_run: bool) -> Exit:
    from cli.cluster.rebuild import rebuild_host

    return await rebuild_host(session, host, pace_bytes=pace_bytes, detach=detach, dry_run=dry_run)


@rebuild.command("volume", short_help="Make anew what a volume has lost.")
@click.argument("volume")
@click.option("-n", "--dry-run", is_flag=True, help="Change nothing; tell how much would be made anew.")
@click.option("--pace", type=click.IntRange(0), default=0, metavar="MIB", help="At most so many MiB per second [default: no limit].")
@click.option("--detach", is_flag=True, help="Don't wait for the end, if a process runs the store.")
@with_session
def volume(session: Session, volume: str, dry_run: bool, pace: int, detach: bool) -> Exit:
    """Make every chunk anew that VOLUME should hold and doesn't: on the others while it is away, on any of them when it came back empty."""
    from cli.work import perform
    from meta.protocol.jobs import Job

    arguments = {"volume": volume} | ({"dry": "1"} if dry_run else {})
    job = Job("rebuild-volume", arguments, pace_bytes=pace << 20)
    return session.run(lambda: perform(session, job, detach=detach))
