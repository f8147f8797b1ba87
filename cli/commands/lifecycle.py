"""lifecycle: the rules of buckets, what they would do and have done."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from cli.address import Remote
from cli.exit import Exit
from cli.output import count_text, time_json, time_text
from cli.parameter import REMOTE, dry_run_option
from cli.session import Session, with_session
from node.text import visible

if TYPE_CHECKING:
    from glacier.lifecycle.walk import Due, Walk
    from meta.protocol.jobs import Job
    from store.store import Store


@click.group("lifecycle", short_help="Show buckets' lifecycle rules, and what they do.")
def lifecycle() -> None:
    """Show the lifecycle rules of buckets, what they would do and what they have done. `frazil up` carries them out by itself."""


@lifecycle.command("show", short_help="Show a bucket's rules.")
@click.argument("place", type=REMOTE)
@with_session
def show(session: Session, place: Remote) -> Exit:
    """Show the lifecycle rules of the bucket PLACE, in words."""
    session.subject = str(place)
    return session.run(lambda: _show(session, place))


async def _show(session: Session, place: Remote) -> Exit:
    from cli.rule import sentences

    async with session.client(place.profile) as client:
        rules = sentences(await client.lifecycle(place.bucket))
    for rule in rules:
        words = [
            f"{visible(rule.name)}{'' if rule.enabled else ' (disabled)'}: {visible(rule.about)}",
            *(f"  {each}" for each in rule.actions),
        ]
        session.output.record("rule", "\n".join(words), id=rule.name, enabled=rule.enabled, about=rule.about, actions=rule.actions)
    session.output.record("summary", rules=len(rules))
    return Exit.OK


@lifecycle.command("run", short_help="Carry out what is due now.")
@click.argument("bucket", default="")
@click.option("--detach", is_flag=True, help="Don't wait for the end, if a process runs the store.")
@dry_run_option
@with_session
def run(session: Session, bucket: str, detach: bool, dry_run: bool) -> Exit:
    """Carry out what is due now by the rules of BUCKET, or of all; the store does the same by itself, four times a day.

    With --dry-run each object is named with what would happen to it and by which rule, and nothing is done.
    """
    bucket = bucket.removeprefix("s3://").rstrip("/")
    session.subject = bucket
    if dry_run:
        return session.run(lambda: _dry_run(session, bucket))
    return session.run(lambda: _run(session, bucket, detach))


async def _run(session: Session, bucket: str, detach: bool) -> Exit:
    from cli.work import perform
    from glacier.lifecycle.task import KIND
    from meta.protocol.jobs import Job

    async def prepare(store: Store) -> Job:
        await _hire(session, store)
        return Job(KIND, {"bucket": bucket} if bucket else {})

    return await perform(session, prepare, detach=detach)


async def _hire(session: Session, store: Store) -> None:
    """The engine, for a store that no other process runs."""
    import time

    from glacier.lifecycle.engine import engine
    from s3.call import GatewayOptions
    from s3.herald import LifecycleHerald
    from s3.lifecycle_document import rules_of
    from s3.outbox import Outbox

    options = GatewayOptions()
    herald = LifecycleHerald(store.meta, Outbox(store.home), region=options.region, host_id=options.host_id, now_s=time.time)
    store.hire(engine(rules_of, options.calendar, herald))


async def _dry_run(session: Session, bucket: str) -> Exit:
    from cli.door import local_store
    from glacier.lifecycle.walk import Position

    counts: dict[str, int] = {}
    async with local_store(session.directory()) as store:
        if bucket:
            await store.meta.container(bucket).settings()  # says when there is no such bucket
        walk, position = _walk(session, store, bucket), Position()
        while True:
            page = await walk.page(position)
            if page.problem:
                session.output.warn(f"{page.problem}; its rules can't be carried out")
            for due in page.due:
                _name(session, due)
                counts[due.action.kind.value] = counts.get(due.action.kind.value, 0) + 1
            if page.next is None:
                break
            position = page.next
    words = ", ".join(f"{number:,} to {kind}" for kind, number in sorted(counts.items()))
    session.output.record("summary", words or "nothing is due", **counts)
    return Exit.OK


def _walk(session: Session, store: Store, bucket: str) -> Walk:
    """Days are as long as those of the process that runs the store."""
    import time

    from cli.door import running
    from glacier.lifecycle.calendar import DAY_US, Calendar
    from glacier.lifecycle.walk import Walk
    from s3.lifecycle_document import rules_of

    place = session.directory()
    if place.is_cluster:
        from cli.cluster.config import load_node

        calendar = load_node(place.path).gateway.calendar
    else:
        state = running(place.path)
        calendar = Calendar(DAY_US if state is None else int(state.lifecycle_day * 1e6))
    return Walk(store.meta, rules_of, calendar, lambda: time.time_ns() // 1000, bucket)


def _name(session: Session, due: Due) -> None:
    action = due.action
    place = f"s3://{due.bucket}/{due.key}"
    version = "" if due.row is None or due.row.null else f"{due.row.version:016x}"
    words = [action.kind.value, visible(place)]
    words += [f"version {version}"] if version else []
    words += [f"to {action.storage_class}"] if action.storage_class else []
    words.append(f"by rule {visible(action.rule)}")
    fields = {"bucket": due.bucket, "key": due.key, "version": version, "storage_class": action.storage_class, "rule": action.rule}
    session.output.record("action", " ".join(words), action=action.kind.value, **fields)


@lifecycle.command("status", short_help="Show what rules have done, and when they are looked at next.")
@with_session
def status(session: Session) -> Exit:
    """Show the passes through all rules: the last, the one under way, the next."""
    return session.run(lambda: _status(session))


async def _status(session: Session) -> Exit:
    from cli.door import local_store
    from glacier.lifecycle.task import KIND
    from store.jobs.duty import STANDING

    async with local_store(session.directory()) as store:
        jobs = [job for job in await store.meta.jobs.jobs() if job.kind == KIND]
    for job in jobs:
        _tell(session, job, standing=STANDING in job.arguments)
    if not any(STANDING in job.arguments for job in jobs):
        session.output.note("no pass was begun yet: `frazil up` does, a minute after its start")
    session.output.record("summary", jobs=len(jobs))
    return Exit.OK


def _tell(session: Session, job: Job, *, standing: bool) -> None:
    from cli.estimate import counted

    progress = job.progress
    moments = {name: progress[f"{name}_us"] for name in ("began", "passed", "next") if progress.get(f"{name}_us")}
    times = {name: datetime.fromtimestamp(us / 1e6, UTC) for name, us in moments.items()}
    if not standing:
        words = f"job {job.id} of {job.arguments.get('bucket') or 'all buckets'}: {job.state}, {counted(job)}"
    elif job.state != "running":
        words = f"passes are {job.state}; `frazil job resume {job.id}` lets them go on"
    else:
        words = count_text(progress.get("passes", 0), "pass").replace("passs", "passes")
        words += f", the last at {time_text(times['passed'])}: {job.message}" if "passed" in times else ""
        words += f", under way since {time_text(times['began'])}: {counted(job)}" if "began" in times else ""
        words += f", the next at {time_text(times['next'])}" if "next" in times else ""
    fields = {name: time_json(moment) for name, moment in times.items()}
    session.output.record(
        "lifecycle", words, id=job.id, state=job.state, standing=standing, progress=progress, message=job.message, **fields
    )
