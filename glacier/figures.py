"""A freezer's figures for Prometheus: read from what it knows of its disks when somebody asks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from glacier.freezer import BoardFreezer
from glacier.protocol import DiskState

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class FreezerFigures:
    def __init__(self, freezer: BoardFreezer) -> None:
        self._freezer = freezer

    def register(self) -> None:
        from node.metrics import registry

        registry().register(self)  # the protocol is `collect`, not the base class

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        reports = [self._freezer.report(disk) for disk in sorted(self._freezer.drives)]
        states = Counter(report.state for report in reports)
        disks = GaugeMetricFamily("frazil_freezer_disks", "Disks of the board by what it does with them.", labels=["state"])
        for state in DiskState:
            disks.add_metric([state.name.lower()], states[state])
        yield disks
        powered = len(self._freezer.board.meter.powered)
        yield GaugeMetricFamily("frazil_freezer_disks_powered", "Disks that have power now, as the board measures it.", value=powered)
        cycles = CounterMetricFamily("frazil_freezer_power_cycles", "Times that a disk was powered on.", labels=["disk"])
        seconds = CounterMetricFamily("frazil_freezer_powered_seconds", "Time that a disk had power.", labels=["disk"])
        errors = CounterMetricFamily("frazil_freezer_errors", "What went wrong on a disk.", labels=["disk", "kind"])
        free = GaugeMetricFamily("frazil_freezer_free_bytes", "Free on a disk, when it had power last.", labels=["disk"])
        for report in reports:
            name = str(report.disk)
            cycles.add_metric([name], report.power_cycles)
            seconds.add_metric([name], report.powered_s)
            free.add_metric([name], report.bytes_free)
            for kind in ("failed_starts", "read_errors", "write_errors", "checksum_errors"):
                errors.add_metric([name, kind.removesuffix("_errors")], getattr(report, kind))
        yield from (cycles, seconds, errors, free)
