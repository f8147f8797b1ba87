"""job: long work, looked at and steered."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from cli.exit import Exit
from cli.output import time_text
from cli.session import Session, with_session

MIB = 1 << 20


@click.group("job", short_help="Show, pause, resume and abort long work.")
def job() -> None:
    """Show, pause, resume and abort long work: scrubs, rebuilds, moves. It survives restarts of the store."""


@job.command("list", short_help="List jobs.")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@with_session
def list_jobs(session: Session, everything: bool) -> Exit:
    """List the jobs that are not over, oldest first."""
    return session.run(lambda: _list(session, everything))


async def _list(session: Session, everything: bool) -> Exit:
    from cli.door import local_store
    from cli.estimate import ENDED, left_s, share_of
    from cli.work import fields
    from node.text import span_text
    from store.jobs.title import title

    async with local_store(session.directory()) as store:
        jobs = await store.meta.jobs.jobs()
    shown = [each for each in jobs if everything or each.state not in ENDED]
    for each in shown:
        made = time_text(datetime.fromtimestamp(each.created_us / 1e6, UTC))
        share, left = share_of(each) if each.state not in ENDED else None, left_s(each)
        far = "" if share is None else f"{share:.0%}" + ("" if left is None else f", {span_text(left)} left")
        session.output.record("job", f"{each.id:>5}  {each.state:<8} {made}  {far:<20} {title(each)}", **fields(each))
    if session.output.json:
        session.output.record("summary", jobs=len(shown))
    return Exit.OK


@job.command("show", short_help="Show how far a job is.")
@click.argument("number", type=int)
@click.option("-w", "--watch", is_flag=True, help="Until it is over, with a bar and an estimate.")
@with_session
def show(session: Session, number: int, watch: bool) -> Exit:
    """Show how far job NUMBER is, what it found, and how long it will take yet."""
    return session.run(lambda: _show(session, number, watch))


async def _show(session: Session, number: int, watch: bool) -> Exit:
    from cli.door import local_store
    from cli.estimate import progress
    from cli.follow import follow
    from cli.work import fields, tell
    from store.jobs.title import title

    async with local_store(session.directory()) as store:
        found = await store.meta.jobs.job(number)
        if watch:
            return tell(session.output, await follow(session.output, store, found))
    lines = [f"job {found.id} is {found.state}: {title(found)}", progress(found), *(line for line in found.message.split("; ") if line)]
    if found.pace_bytes:
        lines.insert(1, f"at most {found.pace_bytes / MIB:g} MiB/s")
    session.output.record("job", "\n".join(lines), **fields(found))
    return Exit.OK


async def _control(session: Session, number: int, state: str, pace_bytes: int | None = None) -> Exit:
    from cli.door import local_store
    from cli.work import fields

    async with local_store(session.directory(), write=True) as store:
        found = await store.meta.jobs.control_job(number, state=state, pace_bytes=pace_bytes)
    session.output.record("job", f"job {found.id} is {found.state}", **fields(found))
    return Exit.OK


@job.command("pause", short_help="Hold a job.")
@click.argument("number", type=int)
@with_session
def pause(session: Session, number: int) -> Exit:
    """Hold job NUMBER where it is."""
    return session.run(lambda: _control(session, number, "paused"))


@job.command("resume", short_help="Let a job go on.")
@click.argument("number", type=int)
@with_session
def resume(session: Session, number: int) -> Exit:
    """Let job NUMBER go on from where it is."""
    return session.run(lambda: _control(session, number, "running"))


@job.command("abort", short_help="End a job.")
@click.argument("number", type=int)
@with_session
def abort(session: Session, number: int) -> Exit:
    """End job NUMBER; what it did stays done."""
    return session.run(lambda: _control(session, number, "aborted"))


@job.command("pace", short_help="Change a job's pace.")
@click.argument("number", type=int)
@click.argument("mib", type=click.IntRange(0))
@with_session
def pace(session: Session, number: int, mib: int) -> Exit:
    """Let job NUMBER go at most MIB MiB per second; 0 is as fast as it can."""
    return session.run(lambda: _control(session, number, "", mib * MIB))
