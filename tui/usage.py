"""What the metadata tells a dashboard: buckets and what they hold, jobs and how far they are."""

from __future__ import annotations

from collections.abc import Callable

from meta.protocol.door import Meta
from meta.protocol.jobs import Job
from node.clock import Clock
from node.errors import BucketNotFound
from store.jobs.title import title
from tui.snapshot import BucketView, JobView

BUCKETS_SHOWN_MAX = 1_000
BUCKETS_EVERY_S = 10.0
"""Counting every bucket's classes reads one row of each base; no need to do so every second."""


class Usage:
    """sentence: how far a job is, for people."""

    def __init__(self, meta: Meta, sentence: Callable[[Job], str], clock: Clock) -> None:
        self._meta = meta
        self._sentence = sentence
        self._clock = clock
        self._buckets: tuple[BucketView, ...] = ()
        self._counted_at_s = -BUCKETS_EVERY_S

    def __repr__(self) -> str:
        return f"<Usage buckets={len(self._buckets)}>"

    async def buckets(self) -> tuple[BucketView, ...]:
        """As they were counted last. Raises: FrazilError."""
        if self._clock.monotonic() - self._counted_at_s >= BUCKETS_EVERY_S:
            self._buckets, self._counted_at_s = await self._count(), self._clock.monotonic()
        return self._buckets

    async def _count(self) -> tuple[BucketView, ...]:
        found: list[BucketView] = []
        for entry in await self._meta.accounts.buckets("", after="", limit=BUCKETS_SHOWN_MAX):
            try:
                counters = await self._meta.container(entry.bucket).counters()
            except BucketNotFound:
                continue  # removed while we came to it
            classes = dict(counters.classes)
            versions, held = sum(count for count, _ in classes.values()), sum(size for _, size in classes.values())
            found.append(BucketView(entry.bucket, entry.account, versions, held, classes))
        return tuple(found)

    async def jobs(self) -> tuple[JobView, ...]:
        """The newest first. Raises: FrazilError."""
        return tuple(self._job_view(job) for job in reversed(await self._meta.jobs.jobs()))

    def _job_view(self, job: Job) -> JobView:
        return JobView(job.id, title(job), job.state, self._sentence(job), job.pace_bytes, job.message)
