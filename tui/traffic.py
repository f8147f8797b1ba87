"""From Prometheus' text of the store's processes to rates: pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import msgspec

from tui.snapshot import Traffic

_COUNT = "frazil_s3_request_seconds_count"
_BUCKET = "frazil_s3_request_seconds_bucket"
_SENT = "frazil_s3_sent_bytes_total"
_MEMORY = "process_resident_memory_bytes"
_PROCESSOR = "process_cpu_seconds_total"


class Reading(msgspec.Struct, frozen=True):
    """Sums over all processes at one moment. slower: {upper bound in seconds: requests up to it}."""

    at_s: float
    requests: dict[str, float] = {}
    errors: float = 0.0
    sent_bytes: float = 0.0
    up_to: dict[float, float] = {}
    memory_bytes: float = 0.0
    processor_s: float = 0.0


def parse(at_s: float, texts: Iterable[str]) -> Reading:
    """texts: one of each process. Raises: ValueError for what is not Prometheus' format."""
    from prometheus_client.parser import text_string_to_metric_families

    requests: dict[str, float] = {}
    up_to: dict[float, float] = {}
    errors = sent = memory = processor = 0.0
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels, value = sample.labels, sample.value
                match sample.name:
                    case name if name == _COUNT:
                        requests[labels["operation"]] = requests.get(labels["operation"], 0.0) + value
                        errors += value if labels["code"].startswith("5") else 0.0
                    case name if name == _BUCKET:
                        bound = float(labels["le"])
                        up_to[bound] = up_to.get(bound, 0.0) + value
                    case name if name == _SENT:
                        sent += value
                    case name if name == _MEMORY:
                        memory += value
                    case name if name == _PROCESSOR:
                        processor += value
    return Reading(at_s, requests, errors, sent, up_to, memory, processor)


def between(before: Reading, after: Reading) -> Traffic:
    """What happened from one reading to the next; a process that was restarted counts as quiet, never as negative."""
    seconds = after.at_s - before.at_s
    if seconds <= 0:
        return Traffic(memory_bytes=int(after.memory_bytes))

    def rate(now: float, then: float) -> float:
        return max(0.0, now - then) / seconds

    bounds = sorted(after.up_to)
    counts = {bound: max(0.0, after.up_to[bound] - before.up_to.get(bound, 0.0)) for bound in bounds}
    return Traffic(
        {name: rate(value, before.requests.get(name, 0.0)) for name, value in sorted(after.requests.items())},
        rate(after.errors, before.errors),
        rate(after.sent_bytes, before.sent_bytes),
        quantile(counts, 0.5),
        quantile(counts, 0.99),
        int(after.memory_bytes),
        rate(after.processor_s, before.processor_s),
    )


def quantile(up_to: dict[float, float], share: float) -> float:
    """From cumulative counts by upper bound, with a straight line between bounds; 0 when nothing was counted.

    Source: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
    """
    bounds = sorted(up_to)
    total = up_to[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return 0.0
    wanted = share * total
    for lower, upper in pairwise([0.0, *bounds]):
        below = up_to.get(lower, 0.0)
        if up_to[upper] >= wanted:
            if upper == float("inf"):
                return lower
            within = up_to[upper] - below
            return lower + (upper - lower) * ((wanted - below) / within if within else 1.0)
    return bounds[-1]
