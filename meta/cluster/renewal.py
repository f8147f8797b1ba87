"""All metadata made anew, beside what there is: in sets of peers that no directory names until everything is in them.

document in the Coordinator: renewal   Renewal, while one is under way or was broken off

Theory of operation. New sets are made on the peers that live, and whoever fills them finds them by a layout of his own; to everybody else
they do not exist. One write of the document `directory` puts them in the place of the old ones, which are dissolved then: their peers, as
far as there are any, put the bases away. A renewal that is broken off before that write leaves sets that the next one dissolves; one that
is broken off after it leaves the old sets, which `clear` dissolves too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import trio

from meta.cluster.birth import Births
from meta.cluster.process import first_layout, first_prefixes
from meta.cluster.roster import DIRECTORY, DISSOLVED_FOLDER, RENEWAL, SET_FOLDER, Layout, Renewal, Roster, first_sets, renewed_sets
from meta.cluster.routing import RoutedMeta
from meta.coordinator import Candidate, Coordinator, Mandate
from meta.protocol.bucket import BucketSettings
from node.errors import Busy, Conflict, Superseded
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
    roster = Roster(coordinator)
    await roster.look()
    if len(roster.peers) < replicas:
        raise Conflict(f"{len(roster.peers)} metadata peers are up, {replicas} are needed: start meta on more hosts")
    taken = [*await coordinator.names(SET_FOLDER), *await coordinator.names(DISSOLVED_FOLDER)]
    last = max([int(name.rpartition("-")[2]) for name in taken], default=0)
    made = {f"set-{last + number}": peers for number, peers in enumerate(first_sets(list(roster.peers), replicas).values(), 1)}
    names = list(made)
    await coordinator.write(RENEWAL, msgspec.json.encode(Renewal(tuple(names))), version=0)
    for name, peers in made.items():
        await coordinator.write(f"{SET_FOLDER}/{name}", msgspec.json.encode(peers), version=0)
    meta = RenewedMeta(coordinator, client, Layout(first_layout(names).sets, tuple(names)))
    await meta.lay_out(first_prefixes(names))
    return meta


async def finish(coordinator: Coordinator, meta: RenewedMeta) -> None:
    """What was made takes the place of what there was. Raises: Superseded, Unavailable."""
    document = await coordinator.read(DIRECTORY)
    if await renewed_sets(coordinator) != meta.made.among:
        raise Superseded("another rebuild was begun meanwhile")
    await coordinator.write(DIRECTORY, msgspec.json.encode(meta.made), version=document.version)
    _log.warning("the metadata lies in the sets %s now", ", ".join(meta.made.among))
    await clear(coordinator)


async def clear(coordinator: Coordinator) -> None:
    """Ends a renewal: what the directory does not name is dissolved, if one was under way. Raises: Superseded, Unavailable."""
    names = await renewed_sets(coordinator)
    if not names:
        return
    document = await coordinator.read(DIRECTORY)
    layout = msgspec.json.decode(document.data, type=Layout) if document.version else Layout({})
    done = bool(set(names) & set(layout.among))
    for name in await coordinator.names(SET_FOLDER):
        if (name not in names) if done else (name in names):
            await _dissolve(coordinator, name)
    if done:  # sets of peers that come later take containers too
        await coordinator.write(DIRECTORY, msgspec.json.encode(Layout(layout.sets)), version=document.version)
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
