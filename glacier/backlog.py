"""What waits for the disks of one bus, by disk and kind. A plain value: no clock, no disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """Most urgent first. The first three are thaws, by S3's restore tiers; VERIFY reads a cold chunk again, to see whether it is whole."""

    EXPEDITED = 0
    STANDARD = 1
    BULK = 2
    FREEZE = 3
    DELETE = 4
    VERIFY = 5


THAWS = (Kind.EXPEDITED, Kind.STANDARD, Kind.BULK)


@dataclass(frozen=True, slots=True)
class Job:
    """at_s: when it was asked for; size: bytes to move or read, 0 for a deletion."""

    id: int
    disk: int
    kind: Kind
    at_s: float
    size: int = 0


class Waiting:
    """The jobs of one kind on one disk, oldest first, with their sums."""

    __slots__ = ("jobs", "size", "sum_at_s")

    def __init__(self) -> None:
        self.jobs: dict[int, Job] = {}
        self.size = 0
        self.sum_at_s = 0.0

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def oldest_s(self) -> float:
        return next(iter(self.jobs.values())).at_s

    def age_s(self, now_s: float) -> float:
        """All their waiting together."""
        return len(self.jobs) * now_s - self.sum_at_s

    def add(self, job: Job) -> None:
        late = bool(self.jobs) and job.at_s < next(reversed(self.jobs.values())).at_s
        self.jobs[job.id] = job
        self.size += job.size
        self.sum_at_s += job.at_s
        if late:  # asked for again with its first time: rare
            self.jobs = dict(sorted(self.jobs.items(), key=lambda pair: pair[1].at_s))

    def remove(self, job: Job) -> None:
        del self.jobs[job.id]
        self.size -= job.size
        self.sum_at_s -= job.at_s


class Backlog:
    """All jobs of a bus. A disk without jobs is not in it."""

    def __init__(self) -> None:
        self.disks: dict[int, dict[Kind, Waiting]] = {}
        self._jobs: dict[int, Job] = {}

    def __repr__(self) -> str:
        return f"<Backlog jobs={len(self._jobs)} disks={sorted(self.disks)}>"

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def add(self, job: Job) -> None:
        """The same id again takes the former's place."""
        self.discard(job.id)
        self._jobs[job.id] = job
        self.disks.setdefault(job.disk, {}).setdefault(job.kind, Waiting()).add(job)

    def discard(self, number: int) -> Job | None:
        job = self._jobs.pop(number, None)
        if job is None:
            return None
        kinds = self.disks[job.disk]
        kinds[job.kind].remove(job)
        if not kinds[job.kind]:
            del kinds[job.kind]
            if not kinds:
                del self.disks[job.disk]
        return job

    def get(self, number: int) -> Job | None:
        return self._jobs.get(number)

    def first(self, disk: int) -> Job | None:
        """The most urgent job of a disk, of those the oldest."""
        kinds = self.disks.get(disk)
        return next(iter(kinds[min(kinds)].jobs.values())) if kinds else None
