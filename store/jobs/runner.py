"""Works on the jobs that are submitted: a step of each, side by side, at its pace. Who submits a job only writes it into the jobs' base."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial

import msgspec
import trio

from meta.protocol.jobs import Job
from node.errors import AlreadyExists, FrazilError
from node.log import get_logger
from node.metrics import gauge
from store.context import Context
from store.jobs.duty import DUTIES, STANDING, Duty
from store.jobs.kind import KINDS, MakeTask
from store.jobs.retired import LOOK_S, reopen, retire
from store.parallel import gather
from store.tally import SHARE, Tally
from store.worker import State

SAVE_S = 1.0
"""How often a job's position is kept; what was done since is done again after a kill, which changes nothing."""
SPENT = "spent_ms"
log = get_logger("store.jobs")


class _Running:
    """A job that is being worked on."""

    def __init__(self, context: Context, job: Job, make: MakeTask) -> None:
        self.tally = Tally(job.progress)
        self.task = make(context, self.tally, job.arguments)
        self.job = job
        self.saved_at = 0.0
        self.free_at = self.stepped_at = time.monotonic()
        self.owed_bytes = 0
        """What the last step counted for: its time is to pass before the next, at the pace that the job has by then."""

    def goes_on(self, wished: Job | None) -> bool:
        """Whether it is to be worked on; metadata that was made anew gives numbers again."""
        return wished is not None and wished.state == "running" and wished.created_us == self.job.created_us

    def next_at(self, pace_bytes: int) -> float:
        return self.free_at + (self.owed_bytes / pace_bytes if pace_bytes else 0.0)

    def pause(self, now: float, seconds: float) -> None:
        self.free_at, self.owed_bytes = now + seconds, 0

    def stepped(self, now: float, pace_bytes: int, size: int) -> None:
        self.free_at, self.owed_bytes = max(self.next_at(pace_bytes), now), size

    def count_time(self, now: float) -> None:
        """For estimates: the time that this pass took, without that in which nobody worked on it."""
        self.tally.counts[SPENT] += int((now - self.stepped_at) * 1000)
        self.stepped_at = now


class JobRunner:
    """Works on every job that is running, a step of each side by side."""

    name = "jobs"

    def __init__(self, context: Context, kinds: Mapping[str, MakeTask] = KINDS, duties: Mapping[str, Duty] = DUTIES) -> None:
        self._context = context
        self._kinds = kinds
        self._duties = duties
        self._running: dict[int, _Running] = {}
        self._prepared = False
        self._began = time.monotonic()

    def status(self) -> str:
        return f"{len(self._running)} jobs are being worked on"

    async def work(self) -> State:
        wished = {job.id: job for job in await self._context.meta.jobs.jobs()}
        retire(self._context.fleet, list(wished.values()))
        await reopen(self._context)
        self._running = {number: each for number, each in self._running.items() if each.goes_on(wished.get(number))}
        await self._prepare(wished.values())
        for job in wished.values():
            if STANDING in job.arguments:
                self._tell_age(job)
        due = [job for job in wished.values() if job.state == "running" and self._is_due(job)]
        outcomes = await gather([partial(self._advance, job) for job in due])
        for outcome in outcomes:
            if isinstance(outcome, FrazilError):
                raise outcome
        return State.BUSY if True in outcomes else State.IDLE

    async def wait(self) -> None:
        await trio.sleep(LOOK_S)

    def _tell_age(self, job: Job) -> None:
        """Of what the last whole pass looked at first, or, while there was none, of the job."""
        since_us = job.progress.get("passed_us", 0) or job.created_us
        age = gauge("pass_age_seconds", "Age of what no pass of a standing job has looked at since.", ("kind",))
        age.labels(job.kind).set(max(self._context.clock.now_us() - since_us, 0) / 1e6)

    def _is_due(self, job: Job) -> bool:
        if STANDING not in job.arguments:
            return True
        duty = self._duties.get(job.kind)  # None: this process is not the one that has it
        if duty is None:
            return False
        left_us = job.progress.get("next_us", 0) - self._context.clock.now_us()
        waits = 0 < left_us <= duty.period_s * 1e6  # longer than a period: the clock was set back since
        return time.monotonic() >= self._began + duty.delay_s and not waits

    async def _prepare(self, jobs: Iterable[Job]) -> None:
        """The duties' jobs: at first those that are not there or were aborted, later those of which nothing is known any more."""
        there = {job.kind for job in jobs if STANDING in job.arguments and (self._prepared or job.state != "aborted")}
        for kind, duty in self._duties.items():
            if kind not in there:
                try:
                    await self._context.meta.jobs.submit_job(Job(kind, {STANDING: "1"} | duty.arguments, pace_bytes=duty.pace_bytes))
                except AlreadyExists:
                    continue
        self._prepared = True

    async def _advance(self, job: Job) -> bool:
        """One step of a job, if its pace allows it; whether there was one."""
        running = self._running.get(job.id)
        if running is None:
            if job.kind not in self._kinds:
                await self._save(job, state="failed", message=f"this Frazil knows no work {job.kind!r}")
                return False
            running = self._running[job.id] = _Running(self._context, job, self._kinds[job.kind])
        now = time.monotonic()
        if running.next_at(job.pace_bytes) > now:
            return False
        position = running.job.position
        if not position:
            running.tally.counts["began_us"] = self._context.clock.now_us()
            running.tally.counts[SPENT] = running.tally.counts[SHARE] = 0
            running.stepped_at = now
        try:
            following, size = await running.task.step(position)
        except FrazilError as error:
            running.pause(now, LOOK_S * 5)
            await self._save(msgspec.structs.replace(running.job, progress=dict(running.tally.counts)), message=str(error))
            return False
        running.stepped(now, job.pace_bytes, size)
        if running.task.pause_s:
            running.pause(now, running.task.pause_s)
            running.task.pause_s = 0.0
        running.count_time(time.monotonic())
        told = "; ".join(running.tally.notes)
        running.job = msgspec.structs.replace(job, position=following or "", progress=dict(running.tally.counts), message=told)
        if following is None:
            await self._end(running)
        elif now - running.saved_at >= SAVE_S:
            running.saved_at = now
            running.job = await self._save(running.job)
        return True

    async def _end(self, running: _Running) -> None:
        job, tally = running.job, running.tally
        del self._running[job.id]
        message = "; ".join(tally.sentences())
        if STANDING not in job.arguments:
            left = running.task.left()
            await self._save(job, state="failed" if left else "done", message=left or message)
            return
        began_us = tally.counts["began_us"]
        next_us = began_us + int(self._duties[job.kind].period_s * 1e6)
        progress = {"passed_us": began_us, "next_us": next_us, "passes": job.progress.get("passes", 0) + 1}
        await self._save(msgspec.structs.replace(job, progress=progress), message=message)

    async def _save(self, job: Job, *, state: str = "", message: str | None = None) -> Job:
        changed = msgspec.structs.replace(job, state=state or job.state, message=job.message if message is None else message)
        return await self._context.meta.jobs.save_job(changed)
