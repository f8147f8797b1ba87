"""scrub, decommission, rebalance: work on all that is stored, done by the store's process or here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cli.exit import Exit
from cli.session import Session, with_session

if TYPE_CHECKING:
    from store.store import Store

MIB = 1 << 20
_pace = click.option("--pace", type=click.IntRange(0), default=0, metavar="MIB", help="At most so many MiB per second [default: no limit].")
_detach = click.option("--detach", is_flag=True, help="Don't wait for the end, if a process runs the store.")
_deep = click.option("--deep", is_flag=True, help="Also read every byte.")
_plan = click.option("-n", "--dry-run", is_flag=True, help="Change nothing; tell how much would be moved.")
_bucket = click.option("--bucket", default="", metavar="NAME", help="Of this bucket only.")
_volume = click.option("--volume", default="", metavar="ID", help="On this volume only.")
_host = click.option("--host", default="", metavar="HOST", help="On this host's volumes only, or on those of a rack, say; in a cluster.")
_dry = click.option("-n", "--dry-run", is_flag=True, help="Only tell what is wrong; repair nothing.")


def _run(session: Session, kind: str, arguments: dict[str, str], pace: int, detach: bool) -> Exit:
    from cli.work import perform
    from meta.protocol.jobs import Job

    given = {name: value for name, value in arguments.items() if value}
    job = Job(kind, given, pace_bytes=pace * MIB)

    async def prepare(store: Store) -> Job:
        await store.meta.container(given["bucket"]).counters()  # Raises: BucketNotFound
        return job

    session.subject = f"s3://{bucket}" if (bucket := arguments.get("bucket")) else ""
    walks_metadata = kind == "scrub-meta" and "bucket" in given  # by chunks, what a bucket left that is gone can be looked for
    return session.run(lambda: perform(session, prepare if walks_metadata else job, detach=detach))


def _place(volume: str, host: str) -> dict[str, str]:
    if volume and host:
        raise click.UsageError("give --volume or --host, not both")
    return {"volume": volume, "host": host}


def _flags(deep: bool, dry_run: bool) -> dict[str, str]:
    return {name: "1" for name, given in (("deep", deep), ("dry", dry_run)) if given}


@click.group("scrub", short_help="Check all that is stored and repair it.")
def scrub() -> None:
    """Check all that is stored and repair it. Both ways also run by themselves in the background of `frazil up`, and of a cluster."""


@scrub.command("meta", short_help="Check every chunk that the metadata names.")
@_bucket
@_volume
@_host
@_deep
@_dry
@_pace
@_detach
@with_session
def scrub_meta(session: Session, bucket: str, volume: str, host: str, deep: bool, dry_run: bool, pace: int, detach: bool) -> Exit:
    """Check that every chunk the metadata names is there, is whole and says what its row says.

    Exit code 7 when something can't be repaired, 6 when something could not be looked at or repaired now.
    """
    return _run(session, "scrub-meta", {"bucket": bucket, **_place(volume, host), **_flags(deep, dry_run)}, pace, detach)


@scrub.command("chunks", short_help="Check every chunk on the volumes.")
@_bucket
@_volume
@_host
@_deep
@_dry
@_pace
@_detach
@with_session
def scrub_chunks(session: Session, bucket: str, volume: str, host: str, deep: bool, dry_run: bool, pace: int, detach: bool) -> Exit:
    """Check every chunk on the volumes: damaged, orphaned, duplicated, out of place.

    Exit code 7 when something can't be repaired, 6 when something could not be looked at or repaired now.
    """
    return _run(session, "scrub-chunks", {"bucket": bucket, **_place(volume, host), **_flags(deep, dry_run)}, pace, detach)


@click.command("decommission", short_help="Move everything off a volume.")
@click.argument("volume")
@_plan
@_pace
@_detach
@with_session
def decommission(session: Session, volume: str, dry_run: bool, pace: int, detach: bool) -> Exit:
    """Move every chunk off VOLUME, which takes nothing new from now on.

    `frazil status` lists the volumes; `frazil job abort` lets a volume take chunks again. A whole host of a cluster is emptied with
    `frazil node decommission`.
    """
    return _run(session, "decommission", {"volume": volume, **_flags(False, dry_run)}, pace, detach)


@click.command("rebalance", short_help="Move chunks from full volumes to empty ones.")
@_plan
@_pace
@_detach
@with_session
def rebalance(session: Session, dry_run: bool, pace: int, detach: bool) -> Exit:
    """Move chunks from the fullest volumes to the emptiest, until all are about as full."""
    return _run(session, "rebalance", _flags(False, dry_run), pace, detach)
