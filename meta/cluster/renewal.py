"""All metadata made anew, beside what there is: in sets of peers that no directory names until everything is in them.

document in the Coordinator: renewal   Renewal, while one is under way or was broken off

Theory of operation. New sets are made on the peers that live, and whoever fills them finds them by a layout of his own; to everybody else
they do not exist. One write of the document `directory` puts them in the place of the old ones, which are dissolved then: their peers, as
far as there are any, put the bases away. A renewal that is broken off before that write leaves sets that the next one dissolves; one that
is broken off after it leaves the old sets, which `clear` dissolves too.

One bucket's container is made anew in the same way in one new set, which stays; the one write is that of its place in the directory. The
old container stays at the peers of its set, where nobody looks for it any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import msgspec
import trio

from meta.cluster.birth import Births
from meta.cluster.process import first_layout, first_prefixes
from meta.cluster.roster import (
    DIRECTORY,
    DISSOLVED_FOLDER,
    RENEWAL,
    SET_FOLDER,
    Layout,
    PeerSet,
    Renewal,
    Roster,
    first_sets,
    renewal_under_way,
    renewed_sets,
)
from meta.cluster.routing import RoutedMeta
from meta.coordinator import Candidate, Coordinator, Mandate, parsed
from meta.protocol.bucket import BucketSettings
from meta.protocol.directory import Place
from meta.protocol.registry import BucketEntry
from node.errors import BucketNotFound, Busy, Conflict, Superseded
from node.http.client import Client
from node.log import get_logger

ELECTION = "renewal"
"""Whose winner may renew: one at a time."""
PATIENCE_S = 60.0
"""Sets that were made just now elect their first leaders meanwhile."""
EXCLUSIVE_S = 15.0
"""So long a command that was killed may still be taken for alive."""
_log = get_logger("meta.renewal")


class RenewedMeta(RoutedMeta):
    """The metadata that is being made. Buckets are born here, not at the leader of a registry that nobody else knows."""

    def __init__(self, coordinator: Coordinator, client: Client, layout: Layout) -> None:
        super().__init__(coordinator, client, layout=layout, patience_s=PATIENCE_S)
        self.made = layout
        self._births = Births(self, _alone)

    async def create_bucket(self, settings: BucketSettings) -> None:
        await self._births.create_bucket(settings)


async def _alone() -> None:
    """Nobody else knows the registry."""


@asynccontextmanager
async def exclusive(coordinator: Coordinator, candidate: Candidate) -> AsyncIterator[None]:
    """Raises: Busy while another process renews."""
    mandate: Mandate | None = None
    with trio.move_on_after(EXCLUSIVE_S):
        mandate = await coordinator.campaign(ELECTION, candidate)
    if mandate is None:
        raise Busy("another command is making the metadata anew")
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await mandate.resign()


async def begin(coordinator: Coordinator, client: Client, replicas: int) -> RenewedMeta:
    """Empty metadata in new sets. Raises: Conflict when too few peers are up; Unavailable."""
    await clear(coordinator)
    last, sets = await _new_sets(coordinator, replicas)
    made = {f"set-{last + number}": peers for number, peers in enumerate(sets, 1)}
    names = list(made)
    await _make(coordinator, Renewal(tuple(names)), made)
    meta = RenewedMeta(coordinator, client, Layout(first_layout(names).sets, tuple(names)))
    await meta.lay_out(first_prefixes(names))
    return meta


async def _new_sets(coordinator: Coordinator, replicas: int) -> tuple[int, list[PeerSet]]:
    """The highest number that a set ever had, and sets of the peers that live, each led by another. Raises: Conflict, Unavailable."""
    roster = Roster(coordinator)
    await roster.look()
    if len(roster.peers) < replicas:
        raise Conflict(f"{len(roster.peers)} metadata peers are up, {replicas} are needed: start meta on more hosts")
    taken = [*await coordinator.names(SET_FOLDER), *await coordinator.names(DISSOLVED_FOLDER)]
    last = max([int(name.rpartition("-")[2]) for name in taken], default=0)
    return last, list(first_sets(list(roster.peers), replicas).values())


async def _make(coordinator: Coordinator, renewal: Renewal, sets: Mapping[str, PeerSet]) -> None:
    await coordinator.write(RENEWAL, msgspec.json.encode(renewal), version=0)
    for name, peers in sets.items():
        await coordinator.write(f"{SET_FOLDER}/{name}", msgspec.json.encode(peers), version=0)


class RenewedBucket(RoutedMeta):
    """The metadata as it is, but for the container that is being made: `made` is its place."""

    def __init__(self, coordinator: Coordinator, client: Client, made: Place) -> None:
        super().__init__(coordinator, client, patience_s=PATIENCE_S)
        self.made = made

    async def place(self, bucket: str) -> Place:
        return self.made if bucket == self.made.bucket else await super().place(bucket)

    async def put_in_place(self) -> None:
        """Raises: Superseded when another did it meanwhile; Unavailable."""
        bucket, target = self.made.bucket, self.made.set
        directory = await self.assignments(bucket)
        try:
            there = await directory.find(bucket)
        except BucketNotFound:
            await directory.assign(bucket, target)
            return
        await directory.reassign(bucket, there.set, target)
        if there.removed:
            await directory.assign(bucket, target)


async def begin_bucket(coordinator: Coordinator, client: Client, replicas: int, bucket: str) -> RenewedBucket:
    """Its container in a new set, not there yet. Raises: Conflict when too few peers are up; Unavailable."""
    await clear(coordinator, RoutedMeta(coordinator, client))
    last, sets = await _new_sets(coordinator, replicas)
    name = f"set-{last + 1}"
    await _make(coordinator, Renewal((name,), bucket=bucket), {name: sets[last % len(sets)]})
    return RenewedBucket(coordinator, client, Place(bucket, name))


async def finish_bucket(coordinator: Coordinator, meta: RenewedBucket) -> None:
    """The container that was made takes the place of the one that was there. Raises: BucketTaken, Superseded, Unavailable."""
    if await renewed_sets(coordinator) != (meta.made.set,):
        raise Superseded("another rebuild was begun meanwhile")
    bucket = meta.made.bucket
    settings = await meta.container(bucket).settings()
    entry = BucketEntry(bucket, settings.account, settings.created_us, settings.region)
    await meta.registry.claim(entry)
    await meta.put_in_place()
    _log.warning("the metadata of the bucket %s lies in the set %s now", bucket, meta.made.set)
    await meta.accounts.add_bucket(entry)
    await clear(coordinator, meta)


async def finish(coordinator: Coordinator, meta: RenewedMeta) -> None:
    """What was made takes the place of what there was. Raises: Superseded, Unavailable."""
    document = await coordinator.read(DIRECTORY)
    if await renewed_sets(coordinator) != meta.made.among:
        raise Superseded("another rebuild was begun meanwhile")
    await coordinator.write(DIRECTORY, msgspec.json.encode(meta.made), version=document.version)
    _log.warning("the metadata lies in the sets %s now", ", ".join(meta.made.among))
    await clear(coordinator)


async def clear(coordinator: Coordinator, meta: RoutedMeta | None = None) -> None:
    """Ends a renewal: what the directory does not name is dissolved, if one was under way. meta: None when the directory itself is to be
    made anew; what a bucket's renewal left goes with the other old sets then.

    Raises: Superseded, Unavailable.
    """
    renewal = await renewal_under_way(coordinator)
    if renewal is None:
        return
    names = renewal.sets
    if renewal.bucket:
        await _clear_bucket(coordinator, renewal, meta)
        return
    document = await coordinator.read(DIRECTORY)
    layout = parsed(DIRECTORY, document, Layout) if document.version else Layout({})
    done = bool(set(names) & set(layout.among))
    for name in await coordinator.names(SET_FOLDER):
        if (name not in names) if done else (name in names):
            await _dissolve(coordinator, name)
    if done:  # sets of peers that come later take containers too
        await coordinator.write(DIRECTORY, msgspec.json.encode(Layout(layout.sets)), version=document.version)
    await _end(coordinator)


async def _clear_bucket(coordinator: Coordinator, renewal: Renewal, meta: RoutedMeta | None) -> None:
    if meta is not None:
        try:
            place = await (await meta.assignments(renewal.bucket)).find(renewal.bucket)
        except BucketNotFound:
            place = None
        if place is None or place.set not in renewal.sets:
            for name in renewal.sets:
                await _dissolve(coordinator, name)
    await _end(coordinator)


async def _end(coordinator: Coordinator) -> None:
    under_way = await coordinator.read(RENEWAL)
    await coordinator.remove(RENEWAL, version=under_way.version)


async def _dissolve(coordinator: Coordinator, name: str) -> None:
    try:
        await coordinator.write(f"{DISSOLVED_FOLDER}/{name}", b"", version=0)
    except Superseded:  # an earlier try came so far
        pass
    document = await coordinator.read(f"{SET_FOLDER}/{name}")
    if document.version:
        await coordinator.remove(f"{SET_FOLDER}/{name}", version=document.version)
