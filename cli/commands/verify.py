"""verify: every chunk of what is stored, read and checked."""

from __future__ import annotations

from dataclasses import dataclass, field

import click
import trio

from cli.address import Remote
from cli.door import local_store
from cli.exit import Exit
from cli.meter import Meter, metered
from cli.output import Output, count_text
from cli.parameter import REMOTE
from cli.session import Session, with_session
from cli.stored import buckets, versions
from meta.protocol.listing import Listed
from node.errors import FrazilError, NotFound, ObjectNotFound
from node.text import bytes_text, visible
from store.fleet import ChunkFinding
from store.store import Store

JOBS_DEFAULT = 4
JOBS_MAX = 64
UNREADABLE = "unreadable"
"""The problem of a chunk whose volume does not answer: it may well be whole when the volume is back."""


@dataclass(slots=True)
class _Result:
    versions: int = 0
    size: int = 0
    damaged: set[tuple[str, str, int]] = field(default_factory=set)
    chunks: dict[str, int] = field(default_factory=dict)
    unchecked: int = 0

    @property
    def exit(self) -> Exit:
        if self.chunks.keys() - {UNREADABLE}:
            return Exit.DAMAGED
        return Exit.TEMPORARY if self.unchecked or self.chunks else Exit.OK


@click.command("verify", short_help="Read and check every chunk of a bucket or object.")
@click.argument("places", type=REMOTE, nargs=-1, metavar="[PLACE...]")
@click.option(
    "-j",
    "--jobs",
    metavar="N",
    type=click.IntRange(1, JOBS_MAX),
    default=JOBS_DEFAULT,
    show_default=True,
    help="Objects checked side by side.",
)
@with_session
def verify(session: Session, places: tuple[Remote, ...], jobs: int) -> Exit:
    """Read every chunk of all versions below each PLACE (an object, a prefix, a bucket; none: everything) and check it.

    Runs on the store's host, also while the store runs. Lists exactly the chunks that are missing or corrupt; exit code 7 when
    there are any, 5 when volumes did not answer.
    Objects stay readable as long as their policy can spare what is lost.
    """
    return session.run(lambda: _verify(session, places, jobs))


async def _verify(session: Session, places: tuple[Remote, ...], jobs: int) -> Exit:
    result = _Result()
    async with local_store(session.directory()) as store:
        with metered(session.output) as meter:
            for place in places or [Remote(bucket) async for bucket in buckets(store)]:
                session.subject = str(place)
                await _verify_place(session.output, store, place, jobs, meter, result)
    _summarize(session.output, result)
    return result.exit


async def _verify_place(output: Output, store: Store, place: Remote, jobs: int, meter: Meter, result: _Result) -> None:
    """Raises: BucketNotFound, ObjectNotFound."""
    found = False
    slots = trio.Semaphore(jobs)

    async def one(listed: Listed) -> None:
        try:
            await _verify_version(output, store, place.bucket, listed, result)
            meter.advance(listed.size)
        finally:
            slots.release()

    async with trio.open_nursery() as nursery:
        async for listed in versions(store, place):
            found = True
            await slots.acquire()
            meter.expect(listed.size)
            nursery.start_soon(one, listed)
    if place.key and not found:
        raise ObjectNotFound("nothing begins with it")


async def _verify_version(output: Output, store: Store, bucket: str, listed: Listed, result: _Result) -> None:
    name = f"s3://{bucket}/{listed.key}"
    try:
        findings = await _findings(store, bucket, listed)
    except NotFound:
        return  # deleted while we came to it
    except FrazilError as error:
        result.unchecked += 1
        output.error(error, where=name)
        return
    for finding in findings:
        result.damaged.add((bucket, finding.key, finding.version))
        result.chunks[finding.problem] = result.chunks.get(finding.problem, 0) + 1
        _show(output, name, finding)
    result.versions += 1
    result.size += listed.size


async def _findings(store: Store, bucket: str, listed: Listed) -> list[ChunkFinding]:
    """What is wrong with a version that is still there, as it is, afterwards: the chunks of a replaced one are rightly gone."""
    version = 0 if listed.null else listed.version
    row = await store.get_row(bucket, listed.key, version)
    while row.layout:
        findings = [finding async for finding in store.verify(row, bucket)]
        again = await store.get_row(bucket, listed.key, version) if findings else row
        if again.layout == row.layout:
            return findings
        row = again
    return []


def _show(output: Output, name: str, finding: ChunkFinding) -> None:
    detail = f": {visible(finding.detail)}" if finding.detail else ""
    place = f"metachunk {finding.metachunk} position {finding.position}  chunk {finding.chunk or '-'}  volume {finding.volume or '-'}"
    line = f"{output.style(finding.problem, 'red')}  {visible(name)}  {place}{detail}"
    output.record(
        "finding",
        line,
        problem=finding.problem,
        bucket=finding.bucket,
        key=finding.key,
        version=finding.version,
        metachunk=finding.metachunk,
        position=finding.position,
        chunk=finding.chunk,
        volume=finding.volume,
        detail=finding.detail,
    )


def _summarize(output: Output, result: _Result) -> None:
    chunks = sum(result.chunks.values())
    if output.json:
        counts = {"versions": result.versions, "bytes": result.size, "damaged": len(result.damaged), "problems": result.chunks}
        output.record("summary", **counts, unchecked=result.unchecked, exit=int(result.exit))
        return
    text = f"{count_text(result.versions, 'version')} with {bytes_text(result.size)} checked"
    if chunks:
        kinds = ", ".join(f"{count} {problem}" for problem, count in sorted(result.chunks.items()))
        text += f"; {count_text(chunks, 'chunk')} wrong ({kinds}) in {count_text(len(result.damaged), 'version')}"
    if result.unchecked:
        text += f"; {result.unchecked} could not be checked"
    output.note(text if chunks or result.unchecked else f"{text}, all well")
