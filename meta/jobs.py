"""Long work that survives restarts: what is to be done, how far it is, what was wished of it. One base."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from meta.base import Base
from meta.kind import Kind, Transaction
from meta.protocol.jobs import Job
from node.errors import AlreadyExists, JobNotFound

JOBS = Kind(name="jobs", format=1, tables=("jobs",), transaction=Transaction)
KEPT_MAX = 1_000
"""Finished jobs that stay to be looked at; the oldest go first."""
ENDED = ("done", "failed", "aborted")

_COLUMNS = "id, kind, state, created_us, changed_us, value"


class _Value(msgspec.Struct, frozen=True, omit_defaults=True):
    arguments: dict[str, str] = {}
    pace_bytes: int = 0
    position: str = ""
    progress: dict[str, int] = {}
    message: str = ""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Value).decode


class LocalJobs:
    """Implements meta.protocol.jobs.Jobs on a base of this host."""

    def __init__(self, base: Base[Transaction]) -> None:
        self._base = base

    def __repr__(self) -> str:
        return f"<LocalJobs {self._base!r}>"

    async def submit_job(self, job: Job) -> Job:
        return await self._base.write(_submit, job)

    async def job(self, number: int) -> Job:
        found = self._base.read(_find, number)
        if found is None:
            raise JobNotFound(f"there is no job {number}")
        return found

    async def jobs(self) -> list[Job]:
        return self._base.read(_list)

    async def control_job(self, number: int, *, state: str = "", pace_bytes: int | None = None) -> Job:
        return await self._base.write(_control, number, state, pace_bytes)

    async def save_job(self, job: Job) -> Job:
        return await self._base.write(_save, job)


def _submit(transaction: Transaction, job: Job) -> Job:
    for other in _list(transaction.db):
        if other.state not in ENDED and (other.kind, other.arguments) == (job.kind, job.arguments):
            raise AlreadyExists(f"that is job {other.id} already, which is {other.state}")
    last = transaction.db.execute("SELECT coalesce(max(id), 0) FROM jobs").get
    made = msgspec.structs.replace(job, id=last + 1, state="running", created_us=transaction.now_us, changed_us=transaction.now_us)
    transaction.write(f"INSERT INTO jobs({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", _values(made))
    finished: list[Any] = transaction.db.execute("SELECT id FROM jobs WHERE state IN (?, ?, ?) ORDER BY id DESC", ENDED).fetchall()
    for (number,) in finished[KEPT_MAX:]:
        transaction.write("DELETE FROM jobs WHERE id = ?", (number,))
    return made


def _control(transaction: Transaction, number: int, state: str, pace_bytes: int | None) -> Job:
    found = _find(transaction.db, number)
    if found is None:
        raise JobNotFound(f"there is no job {number}")
    if found.state in ENDED:
        raise AlreadyExists(f"job {number} is {found.state} already")
    changed = msgspec.structs.replace(
        found, state=state or found.state, pace_bytes=found.pace_bytes if pace_bytes is None else pace_bytes, changed_us=transaction.now_us
    )
    _write(transaction, changed)
    return changed


def _save(transaction: Transaction, job: Job) -> Job:
    """Its runner's knowledge; state and pace are whoever else's wish, unless the runner ends it."""
    found = _find(transaction.db, job.id)
    if found is None:
        raise JobNotFound(f"there is no job {job.id}")
    state = job.state if job.state in ENDED and found.state not in ENDED else found.state
    saved = msgspec.structs.replace(job, state=state, pace_bytes=found.pace_bytes, changed_us=transaction.now_us)
    _write(transaction, saved)
    return saved


def _write(transaction: Transaction, job: Job) -> None:
    number, _, state, _, changed_us, value = _values(job)
    transaction.write("UPDATE jobs SET state = ?, changed_us = ?, value = ? WHERE id = ?", (state, changed_us, value, number))


def _values(job: Job) -> tuple[int, str, str, int, int, str]:
    value = _Value(job.arguments, job.pace_bytes, job.position, job.progress, job.message)
    return job.id, job.kind, job.state, job.created_us, job.changed_us, _encode(value).decode()


def _find(db: apsw.Connection, number: int) -> Job | None:
    found = db.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (number,)).get
    return None if found is None else _job(found)


def _list(db: apsw.Connection) -> list[Job]:
    return [_job(found) for found in db.execute(f"SELECT {_COLUMNS} FROM jobs ORDER BY id")]


def _job(found: Any) -> Job:
    number, kind, state, created_us, changed_us, text = found
    value = _decode(text)
    return Job(
        kind, value.arguments, number, state, created_us, changed_us, value.pace_bytes, value.position, value.progress, value.message
    )
