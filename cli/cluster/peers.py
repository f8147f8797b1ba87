"""Sets of metadata peers: who leads them, who belongs to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import msgspec
import trio

from cli.cluster.door import open_door
from cli.cluster.node import Node
from cli.exit import Exit, Hinted
from cli.output import count_text
from cli.session import Session
from meta.cluster.link import leave_set
from meta.cluster.roster import PeerSet, Roster, wanted_change
from meta.cluster.routing import RoutedMeta
from meta.coordinator import Candidate
from node.errors import BucketNotFound
from node.text import visible

MOVE_S = 3600.0
"""How long a move is watched; it goes on by itself."""
LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Cast:
    """What the Coordinator says now. queues: candidates of each set, the leader first."""

    node: Node
    roster: Roster
    queues: dict[str, list[Candidate]]


@asynccontextmanager
async def open_cast(session: Session) -> AsyncIterator[Cast]:
    async with open_door(session.directory()) as node:
        roster = Roster(node.coordinator)
        await roster.look()
        if not roster.sets:
            raise Hinted("the cluster has no metadata yet", "it is laid out when enough meta services run", code=Exit.TEMPORARY)
        yield Cast(node, roster, {name: await node.coordinator.candidates(name) for name in sorted(roster.sets)})


async def list_sets(session: Session) -> Exit:
    async with open_cast(session) as cast:
        bad = 0
        for name, queue in cast.queues.items():
            peers = cast.roster.sets[name]
            away = [peer for peer in peers.peers if peer not in cast.roster.peers]
            bad += bool(away) or not queue
            leader = f"led by {queue[0].name} at {queue[0].address}" if queue else session.output.style("nobody leads", "red")
            tail = session.output.style(f"; away: {', '.join(away)}", "red") if away else ""
            coming = f"; to become {', '.join(peers.wanted)}" if peers.wanted else ""
            session.output.record(
                "set",
                f"{name:<10} {leader}; peers: {', '.join(peers.peers)}{coming}{tail}",
                set=name,
                leader=queue[0].name if queue else None,
                address=queue[0].address if queue else None,
                candidates=[each.name for each in queue],
                peers=list(peers.peers),
                wanted=list(peers.wanted),
                away=away,
            )
        session.output.note(f"{count_text(len(cast.queues), 'set')}, {count_text(len(cast.roster.peers), 'peer')}")
    return Exit.WARNINGS if bad else Exit.OK


async def leave_sets(session: Session, names: tuple[str, ...]) -> Exit:
    async with open_cast(session) as cast:
        for name in names:
            led = [(of, queue[0]) for of, queue in cast.queues.items() if queue and name in (of, queue[0].name)]
            if not led and name not in {*cast.roster.peers, *cast.queues}:
                raise Hinted(f"there is no set or peer {name!r}", "`frazil election list` names them", code=Exit.NOT_FOUND)
            for of, leader in led:
                if len(cast.queues[of]) < 2:
                    raise Hinted(f"nobody else stands for {of}", "start another of its peers first", code=Exit.CONFLICT)
                left = await leave_set(cast.node.client, leader.address, of)
                session.output.record(
                    "left", f"{leader.name} {'leaves' if left else 'does not lead'} {of}", set=of, peer=leader.name, left=left
                )
    return Exit.OK


async def move_peer(session: Session, of: str, way: tuple[str, str], *, detach: bool) -> Exit:
    """way: the peer that leaves, the one that joins."""
    source, target = way
    async with open_cast(session) as cast:
        if of not in cast.roster.sets:
            of = await _set_of_bucket(session, cast, of)
        before = cast.roster.sets[of]
        if target not in cast.roster.peers:
            raise Hinted(f"no peer {target!r} is up", "`frazil election list --json` names those of each set", code=Exit.NOT_FOUND)
        if not (before.wanted and target in before.wanted and source not in before.wanted):  # else it was asked for before
            await cast.roster.change_set(of, before, wanted_change(before, source, target))
        session.output.record("move", f"{target} takes the place of {source} in {of}", set=of, source=source, target=target)
        if not detach:
            await _follow(session, cast, of)
    return Exit.OK


async def _set_of_bucket(session: Session, cast: Cast, bucket: str) -> str:
    """Raises: Hinted when there is no bucket of that name either."""
    meta = RoutedMeta(cast.node.coordinator, cast.node.client)
    try:
        of = (await meta.place(bucket)).set
    except BucketNotFound as error:
        hint = "`frazil election list` names the sets"
        raise Hinted(f"there is no set and no bucket {visible(bucket)}", hint, code=Exit.NOT_FOUND) from error
    session.output.note(f"{visible(bucket)} is in {of}, whose buckets all move together")
    return of


async def _follow(session: Session, cast: Cast, of: str) -> None:
    seen: PeerSet | None = None
    with trio.move_on_after(MOVE_S):
        while True:
            await cast.roster.look()
            now = cast.roster.sets[of]
            if now != seen:
                seen = now
                session.output.record("set", f"{of}: {', '.join(now.peers)}", set=of, **msgspec.to_builtins(now))
            if not now.wanted:
                return
            await trio.sleep(LOOK_S)
