"""Prometheus metrics of one process. Names are frazil_<component>_<what>_<unit>; labels have few values: never a bucket or a key.

prometheus_client is imported by the first metric that is made (30 ms), so that the command line does not pay for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from node.auth import Verifier

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

    from node.auth import NamespaceKey
    from node.http.message import Request
    from node.http.reply import Reply

PREFIX = "frazil"
LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""From a cached small read to the slowest answer a client waits for."""
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


@cache
def registry() -> CollectorRegistry:
    """The process's one registry, with the process's own figures (memory, descriptors, processor time)."""
    from prometheus_client import CollectorRegistry, ProcessCollector

    made = CollectorRegistry()
    ProcessCollector(registry=made)
    return made


@cache
def counter(name: str, help_text: str, labels: tuple[str, ...] = ()) -> Counter:
    """`name` without the prefix and "_total"; asking again gives the same one."""
    from prometheus_client import Counter

    return Counter(f"{PREFIX}_{name}", help_text, labels, registry=registry())


@cache
def gauge(name: str, help_text: str, labels: tuple[str, ...] = ()) -> Gauge:
    from prometheus_client import Gauge

    return Gauge(f"{PREFIX}_{name}", help_text, labels, registry=registry())


@cache
def histogram(name: str, help_text: str, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = LATENCY_BUCKETS_S) -> Histogram:
    from prometheus_client import Histogram

    return Histogram(f"{PREFIX}_{name}", help_text, labels, registry=registry(), buckets=buckets)


def exposition() -> bytes:
    """All metrics as Prometheus reads them."""
    from prometheus_client import generate_latest

    return generate_latest(registry())


async def serve_metrics(request: Request, reply: Reply) -> None:
    """A handler for the metrics listener."""
    if request.method not in ("GET", "HEAD"):
        await reply.whole(405, [(b"Allow", b"GET, HEAD")])
        return
    await reply.whole(200, [(b"Content-Type", CONTENT_TYPE)], exposition())


class ProvenMetrics:
    """As serve_metrics, for callers that prove that they hold the namespace's key."""

    def __init__(self, key: NamespaceKey) -> None:
        self._verifier = Verifier(key)

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Raises: CallNotAuthenticated."""
        self._verifier.verify(request).check_body(b"")
        await serve_metrics(request, reply)


class Requests:
    """Counts the requests of one component by operation and status, with their time.

    Counting is a dictionary look-up and two additions; prometheus_client takes 2 us for the same under its lock.
    The sums become metrics when Prometheus asks for them, through `collect`.
    """

    def __init__(self, component: str, operation: Callable[[Request], str] | None = None) -> None:
        """operation: names a request, by one of few names; the method, unless given."""
        self._component = component
        self._operation = operation
        self._cells: dict[tuple[str, int], _Cell] = {}
        registry().register(self)  # type: ignore[arg-type]  # the protocol is `collect`, not the base class

    def count(self, operation: str, status: int, seconds: float, sent_bytes: int = 0) -> None:
        cell = self._cells.get((operation, status))
        if cell is None:
            cell = self._cells[operation, status] = _Cell()
        cell.buckets[bisect_left(LATENCY_BUCKETS_S, seconds)] += 1
        cell.seconds += seconds
        cell.sent_bytes += sent_bytes

    def observe(self, request: Request, reply: Reply, seconds: float) -> None:
        """For `serve(observe=...)`."""
        self.count(self._operation(request) if self._operation else request.method, reply.status, seconds, reply.sent)

    def collect(self) -> list[object]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        prefix = f"{PREFIX}_{self._component}"
        labels = ("operation", "code")
        sent = CounterMetricFamily(f"{prefix}_sent_bytes", "Bytes of bodies sent.", labels=labels)
        spent = HistogramMetricFamily(f"{prefix}_request_seconds", "Time from the request's head to the end of its answer.", labels=labels)
        for (operation, status), cell in self._cells.items():
            names = (operation, str(status))
            sent.add_metric(names, cell.sent_bytes)
            spent.add_metric(names, cell.cumulative(), cell.seconds)
        return [sent, spent]


class _Cell:
    __slots__ = ("buckets", "seconds", "sent_bytes")

    def __init__(self) -> None:
        self.buckets = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self.seconds = 0.0
        self.sent_bytes = 0

    def cumulative(self) -> list[tuple[str, float]]:
        bounds = [*map(str, LATENCY_BUCKETS_S), "+Inf"]
        total = 0
        pairs: list[tuple[str, float]] = []
        for bound, count in zip(bounds, self.buckets, strict=True):
            total += count
            pairs.append((bound, total))
        return pairs
