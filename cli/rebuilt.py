"""What a rebuild of the metadata does and found, for people and programs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from cli.exit import Exit, Hinted
from cli.output import Output, count_text
from node.text import visible

if TYPE_CHECKING:
    from store.rebuild.report import Report

TOLD_EVERY_S = 5.0
DIFFERENCES_SHOWN_MAX = 1_000
_DIFFERENCES = {
    "missing": "no chunk tells it",
    "more": "only the chunks tell it",
    "changed": "the chunks tell something else",
    "unreadable": "what is there can't be read: the rest of it was not compared",
}


class Progress:
    """A line now and then."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._next = time.monotonic() + TOLD_EVERY_S
        self._counts: dict[str, int] = {}

    def __call__(self, what: str, count: int) -> None:
        self._counts[what] = self._counts.get(what, 0) + count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + TOLD_EVERY_S
            self._output.note(", ".join(f"{number:,} {name}" for name, number in self._counts.items()) + " so far")


def tell_differences(output: Output, there: Path, new: Path, bucket: str, *, directory: bool = True) -> int:
    """How many there are; shows some of them."""
    from store.rebuild.compare import differences
    from store.rebuild.swap import base_of

    count = 0
    for each in differences(there, new, only=base_of(new, bucket).name if bucket else "", directory=directory):
        count += 1
        if count <= DIFFERENCES_SHOWN_MAX:
            key = " ".join(str(part) for part in each.key)
            words = _DIFFERENCES[each.what]
            line = f"{each.base[:12]} {each.table} {visible(key)}: {words}"
            output.record("difference", line, base=each.base, table=each.table, key=[str(part) for part in each.key], what=each.what)
    return count


def check_told(report: Report, bucket: str) -> None:
    """Raises: Hinted when it is the only bucket that was looked for, and there is nothing of it."""
    if bucket in report.guessed and not report.versions + report.markers + report.uploads:
        raise Hinted(f"no chunk tells of a bucket {visible(bucket)}", "look for it with `frazil ls`", code=Exit.NOT_FOUND)


def tell(output: Output, report: Report, differ: int) -> Exit:
    for each in report.unwhole:
        line = f"not restored: {visible(each.bucket)}/{visible(each.key)}: {each.reason}"
        output.record("unwhole", line, bucket=each.bucket, key=each.key, content=each.content, reason=each.reason, chunks=each.chunks)
    for bucket, key, version in report.thin:
        line = f"restored from fewer chunks than were promised: {visible(bucket)}/{visible(key)}"
        output.record("thin", line, bucket=bucket, key=key, version=version)
    for bucket in report.guessed:
        output.record("guessed", f"no chunk tells the settings of bucket {visible(bucket)}: set them anew", bucket=bucket)
    if not report.accounts:
        output.record("guessed", "no chunk tells the access keys: make them anew with `frazil key create`", accounts=True)
    for problem, number in sorted(report.damaged.items()):
        output.record("damaged", f"{count_text(number, 'chunk')} could not be used: {problem}", problem=problem, chunks=number)
    code = Exit.DAMAGED if report.unwhole_count or differ else Exit.OK
    rate = report.versions / max(report.seconds, 1e-3)
    parts = [
        count_text(report.versions, "version"),
        count_text(report.markers, "delete marker"),
        count_text(report.uploads, "upload"),
        count_text(report.buckets, "bucket"),
        f"from {count_text(report.chunks, 'chunk')} in {report.seconds:.1f} s ({rate:,.0f} versions/s)",
    ]
    if report.unwhole_count:
        parts.append(f"{report.unwhole_count:,} could not be restored")
    if output.dry_run:
        parts.append(count_text(differ, "difference"))
    fields = {name: getattr(report, name) for name in ("chunks", "versions", "markers", "uploads", "parts", "buckets", "replaced", "stale")}
    more = {"unwhole": report.unwhole_count, "thin": report.thin_count, "differences": differ}
    output.record("summary", ", ".join(parts), **fields, **more, seconds=round(report.seconds, 3), exit=int(code))
    return code
