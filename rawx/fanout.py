"""Writes the pieces of a stripe, or small chunks, to their volumes: one thread hop for those of this host, a task for each remote one.
Opens chunks in one hop as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import trio

from node.errors import Busy, DeadlineExceeded, FrazilError
from node.lane import PENDING, Job, Relay
from node.threads import gang, run_blocking, was_held_up
from rawx.chunk import Buffer, ChunkRecord
from rawx.patience import Patience
from rawx.protocol import Rawx, Upload
from rawx.reader import Told
from rawx.upload import LocalUpload
from rawx.volume import Volume

STALL_S = 10.0
"""A local write that takes longer is given up, and its volume is sick; the others go on."""


async def write_all(
    pieces: Sequence[tuple[Upload, Buffer]], *, before: Callable[[], None] | None = None, least: int = 0, stall_s: float = STALL_S
) -> list[FrazilError | None]:
    """Appends each piece to its upload; for each, None or the error after which that upload can only be aborted.

    least: uploads that must succeed; remote ones that are late then are given up soon (0: all are waited for).
    before: blocking work on the same bytes, done ahead of the local writes in their thread; what it raises is raised.

    Buffers may be reused at return: a write that was given up may still read its buffer, but nothing of that upload can be committed.
    """
    before = before or _nothing
    outcomes: list[FrazilError | None] = [None] * len(pieces)
    local = [index for index, (upload, _) in enumerate(pieces) if isinstance(upload, LocalUpload)]
    remote = [index for index, (upload, _) in enumerate(pieces) if not isinstance(upload, LocalUpload)]
    if not remote:
        await _write_local(pieces, local, before, outcomes, stall_s)
        return outcomes
    patience = Patience(least or len(pieces))
    async with trio.open_nursery() as nursery:
        for index in remote:
            nursery.start_soon(_write_remote, patience, *pieces[index], index, outcomes)
        if local:
            await _write_local(pieces, local, before, outcomes, stall_s)
            patience.succeed(len({id(pieces[index][0]) for index in local if outcomes[index] is None}))
        elif before is not _nothing:
            await run_blocking(before)
    return outcomes


async def _write_remote(patience: Patience, upload: Upload, data: Buffer, index: int, outcomes: list[FrazilError | None]) -> None:
    try:
        await patience.bound(partial(upload.write, data))
    except FrazilError as error:
        outcomes[index] = error


async def _write_local(
    pieces: Sequence[tuple[Upload, Buffer]],
    local: list[int],
    before: Callable[[], None],
    outcomes: list[FrazilError | None],
    stall_s: float,
) -> None:
    uploads = [upload for upload, _ in pieces]
    jobs = [before]
    for index in local:
        upload = uploads[index]
        assert isinstance(upload, LocalUpload)
        jobs.append(partial(upload.write_blocking, pieces[index][1]))
    done, *results = await gang(jobs, stall_s=stall_s)
    if isinstance(done, BaseException):
        raise done
    for index, result in zip(local, results, strict=True):
        upload = uploads[index]
        assert isinstance(upload, LocalUpload)
        if isinstance(result, DeadlineExceeded):
            upload.stalled(result)
        if isinstance(result, FrazilError):
            outcomes[index] = result
        elif isinstance(result, BaseException):
            raise result


def _nothing() -> None:
    return


async def open_all(asked: Sequence[tuple[Volume, str, bytes]], *, stall_s: float = STALL_S) -> list[Told | FrazilError]:
    """Chunks of this host's volumes, each with the checksum that is to be its, in one hop to a thread; or why not. Raises: Busy."""
    outcomes: list[Told | FrazilError] = []
    jobs = [partial(_open, volume, chunk, checksum) for volume, chunk, checksum in asked]
    for (volume, _, _), result in zip(asked, await gang(jobs, stall_s=stall_s), strict=True):
        if isinstance(result, DeadlineExceeded):
            outcomes.append(volume.health.hung("opening a chunk", stall_s))
        elif isinstance(result, Told | FrazilError):
            outcomes.append(result)
        else:
            raise result
    return outcomes


def _open(volume: Volume, chunk: str, checksum: bytes) -> Told:
    volume.health.admit_read()
    return volume.open_told_blocking(chunk, checksum)


class Put(NamedTuple):
    """A whole chunk for a volume, as Rawx.put takes it."""

    volume: Rawx
    chunk: str
    data: Buffer
    record: ChunkRecord
    units: bytes


async def put_all(puts: Sequence[Put], then: Job | None = None, *, least: int = 0) -> tuple[list[FrazilError | None], Any]:
    """Makes the chunks durable side by side; for each, None or the error.

    least: as for write_all.
    then: goes on from the thread that made the last chunk durable. Returned beside is its result or exception; PENDING when it was not
    begun, for a chunk failed or is another host's.
    """
    outcomes: list[FrazilError | None] = [None] * len(puts)
    local: dict[int, Job] = {}
    remote: list[int] = []
    for index, put in enumerate(puts):
        if not isinstance(put.volume, Volume):
            remote.append(index)
            continue
        try:
            local[index] = put.volume.put_job(put.chunk, put.data, put.record, put.units)
        except FrazilError as error:
            outcomes[index] = error
    if not remote:
        return outcomes, await _put_local(puts, local, then if len(local) == len(puts) else None, outcomes)
    patience = Patience(least or len(puts))
    async with trio.open_nursery() as nursery:
        for index in remote:
            nursery.start_soon(_put_remote, patience, puts[index], index, outcomes)
        await _put_local(puts, local, None, outcomes)
        patience.succeed(sum(outcomes[index] is None for index in local))
    return outcomes, PENDING


async def _put_remote(patience: Patience, put: Put, index: int, outcomes: list[FrazilError | None]) -> None:
    try:
        await patience.bound(partial(put.volume.put, put.chunk, put.data, put.record, put.units))
    except FrazilError as error:
        outcomes[index] = error


async def _put_local(puts: Sequence[Put], jobs: dict[int, Job], then: Job | None, outcomes: list[FrazilError | None]) -> Any:
    if not jobs:
        return PENDING
    volumes = {index: volume for index in jobs if isinstance(volume := puts[index].volume, Volume)}
    wait_s = max(volume.wait_s for volume in volumes.values())
    relay = Relay(list(jobs.values()), then)
    try:
        with trio.move_on_after(wait_s) as bound:
            await relay.run()
    except Busy as error:
        for index in jobs:
            outcomes[index] = error
        return PENDING
    finally:
        results = list(relay.results)  # once: what comes after that is given up
        for (index, job), result in zip(jobs.items(), results, strict=True):
            if result is PENDING:
                volumes[index].give_up(job.request[1])
    for index, result in zip(jobs, results, strict=True):
        if result is PENDING:
            outcomes[index] = volumes[index].health.hung("writing", wait_s, held_up=was_held_up(bound))
        elif isinstance(result, FrazilError):
            outcomes[index] = result
        elif isinstance(result, BaseException):
            raise result
    return relay.result
