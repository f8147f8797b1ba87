"""How far a job is and how long it will take yet, in words and figures. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.text import bytes_text, span_text

if TYPE_CHECKING:
    from meta.protocol.jobs import Job

ENDED = ("done", "failed", "aborted")
MILLION = 1_000_000
ESTIMATE_AFTER_S = 2.0
"""Of work; what was done before says little."""
_COUNTED = (
    "planned",
    "found",
    "changed",
    "expired",
    "deleted",
    "unmarked",
    "moved",
    "aborted",
    "lost",
    "waiting",
    "kept",
    "cold",
    "locked",
    "superseded",
    "failed",
)


def share_of(job: Job) -> float | None:
    """How much of this pass is done, 0 to 1; None when nobody knows."""
    return job.progress["share_ppm"] / MILLION if job.progress.get("share_ppm") else None


def left_s(job: Job) -> float | None:
    """Seconds that this pass will take yet at the rate that it had; None when nobody knows."""
    share, spent_s = share_of(job), job.progress.get("spent_ms", 0) / 1000
    return None if not share or spent_s < ESTIMATE_AFTER_S else spent_s * (1 - share) / share


def progress(job: Job) -> str:
    """What it did, and how far it is while it runs."""
    parts = [counted(job)]
    share, left = share_of(job), left_s(job)
    if job.state not in ENDED and share is not None:
        parts.append(f"{share:.0%} of this pass" + (f", about {span_text(left)} left" if left is not None else ""))
    return "; ".join(parts)


def counted(job: Job) -> str:
    """What it did."""
    counts = job.progress
    size = bytes_text(counts.get("bytes", 0))
    seen = f"{counts['versions']:,} versions" if "versions" in counts else size
    parts = [f"{counts['chunks']:,} chunks, {size}" if counts.get("chunks") else seen]
    parts += [f"{counts[name]:,} {name}" for name in _COUNTED if counts.get(name)]
    problems = sum(number for name, number in counts.items() if name.startswith("problem:"))
    if problems:
        outcomes = {name.removeprefix("outcome:"): number for name, number in counts.items() if name.startswith("outcome:")}
        parts.append(f"{problems:,} damaged: " + ", ".join(f"{number:,} {name}" for name, number in sorted(outcomes.items())))
    return "; ".join(parts)
