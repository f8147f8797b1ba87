"""status: the store, its volumes, its buckets."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from pathlib import Path

import click

from cli.door import check_store, local_store, running
from cli.estimate import ENDED, share_of
from cli.exit import Exit
from cli.output import Output, count_text
from cli.place import Profile, StoreDirectory
from cli.session import Session, with_session
from cli.state import missing_boards
from meta.protocol.registry import BucketEntry
from node.errors import BucketNotFound
from node.text import bytes_text, span_text, visible
from rawx.protocol import VolumeStat
from store.jobs.duty import STANDING
from store.settings import load_settings
from store.store import Store, StoreStatus

_SCRUBS = {"scrub-meta": "what the metadata names", "scrub-chunks": "every byte on the volumes"}
BUCKETS_PAGE = 1_000


@click.command("status", short_help="Show the store, its volumes and what they hold.")
@with_session
def status(session: Session) -> Exit:
    """Show whether the store runs and where, the state and space of its volumes, and what its buckets hold.

    Exit code 11 when a volume is sick, read-only or nearly full; 5 when the store does not run.
    """
    return session.run(lambda: _status(session))


async def _status(session: Session) -> Exit:
    place = session.place()
    if isinstance(place, Profile):
        return await _remote_status(session, place)
    if place.is_cluster:
        return await _cluster_status(session, place)
    path = check_store(place)
    state = running(path)
    output = session.output
    words = f"serves {state.url} (process {state.pid})" if state else output.style("does not run", "yellow")
    fields = {"running": state is not None, "url": state.url if state else "", "pid": state.pid if state else 0}
    output.record("store", f"store    {path}\nstate    {words}", store=str(path), **fields)
    missing = missing_boards(path, state)
    if missing:
        output.record("boards", f"boards   {output.style(missing, 'red')}", trouble=missing)
    async with local_store(place) as store:
        found = await store.status()
        _show_policies(output, found)
        volumes = {volume.volume: volume for volume in found.volumes}
        paths = _volume_paths(path)
        warnings = bool(missing) + sum(_show_volume(output, volumes[name], paths[name]) for name in paths if name in volumes)
        await _show_scrubs(output, store)
        objects, size = await _show_buckets(output, store)
    code = Exit.WARNINGS if warnings else Exit.OK if state else Exit.TEMPORARY
    output.record("summary", None, volumes=len(found.volumes), warnings=warnings, objects=objects, bytes=size, exit=int(code))
    return code


def _show_policies(output: Output, found: StoreStatus) -> None:
    output.record(
        "policy",
        f"policy   {found.policy_small} for small objects, {found.policy_large} for large",
        small=found.policy_small,
        large=found.policy_large,
    )


def _volume_paths(path: Path) -> dict[str, str]:
    """Where each volume of the store in `path` lies."""
    settings = load_settings(path)
    return {slot.id: str(settings.path_of(slot, path)) for slot in settings.volumes} if settings else {}


def _show_volume(output: Output, volume: VolumeStat, path: str) -> bool:
    """Whether there is something to warn of."""
    used = volume.bytes_total - volume.bytes_free
    trouble = volume.trouble
    word = output.style(visible(trouble), "red") if trouble else output.style("healthy", "green")
    if volume.retired:
        word += ", takes nothing new (decommissioned)"
    line = f"volume   {volume.volume}  {bytes_text(used):>10} of {bytes_text(volume.bytes_total):>10} used  {word}  {visible(path)}"
    fields = {"bytes_total": volume.bytes_total, "bytes_free": volume.bytes_free, "inodes_free": volume.inodes_free}
    output.record(
        "volume", line, volume=volume.volume, path=path, **fields, read_only=volume.read_only, retired=volume.retired, trouble=trouble
    )
    return bool(trouble)


async def _show_scrubs(output: Output, store: Store) -> None:
    """How long ago the chunk was looked at that no scrub has looked at for longest."""
    now_us = time.time_ns() // 1000
    for job in await store.meta.jobs.jobs():
        words = _SCRUBS.get(job.kind)
        if words is None or STANDING not in job.arguments or job.state in ENDED:
            continue
        passed_us = job.progress.get("passed_us", 0)
        age_s = (now_us - (passed_us or job.created_us)) / 1e6
        line = f"checked  {words}: " + (f"all within {span_text(age_s)}" if passed_us else f"not yet all, in {span_text(age_s)}")
        share = share_of(job)
        if share is not None:
            line += f"; {share:.0%} of this pass" + (" (paused)" if job.state == "paused" else "")
        output.record("scrub", line, kind=job.kind, state=job.state, whole_pass=bool(passed_us), oldest_s=round(age_s), share=share)


async def _show_buckets(output: Output, store: Store) -> tuple[int, int]:
    """(versions, bytes) of all buckets together."""
    objects = size = 0
    async for entry in _entries(store):
        try:
            container = store.meta.container(entry.bucket)
            counters, quota = await container.counters(), (await container.settings()).quota_bytes
        except BucketNotFound:
            continue  # removed while we came to it
        versions = sum(count for count, _ in counters.classes.values())
        held = sum(total for _, total in counters.classes.values())
        objects, size = objects + versions, size + held
        line = f"bucket   {entry.bucket:<40} {count_text(versions, 'version'):>16} {bytes_text(held):>12}"
        if quota:
            share = f"{counters.used_bytes / quota:.0%} of its quota of {bytes_text(quota)}"
            line += "  " + (output.style(share, "yellow") if counters.used_bytes >= quota else share)
        fields = {"account": entry.account, "versions": versions, "bytes": held, "markers": counters.markers, "uploads": counters.uploads}
        output.record("bucket", line, bucket=entry.bucket, **fields, upload_bytes=counters.upload_bytes, quota=quota or None)
    return objects, size


async def _entries(store: Store) -> AsyncGenerator[BucketEntry, None]:
    after = ""
    while page := await store.meta.accounts.buckets("", after=after, limit=BUCKETS_PAGE):
        for entry in page:
            yield entry
        after = page[-1].bucket


async def _cluster_status(session: Session, place: StoreDirectory) -> Exit:
    from cli.cluster.show import show_cluster

    code = await show_cluster(session)
    async with local_store(place) as store:
        small, large = store.policies.small.name, store.policies.large.name
        session.output.record("policy", f"policy   {small} for small objects, {large} for large", small=small, large=large)
        await _show_buckets(session.output, store)
    return code


async def _remote_status(session: Session, profile: Profile) -> Exit:
    """What S3 tells: that it answers to this key, and which buckets it shows."""
    async with session.client(profile.name) as client:
        buckets = await client.list_buckets()
    line = f"endpoint {profile.endpoint} answers; {count_text(len(buckets), 'bucket')}"
    session.output.record("endpoint", line, url=profile.endpoint, buckets=len(buckets))
    return Exit.OK
