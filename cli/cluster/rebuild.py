"""What a lost host held, made anew: chunks on other volumes, replicas of the metadata at other peers."""

from __future__ import annotations

from cli.cluster.door import cluster_store, open_door
from cli.cluster.operator import is_dead, matching
from cli.cluster.replicas import peers_of, replace_peers, wait_replaced
from cli.exit import Exit, Hinted
from cli.follow import follow
from cli.session import Session
from cli.work import fields, tell
from meta.protocol.jobs import Job
from node.errors import AlreadyExists
from store.jobs.task import VOLUMES

KIND = "rebuild-volume"


async def rebuild_host(session: Session, host: str, *, pace_bytes: int, detach: bool, dry_run: bool) -> Exit:
    """Raises: Hinted, FrazilError."""
    place, output = session.directory(), session.output
    async with open_door(place) as node:
        services = [each for each in matching(node, host) if is_dead(each)]  # others are of a host that took its place
        if not services:
            hint = "empty it with `frazil node decommission`; for a single disk: `frazil rebuild volume`"
            raise Hinted(f"{host} is alive", hint, code=Exit.CONFLICT)
        peers = peers_of(services)
        stuck = await replace_peers(session, node, peers, dry_run=dry_run)
        volumes = [each.id for each in services if each.registration.kind == "rawx"]
        code = Exit.WARNINGS if stuck else Exit.OK
        if volumes:
            code = max(code, await _rebuild_volumes(session, host, volumes, pace_bytes, detach, dry_run))
        if not detach and not dry_run and not await wait_replaced(session, node, peers):
            code = max(code, Exit.WARNINGS)
    if not detach and not dry_run and code is Exit.OK:
        output.note(f"nothing is missing any more; `frazil cluster forget {host}` takes the host off the lists")
    return code


async def _rebuild_volumes(session: Session, host: str, volumes: list[str], pace_bytes: int, detach: bool, dry_run: bool) -> Exit:
    arguments = {"host": host, VOLUMES: ",".join(volumes)} | ({"dry": "1"} if dry_run else {})
    async with cluster_store(session.directory()) as store:
        try:
            job = await store.submit_job(Job(KIND, arguments, pace_bytes=pace_bytes))
        except AlreadyExists:  # another command is at it: this one follows
            jobs = await store.meta.jobs.jobs()
            job = next(each for each in jobs if (each.kind, each.arguments, each.state) == (KIND, arguments, "running"))
        session.output.record("job", f"job {job.id} makes anew what {len(volumes)} volumes of {host} held", **fields(job))
        return Exit.OK if detach else tell(session.output, await follow(session.output, store, job))
