"""The table for people and the JSON for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from benchmarks.figure import Record

COLUMNS = ("figure", "value", "unit", "p50", "p99", "cpu/op", "ratio", "of", "target", "")
REASON_CHARS = 80
LEFT = {0, 2, 7, 8, 9}


def number(value: float) -> str:
    """Three or four significant digits, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def micros(value: float | None) -> str:
    if not value:
        return ""
    return f"{value / 1000:.1f}ms" if value >= 1000 else f"{value:.0f}us"


def times(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio >= 1 else f"{ratio:.1%}"


def row(record: Record) -> tuple[str, ...]:
    if record.failed:
        return (record.name, "-", record.unit, "", "", "", "", "", record.target or "", f"FAILED: {record.failed[:REASON_CHARS]}")
    ratio = "" if record.ratio is None else times(record.ratio)
    of = f"{record.reference} ({number(record.reference_value)})" if record.reference_value else ""
    verdict = {None: "", True: "reached", False: "MISSED"}[record.reached]
    notes = [verdict, *(f"{times(other.ratio)} of {other.reference}" for other in record.beside)]
    return (
        record.name, number(record.value), record.unit, micros(record.p50_us), micros(record.p99_us), micros(record.server_cpu_us),
        ratio, of, record.target or "", "; ".join(note for note in notes if note),
    )  # fmt: skip


def aligned(lines: Sequence[Sequence[str]], left: set[int]) -> str:
    """Columns of equal width, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def padded(line: Sequence[str]) -> Iterator[str]:
        for column, (cell, width) in enumerate(zip(line, widths, strict=True)):
            yield cell.ljust(width) if column in left else cell.rjust(width)

    return "\n".join("  ".join(padded(line)).rstrip() for line in lines)


def table(records: Iterable[Record]) -> str:
    return aligned([COLUMNS, *(row(record) for record in records)], LEFT)


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
