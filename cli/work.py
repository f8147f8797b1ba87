"""Long work: handed to the process that runs the store, or done here when none runs; followed until it ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from cli.estimate import counted, left_s, share_of
from cli.exit import Exit
from cli.follow import follow
from cli.output import Output
from cli.session import Session

if TYPE_CHECKING:
    from meta.protocol.jobs import Job
    from store.store import Store


Prepare = Callable[["Store"], Awaitable["Job | None"]]
"""What comes before a job, and the job; None when that was all."""


async def perform(session: Session, job: Job | Prepare, *, detach: bool = False) -> Exit:
    """Submits a job and follows it; with `detach` only when no other process would do it."""
    from cli.door import check_store, local_store

    if not session.directory().is_cluster:
        check_store(session.directory())  # else one that is named would be made
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
        ended = await follow(session.output, store, made)
        nursery.cancel_scope.cancel()
    return tell(session.output, ended)


def fields(job: Job) -> dict[str, object]:
    return {
        "id": job.id,
        "kind": job.kind,
        "arguments": job.arguments,
        "state": job.state,
        "pace": job.pace_bytes,
        "progress": job.progress,
        "message": job.message,
        "share": share_of(job),
        "left_s": left_s(job),
    }


def _code(job: Job) -> Exit:
    from store.tally import AWAY

    if job.state != "done":
        return Exit.FAILED
    unseen = any(name == "outcome:waits" or name.partition(":")[0] == AWAY for name, number in job.progress.items() if number)
    return Exit.PARTIAL if unseen else Exit.OK


def tell(output: Output, job: Job) -> Exit:
    """What came of it; the exit code."""
    counts = job.progress
    bad = counts.get("lost", 0) + counts.get("outcome:lost", 0) + counts.get("outcome:told", 0)
    code = Exit.DAMAGED if bad and job.state != "aborted" else _code(job)
    for line in job.message.split("; "):
        if line:
            output.record("finding", line, text=line)
    output.record("summary", f"{job.kind} {job.state}: {counted(job)}", **fields(job), exit=int(code))
    return code
