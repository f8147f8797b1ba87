"""A worker's figures for Prometheus: read from what it knows when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from glacier.backlog import Kind
from glacier.worker.core import Core

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Figures:
    def __init__(self, core: Core) -> None:
        self._core = core

    def register(self) -> None:
        from node.metrics import registry

        registry().register(self)  # the protocol is `collect`, not the base class

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        core, shelf = self._core, self._core.shelf
        waiting, oldest_s = Counter(job.kind for job in core.backlog), dict.fromkeys(Kind, 0.0)
        for job in core.backlog:
            oldest_s[job.kind] = max(oldest_s[job.kind], core.now_s - job.at_s)
        jobs = GaugeMetricFamily("frazil_glacier_jobs", "Jobs that wait for a cold disk.", labels=["kind"])
        ages = GaugeMetricFamily("frazil_glacier_oldest_job_seconds", "Age of the oldest job that waits.", labels=["kind"])
        done = CounterMetricFamily("frazil_glacier_jobs_done", "Jobs that were done.", labels=["kind"])
        for kind in Kind:
            name = kind.name.lower()
            jobs.add_metric([name], waiting[kind])
            ages.add_metric([name], oldest_s[kind])
            done.add_metric([name], core.counts[name])
        yield from (jobs, ages, done)
        yield CounterMetricFamily("frazil_glacier_power_ons", "Times that a disk was powered on.", value=core.counts["power_ons"])
        yield CounterMetricFamily("frazil_glacier_chunks_lost", "Chunks that cold disks lost.", value=core.counts["lost"])
        yield CounterMetricFamily("frazil_glacier_files_emptied", "Files of chunks that were emptied.", value=core.counts["emptied"])
        yield GaugeMetricFamily("frazil_glacier_chunks", "Chunks on cold disks, or on their way.", value=sum(shelf.count.values()))
        yield GaugeMetricFamily("frazil_glacier_bytes", "Their bytes.", value=sum(shelf.used.values()))
        yield GaugeMetricFamily("frazil_glacier_disks_used", "Cold disks in use.", value=sum(1 for used in shelf.used.values() if used))
        yield GaugeMetricFamily("frazil_glacier_disks_away", "Cold disks that can't be used now.", value=len(core.bus.away))
