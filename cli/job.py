"""Many operations side by side: bounded, each failure reported by itself, one exit code at the end."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

import trio

from cli.exit import Exit, combined, leaves, main_cause
from cli.meter import Meter
from cli.output import Output, count_text
from node import errors
from node.text import bytes_text, visible

JOBS_DEFAULT = 8
RATE_BYTES_LEAST = 1 << 20
"""Below, a rate says nothing."""
_HOPELESS = (errors.PeerUnreachable, errors.BucketNotFound, errors.CallNotAuthenticated)
"""What fails one operation so that all others would fail alike, each only after its own retries."""


@dataclass(frozen=True, slots=True)
class Job:
    """One operation. verb: "upload", "download", "copy", "delete" ...; size in bytes, 0 when none move.
    needed: asked before, also in a dry run; when it answers no, the job counts as skipped."""

    verb: str
    source: str
    target: str
    size: int
    perform: Callable[[], Awaitable[object]]
    needed: Callable[[], Awaitable[bool]] | None = None


@dataclass(slots=True)
class Tally:
    """What a command did so far."""

    done: int = 0
    skipped: int = 0
    size: int = 0
    failed: list[Exit] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def exit(self) -> Exit:
        return combined(self.failed, self.done + self.skipped)


class Runner:
    """Takes jobs as they come and runs `jobs_max` of them at a time."""

    def __init__(self, output: Output, meter: Meter, jobs_max: int = JOBS_DEFAULT) -> None:
        self._output = output
        self._meter = meter
        self._jobs_max = jobs_max
        self.tally = Tally()

    async def run(self, jobs: AsyncGenerator[Job, None]) -> None:
        """All jobs; those that fail are reported and counted, the others go on, unless the reason would fail them all.

        Raises: what makes `jobs` itself fail (a listing), a hopeless error, KeyboardInterrupt.
        """
        sender, receiver = trio.open_memory_channel[Job](self._jobs_max)
        async with trio.open_nursery() as nursery:
            for _ in range(self._jobs_max):
                nursery.start_soon(self._work, receiver.clone())
            receiver.close()
            async with sender, aclosing(jobs):
                async for job in jobs:
                    self._meter.expect(job.size)
                    await sender.send(job)

    async def _work(self, jobs: trio.MemoryReceiveChannel[Job]) -> None:
        async with jobs:
            async for job in jobs:
                await self._one(job)

    async def _one(self, job: Job) -> None:
        fields = {"verb": job.verb, "source": job.source, "target": job.target, "size": job.size}
        fields = {name: value for name, value in fields.items() if value != ""}
        try:
            if job.needed is not None and not await job.needed():
                self.tally.skipped += 1
                self._meter.expect(-job.size)
                return
            if not self._output.dry_run:
                await job.perform()
        except (errors.FrazilError, OSError, BaseExceptionGroup) as error:
            cause = main_cause(error)
            if not all(isinstance(leaf, (errors.FrazilError, OSError, trio.Cancelled)) for leaf in leaves(error)) or isinstance(
                cause, _HOPELESS
            ):
                raise
            self.fail(job.source, cause)
        else:
            self.tally.done += 1
            self.tally.size += job.size
            arrow = f" -> {visible(job.target)}" if job.target else ""
            self._output.progress("done", f"{job.verb} {visible(job.source)}{arrow}", **fields)

    def fail(self, where: str, error: BaseException) -> None:
        """Counts and reports one failure."""
        self.tally.failed.append(self._output.error(error, where=where))

    def finish(self, noun: str = "object") -> Exit:
        """Writes the summary; the exit code."""
        tally = self.tally
        seconds = time.monotonic() - tally.started
        parts = [count_text(tally.done, noun)]
        if tally.size:
            parts.append(bytes_text(tally.size))
        if tally.size >= RATE_BYTES_LEAST and not self._output.dry_run:
            parts[-1] += f" in {seconds:.1f} s ({bytes_text(int(tally.size / max(seconds, 1e-3)))}/s)"
        if tally.skipped:
            parts.append(f"{tally.skipped:,} unchanged")
        if tally.failed:
            parts.append(f"{len(tally.failed):,} failed")
        code = tally.exit
        summary = {
            "done": tally.done,
            "skipped": tally.skipped,
            "failed": len(tally.failed),
            "bytes": tally.size,
            "seconds": round(seconds, 3),
        }
        if self._output.json:
            self._output.record("summary", **summary, exit=int(code))
        else:
            self._output.note(", ".join(parts))
        return code
