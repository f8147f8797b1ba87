"""The door to long work."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """Long work. state: running, paused; done, failed, aborted.

    arguments   what kind's work is about;  pace_bytes: bytes per second at most, 0 = as fast as it goes
    position    where it goes on, in the kind's own words;  progress: counts by name;  message: how it ended, or what holds it up
    """

    kind: str
    arguments: dict[str, str] = {}
    id: int = 0
    state: str = ""
    created_us: int = 0
    changed_us: int = 0
    pace_bytes: int = 0
    position: str = ""
    progress: dict[str, int] = {}
    message: str = ""


class Jobs(Protocol):
    """Long work that survives restarts."""

    async def submit_job(self, job: Job) -> Job:
        """With its number. Raises: AlreadyExists while one of the same kind and arguments is not over."""

    async def job(self, number: int) -> Job:
        """Raises: JobNotFound."""

    async def jobs(self) -> list[Job]: ...

    async def control_job(self, number: int, *, state: str = "", pace_bytes: int | None = None) -> Job:
        """Raises: JobNotFound; AlreadyExists when it is over."""

    async def save_job(self, job: Job) -> Job:
        """For who works on it: position, progress, message, and its end. The job as it is wished now is returned. Raises: JobNotFound."""
