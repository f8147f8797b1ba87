"""Long work: handed to the process that runs the store, or done here when none runs; followed until it ends."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from cli.exit import Exit
from cli.output import Output, bytes_text
from cli.session import Session

if TYPE_CHECKING:
    from meta.protocol.jobs import Job
    from store.store import Store

LOOK_S = 0.3
TOLD_EVERY_S = 5.0
ENDED = ("done", "failed", "aborted")


Prepare = Callable[["Store"], Awaitable["Job | None"]]
"""What comes before a job, and the job; None when that was all."""


async def perform(session: Session, job: Job | Prepare, *, detach: bool = False) -> Exit:
    """Submits a job and follows it; with `detach` only when no other process would do it."""
    from cli.door import local_store

    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(local_store(session.directory(), write=True))
        if callable(job):
            prepared = await job(store)
            if prepared is None:
                return Exit.OK
            job = prepared
        nursery = await stack.enter_async_context(trio.open_nursery())
        if store.is_main:
            await nursery.start(store.run_workers)
        made = await store.submit_job(job)
        if detach and not store.is_main:
            session.output.record("job", f"job {made.id} runs; see `frazil job show {made.id}`", **fields(made))
            return Exit.OK
        ended = await _follow(session.output, store, made)
        nursery.cancel_scope.cancel()
    return tell(session.output, ended)


async def _follow(output: Output, store: Store, job: Job) -> Job:
    """Until it is over; a line now and then."""
    following = time.monotonic() + TOLD_EVERY_S
    while job.state not in ENDED:
        await trio.sleep(LOOK_S)
        job = await store.meta.jobs.job(job.id)
        if time.monotonic() >= following:
            following = time.monotonic() + TOLD_EVERY_S
            output.note(f"{sentence(job)} so far" + (f"; {job.message}" if job.message else ""))
    return job


def sentence(job: Job) -> str:
    """How far it is."""
    counts = job.progress
    parts = [f"{counts.get('chunks', 0):,} chunks, {bytes_text(counts.get('bytes', 0))}"]
    for name in ("found", "changed", "moved", "lost", "cold"):
        if counts.get(name):
            parts.append(f"{counts[name]:,} {name}")
    problems = sum(number for name, number in counts.items() if name.startswith("problem:"))
    if problems:
        outcomes = {name.removeprefix("outcome:"): number for name, number in counts.items() if name.startswith("outcome:")}
        parts.append(f"{problems:,} damaged: " + ", ".join(f"{number:,} {name}" for name, number in sorted(outcomes.items())))
    return "; ".join(parts)


def fields(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "kind": job.kind,
        "arguments": job.arguments,
        "state": job.state,
        "pace": job.pace_bytes,
        "progress": job.progress,
        "message": job.message,
    }


def tell(output: Output, job: Job) -> Exit:
    """What came of it; the exit code."""
    counts = job.progress
    bad = counts.get("lost", 0) + counts.get("outcome:lost", 0) + counts.get("outcome:told", 0)
    code = Exit.DAMAGED if bad and job.state != "aborted" else Exit.OK if job.state == "done" else Exit.FAILED
    for line in job.message.split("; "):
        if line:
            output.record("finding", line, text=line)
    output.record("summary", f"{job.kind} {job.state}: {sentence(job)}", **fields(job), exit=int(code))
    return code
