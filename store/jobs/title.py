"""What a job is called where people see several."""

from __future__ import annotations

from meta.protocol.jobs import Job
from store.jobs.duty import STANDING
from store.jobs.task import VOLUMES


def title(job: Job) -> str:
    """What it does, in words: `scrub-chunks deep, by itself`. A host's name stands for its volumes."""
    passed = {STANDING} | ({VOLUMES} if "host" in job.arguments else set())
    given = [name if value == "1" else f"{name}={value}" for name, value in sorted(job.arguments.items()) if name not in passed]
    return " ".join([job.kind, *given]) + (", by itself" if STANDING in job.arguments else "")
