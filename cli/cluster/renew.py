"""All metadata of a cluster, or of one bucket, anew from the chunks of its hosts, or compared with what they tell."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import aclosing
from functools import partial
from pathlib import Path
from random import Random

from cli.cluster.door import open_door
from cli.cluster.node import Node
from cli.cluster.operator import is_dead
from cli.cluster.reach import cluster_of
from cli.exit import Exit, Hinted
from cli.output import count_text
from cli.rebuilt import Progress, check_told, tell, tell_differences
from cli.session import Session
from meta.cluster import renewal
from meta.cluster.link import Link
from meta.cluster.roster import Roster
from meta.cluster.routing import RoutedMeta
from meta.cluster.wire import Surveying
from meta.coordinator import Candidate
from meta.directory import container_base
from meta.local import open_meta
from node.errors import BaseCorrupt, BaseNotFound, BucketNotFound, FrazilError, NotLeader
from node.threads import run_blocking
from rawx.protocol import Rawx
from store.cluster import open_cluster_store
from store.fleet import Fleet
from store.rebuild.report import Report
from store.rebuild.single import OneBucket
from store.rebuild.site import build
from store.rebuild.survey import Site
from store.rebuild.swap import META_FOLDER, NEW_FOLDER, base_of, unhealthy

SHORT_S = 5.0
"""Patience with metadata that may be lost."""
SCRATCH = "rebuild-"
"""Begin of the names of folders in the node's state, the process behind it; what a killed command left goes with the next."""
COMPARED = ("accounts", "registry", "encryption")


async def renew(session: Session, bucket: str, *, force: bool) -> Exit:
    """Raises: Hinted, FrazilError."""
    output = session.output
    async with open_door(session.directory()) as node, open_cluster_store(cluster_of(node)) as store:
        site = await _site(node, dict(store.volumes))
        if site.away and not (force or output.dry_run):
            volume, reason = next(iter(site.away.items()))
            hint = "bring them back, or give --force: what only they hold is not restored then"
            raise Hinted(f"{count_text(len(site.away), 'volume')} can't be looked at: {volume}: {reason}", hint, code=Exit.TEMPORARY)
        try:
            if output.dry_run:
                return await _compare(session, node, site, bucket)
            async with renewal.exclusive(node.coordinator, Candidate(f"command-{os.urandom(4).hex()}", node.address)):
                report = await (_one(session, node, site, bucket, force) if bucket else _all(session, node, site, force))
            return tell(output, report, 0)
        finally:
            shutil.rmtree(site.first, ignore_errors=True)


async def _all(session: Session, node: Node, site: Site, force: bool) -> Report:
    await _check(node, force=force)
    meta = await renewal.begin(node.coordinator, node.client, node.config.meta.replicas)
    session.output.note(f"the metadata is made anew in {', '.join(meta.made.among)}")
    report = await build(site, site.first / "census", progress=Progress(session.output), into=meta)
    await renewal.finish(node.coordinator, meta)
    return report


async def _one(session: Session, node: Node, site: Site, bucket: str, force: bool) -> Report:
    """The bucket's container, while the others go on serving."""
    await _check_bucket(node, site, bucket, force)
    meta = await renewal.begin_bucket(node.coordinator, node.client, node.config.meta.replicas, bucket)
    session.output.note(f"the metadata of {bucket} is made anew in {meta.made.set}")
    async with open_meta(site.first / "here", key=node.key, clock=node.clock) as here:
        into = OneBucket(bucket, here=here, there=meta)
        report = await build(site, site.first / "census", bucket=bucket, progress=Progress(session.output), into=into)
    try:
        check_told(report, bucket)
    except Hinted:
        await renewal.clear(node.coordinator, meta)
        raise
    await renewal.finish_bucket(node.coordinator, meta)
    return report


async def _check_bucket(node: Node, site: Site, bucket: str, force: bool) -> None:
    """Whether nobody can be writing to the container that is to be replaced. Raises: Hinted, Unavailable."""
    try:
        await RoutedMeta(node.coordinator, node.client, patience_s=SHORT_S).container(bucket).settings()
    except (BucketNotFound, BaseCorrupt):  # it is lost, or damaged at every peer: nobody can
        return
    if not force and await _is_whole(node, site, bucket):
        hint = "compare it with --dry-run; to replace it, stop all gateways and give --force"
        raise Hinted(f"the metadata of {bucket} is whole", hint, code=Exit.CONFLICT)
    gateways = _gateways(node)
    if gateways:
        hint = "stop them first (and unmount what is mounted): what they write meanwhile would be lost"
        raise Hinted(f"the bucket {bucket} can still be written to, and gateways run: {', '.join(gateways)}", hint, code=Exit.CONFLICT)


async def _is_whole(node: Node, site: Site, bucket: str) -> bool:
    there = site.first / META_FOLDER
    try:
        await _fetch(node, there, bucket)
    except BaseCorrupt:
        return False
    return not await run_blocking(partial(unhealthy, there, bucket=bucket))


def _gateways(node: Node) -> list[str]:
    """Those that live."""
    return [each.registration.address for each in node.directory.of_kind("gateway") if not is_dead(each)]


async def _site(node: Node, volumes: dict[str, Rawx]) -> Site:
    """All volumes of the cluster, and a folder for what is in between."""
    fleet = Fleet(volumes, random=Random(os.urandom(32)))
    away = {stat.volume: stat.sick for stat in await fleet.stats() if stat.sick}
    return Site(_scratch(node.config.state), node.key, fleet, away)


def _scratch(state: Path) -> Path:
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in state.glob(f"{SCRATCH}*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir=state))


async def _check(node: Node, *, force: bool) -> None:
    """Whether nobody can be writing to the metadata that is to be replaced. Raises: Hinted."""
    await renewal.clear(node.coordinator)
    led = await _led(node)
    gateways = _gateways(node)
    if led and not force and await _answers(node):
        hint = "compare it with --dry-run; to replace it, stop all gateways and give --force"
        raise Hinted("the metadata is there", hint, code=Exit.CONFLICT)
    if led and gateways:
        hint = "stop them first (and unmount what is mounted): what they write meanwhile would be lost"
        words = f"{', '.join(led)} of the metadata can still be written to, and gateways run: {', '.join(gateways)}"
        raise Hinted(words, hint, code=Exit.CONFLICT)


async def _led(node: Node) -> list[str]:
    """Sets that somebody leads."""
    roster = Roster(node.coordinator)
    await roster.look()
    return [name for name in sorted(roster.sets) if await node.coordinator.candidates(name)]


async def _answers(node: Node) -> bool:
    """Whether all of it does, about: every set is asked."""
    meta = RoutedMeta(node.coordinator, node.client, patience_s=SHORT_S)
    try:
        await meta.dirty_containers()
        return bool(await meta.accounts.keys())
    except FrazilError:
        return False


async def _compare(session: Session, node: Node, site: Site, bucket: str) -> Exit:
    """Makes the metadata here, and tells in what that of the cluster differs."""
    there, new = site.first / META_FOLDER, site.first / NEW_FOLDER
    report = await build(site, new, bucket=bucket, progress=Progress(session.output))
    check_told(report, bucket)
    await _fetch(node, there, bucket)
    return tell(session.output, report, tell_differences(session.output, there, new, bucket, directory=False))


async def _fetch(node: Node, folder: Path, only: str) -> None:
    """Copies of the bases, each from who leads it, in the places that they have on one host. Raises: Unavailable, BaseCorrupt."""
    meta, roster = RoutedMeta(node.coordinator, node.client), Roster(node.coordinator)
    await roster.look()
    for of in sorted(roster.sets):
        queue = await node.coordinator.candidates(of)
        if not queue:
            raise NotLeader(f"nobody stands for the set {of}: what it has can't be compared")
        link = Link(node.client, queue[0].name, roster.address, node.clock)
        async with aclosing(meta.handfuls(of)) as handfuls:
            async for names in handfuls:
                for base in names:
                    target = _target(folder, base, only)
                    if target is not None:
                        await _copy(link, Surveying(of, base, 0), target)


def _target(folder: Path, base: str, only: str) -> Path | None:
    """None: it is not compared."""
    if base in COMPARED and not only:
        return folder / base / f"{base}.db"
    prefix = container_base("")
    bucket = base.removeprefix(prefix)
    return base_of(folder, bucket) if base.startswith(prefix) and only in ("", bucket) else None


async def _copy(link: Link, call: Surveying, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        await link.snapshot(call, target)
    except BaseNotFound:  # assigned, or removed, and not there
        return
