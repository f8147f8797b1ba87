"""A measured number, what it stands beside, and what it must reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec


class Beside(msgspec.Struct, frozen=True):
    """A further reference of the same run, for the eye."""

    reference: str
    ratio: float


class Record(msgspec.Struct, frozen=True):
    """One line of the table and one element of bench.json.

    `ratio` is value / reference_value; the target, where one is set, bounds the ratio (or the value, when there is no reference).
    """

    name: str
    value: float
    unit: str
    reference: str | None = None
    reference_value: float | None = None
    ratio: float | None = None
    target: str | None = None
    reached: bool | None = None
    p50_us: int | None = None
    p99_us: int | None = None
    server_cpu_us: float | None = None
    """Processor time of the server per request."""
    beside: tuple[Beside, ...] = ()
    failed: str | None = None
    """Why there is no value: an answer was wrong."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound; `at_least` for rates, else at most (times, memory)."""

    bound: float
    at_least: bool = True

    def reached(self, measured: float) -> bool:
        return measured >= self.bound if self.at_least else measured <= self.bound

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g}"


REASON_CHARS_MAX = 200
GROWTH_TOLERANCE_MIB = 2.0
"""'No growth': what an allocator's arenas move by on their own."""

TARGETS: Mapping[str, Target] = {
    "get-4k-16-x1": Target(0.40),
    "head-16": Target(0.40),
    "put-4k-16-x1": Target(0.15),
    "get-64m-1-x1": Target(0.50),
    "get-64m-1-6+3": Target(0.35),
    "get-64m-1-6+3-degraded": Target(0.20),
    "put-64m-4-x1": Target(0.60),
    "put-64m-4-6+3": Target(0.45),
    "list-1000": Target(5.0, at_least=False),
    "rss-loaded": Target(150.0, at_least=False),
    "rss-loaded-6+3": Target(150.0, at_least=False),
    "rss-growth": Target(GROWTH_TOLERANCE_MIB, at_least=False),
    "mount-read": Target(0.50),
    "mount-write": Target(0.40),
    "mount-stat": Target(8_000),
    "mount-create": Target(1_000),
    "mount-unlink": Target(1_500),
    "mount-list": Target(20_000),
    "mount-rename": Target(100_000),
    "mount-rss": Target(200.0, at_least=False),
    "cluster-meta-put-32": Target(0.50),
    "cluster-put-4k-1-p99": Target(5.0, at_least=False),
    "cluster-put-4k-8-p99": Target(5.0, at_least=False),
}
"""What the store must reach on two cores shared with the client."""


def record(
    name: str, value: float, unit: str, *, reference: str | None = None, references: Mapping[str, float] | None = None,
    beside: tuple[str, ...] = (), p50_us: int | None = None, p99_us: int | None = None, server_cpu_us: float | None = None,
) -> Record:  # fmt: skip
    """A record with its ratio to `references[reference]`, when that was measured, and its verdict."""
    known = references or {}
    reference_value = known.get(reference) if reference else None
    ratio = value / reference_value if reference_value else None
    target = TARGETS.get(name)
    judged = ratio if reference else value
    return Record(
        name=name, value=value, unit=unit, reference=reference, reference_value=reference_value, ratio=ratio,
        target=str(target) if target else None, reached=target.reached(judged) if target and judged is not None else None,
        p50_us=p50_us, p99_us=p99_us, server_cpu_us=server_cpu_us,
        beside=tuple(Beside(other, value / known[other]) for other in beside if known.get(other)),
    )  # fmt: skip


def failed(name: str, unit: str, reason: str) -> Record:
    """A record without a value; of the reason its first line and no more than fits one."""
    target = TARGETS.get(name)
    reason = reason.strip().partition("\n")[0][:REASON_CHARS_MAX]
    return Record(name=name, value=0.0, unit=unit, target=str(target) if target else None, reached=False if target else None, failed=reason)
