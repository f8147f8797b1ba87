"""Writes the pieces of a stripe to all its volumes: one thread hop for those of this host, a task for each remote one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import trio

from node.errors import DeadlineExceeded, FrazilError
from node.threads import gang, run_blocking
from rawx.chunk import Buffer
from rawx.protocol import Upload
from rawx.upload import LocalUpload

STALL_S = 10.0
"""A local write that takes longer is given up, and its volume is sick; the others go on."""


async def write_all(
    pieces: Sequence[tuple[Upload, Buffer]], *, before: Callable[[], None] | None = None, stall_s: float = STALL_S
) -> list[FrazilError | None]:
    """Appends each piece to its upload; for each, None or the error after which that upload can only be aborted.

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
    async with trio.open_nursery() as nursery:
        for index in remote:
            nursery.start_soon(_write_remote, *pieces[index], index, outcomes)
        if local:
            await _write_local(pieces, local, before, outcomes, stall_s)
        elif before is not _nothing:
            await run_blocking(before)
    return outcomes


async def _write_remote(upload: Upload, data: Buffer, index: int, outcomes: list[FrazilError | None]) -> None:
    try:
        await upload.write(data)
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
