"""quarantine: damaged chunks that repairs moved aside."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from cli.exit import Exit
from cli.output import count_text, time_text
from cli.session import Session, with_session
from node.text import bytes_text, visible

_volume = click.option("--volume", default="", metavar="ID", help="Of this volume only.")
DAY_S = 86_400


@click.group("quarantine", short_help="List and purge damaged chunks that were moved aside.")
def quarantine() -> None:
    """List and purge damaged chunks that were moved aside when they had been made anew elsewhere.

    After 30 days the store's process deletes them by itself, each only when every byte of what took its place was read and is whole.
    """


@quarantine.command("list", short_help="List what lies in quarantine.")
@_volume
@with_session
def list_quarantine(session: Session, volume: str) -> Exit:
    """List the damaged chunks that were moved aside: when, why, and whose they were."""
    return session.run(lambda: _list(session, volume))


async def _list(session: Session, volume: str) -> Exit:
    from cli.door import local_store

    count = size = 0
    async with local_store(session.directory()) as store:
        async for each in store.quarantined(volume):
            chunk, record = each.chunk, each.chunk.record
            count, size = count + 1, size + chunk.size
            when = time_text(datetime.fromtimestamp(chunk.time_us / 1e6, UTC))
            whose = visible(f"{record.bucket}/{record.key}") if record is not None else "(its record can't be read)"
            fields = {"volume": each.volume, "name": chunk.name, "reason": chunk.reason, "time_us": chunk.time_us, "size": chunk.size}
            owner = {"bucket": record.bucket, "key": record.key} if record is not None else {}
            line = f"{when}  {each.volume}  {bytes_text(chunk.size):>10}  {chunk.reason or 'no reason noted'}: {whose}"
            session.output.record("quarantined", line, **fields, **owner)
    session.output.record("summary", f"{count_text(count, 'chunk')}, {bytes_text(size)}", chunks=count, bytes=size)
    return Exit.OK


@quarantine.command("purge", short_help="Delete what lies in quarantine.")
@_volume
@click.option("--older-than", type=click.IntRange(0), default=0, metavar="DAYS", help="Only what lies there for longer [default: all].")
@click.option("--unchecked", is_flag=True, help="Also what was not replaced, or can't be judged.")
@click.option("-n", "--dry-run", is_flag=True, help="Delete nothing; tell what would be.")
@with_session
def purge(session: Session, volume: str, older_than: int, unchecked: bool, dry_run: bool) -> Exit:
    """Delete damaged chunks from quarantine, each only when every byte of what took its place was read and is whole.

    Exit code 6 when some had to stay.
    """
    return session.run(lambda: _purge(session, volume, older_than, unchecked))


async def _purge(session: Session, volume: str, older_than: int, unchecked: bool) -> Exit:
    from cli.door import local_store
    from node.errors import FrazilError

    oldest_us = int((time.time() - older_than * DAY_S) * 1e6)
    purged = kept = size = 0
    async with local_store(session.directory()) as store:
        async for each in store.quarantined(volume):
            if each.chunk.time_us > oldest_us:
                continue
            try:
                done = session.output.dry_run or await store.purge(each, unchecked=unchecked)
            except FrazilError as error:
                session.output.error(error, where=each.chunk.name)
                done = False
            purged, kept = purged + done, kept + (not done)
            size += each.chunk.size if done else 0
            words = "purged" if done else "kept: what took its place is not whole, or can't be judged"
            session.output.progress("purged" if done else "kept", f"{each.chunk.name}: {words}", volume=each.volume, name=each.chunk.name)
    line = f"{count_text(purged, 'chunk')} purged, {bytes_text(size)}" + (f"; {kept:,} kept" if kept else "")
    code = Exit.PARTIAL if kept else Exit.OK
    session.output.record("summary", line, purged=purged, kept=kept, bytes=size, exit=int(code))
    return code
