"""A job that is followed: a bar with an estimate on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import trio

from cli.estimate import ENDED, progress
from cli.output import Output

if TYPE_CHECKING:
    from meta.protocol.jobs import Job
    from store.store import Store

LOOK_S = 0.3
TOLD_EVERY_S = 5.0


class Teller(Protocol):
    def tell(self, job: Job) -> None:
        """How far it is now."""


class LineTeller:
    def __init__(self, output: Output) -> None:
        self._output = output
        self._next = time.monotonic() + TOLD_EVERY_S

    def tell(self, job: Job) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TOLD_EVERY_S
            self._output.note(f"{progress(job)} so far" + (f"; {job.message}" if job.message else ""))


@contextmanager
def teller(output: Output) -> Iterator[Teller]:
    """A bar only ever appears on standard error."""
    if output.quiet or output.json or not sys.stderr.isatty():
        yield LineTeller(output)
        return
    from cli.bar import share_bar

    with share_bar(output) as bar:
        yield bar


async def follow(output: Output, store: Store, job: Job) -> Job:
    """Until it is over. Raises: FrazilError."""
    with teller(output) as shown:
        while job.state not in ENDED:
            shown.tell(job)
            await trio.sleep(LOOK_S)
            job = await store.meta.jobs.job(job.id)
    return job
