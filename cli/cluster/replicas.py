"""Replicas of the metadata that are to be elsewhere: of a host that is lost, or that is to be emptied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import trio

from cli.cluster.node import Node
from cli.session import Session
from meta.cluster.roster import Peer, PeerSet, Roster, wanted_change
from meta.conscience.protocol import Service
from node.errors import InvalidArgument
from store.location import Location

MOVE_S = 3600.0
"""How long the moves are watched; they go on by themselves."""
LOOK_S = 0.5


def peers_of(services: Iterable[Service]) -> list[str]:
    """Names of the metadata peers among them."""
    return [each.registration.peer for each in services if each.registration.peer]


async def replace_peers(session: Session, node: Node, leaving: Sequence[str], *, dry_run: bool) -> int:
    """Has other peers take the place of these in every set; in how many sets there is none that could. Raises: Superseded, Unavailable."""
    roster = Roster(node.coordinator)
    await roster.look()
    without = 0
    for name, before in sorted(roster.sets.items()):
        for peer in [peer for peer in before.peers if peer in leaving and peer not in before.goal]:
            session.output.record("replica", f"{peer} is on its way out of {name} already", set=name, peer=peer)
        for peer in [peer for peer in before.goal if peer in leaving]:
            target = _substitute(roster, before, leaving)
            if target is None:
                without += 1
                line = f"{name} stays without {peer}: there is no other peer; start meta on another host, then run this again"
                session.output.record("replica", line, set=name, peer=peer, target=None)
            else:
                if not dry_run:
                    change = wanted_change(before, peer, target)
                    await roster.change_set(name, before, change)
                    roster.sets[name] = before = change
                session.output.record("replica", f"{target} takes the place of {peer} in {name}", set=name, peer=peer, target=target)
    return without


def _substitute(roster: Roster, before: PeerSet, leaving: Sequence[str]) -> str | None:
    """Of the living peers on hosts that the set is not on, the one with the fewest sets."""
    load = {name: sum(name in each.peers or name in each.wanted for each in roster.sets.values()) for name in roster.peers}
    taken = {_host(roster.peers[name]) for name in before.goal if name in roster.peers and name not in leaving}
    known = {*before.peers, *before.goal, *leaving}
    free = [peer for peer in roster.peers.values() if peer.name not in known and _host(peer) not in taken]
    return min(free, key=lambda peer: (load[peer.name], peer.name)).name if free else None


def _host(peer: Peer) -> tuple[str, ...]:
    try:
        return Location.parse(peer.location).parts[:-1]
    except InvalidArgument:
        return (peer.address,)


async def wait_replaced(session: Session, node: Node, leaving: Sequence[str]) -> bool:
    """Until no set that is on its way names these peers; whether that came in time."""
    roster = Roster(node.coordinator)
    with trio.move_on_after(MOVE_S):
        while True:
            await roster.look()
            under_way = [name for name, each in roster.sets.items() if each.wanted and set(leaving) & set(each.peers)]
            if not under_way:
                return True
            await trio.sleep(LOOK_S)
    session.output.warn(f"replicas still move: {', '.join(under_way)}; see `frazil election list`")
    return False
