"""Replicas that are to leave hosts, also while their sets are on their way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec

from cli.cluster.node import Node
from cli.cluster.replicas import replace_peers
from cli.session import Session
from meta.cluster.roster import Peer, PeerSet
from meta.coordinator import LocalCoordinator


async def test_a_second_host_is_emptied_while_the_first_one_still_is() -> None:
    """It was told as on its way, and its replica stayed: whoever then took the host out had lost it."""
    coordinator, told = LocalCoordinator(), []
    for name in "abcde":
        await coordinator.announce(f"peer/{name}", msgspec.json.encode(Peer(name, f"{name}:1", f"dc.room.rack.{name}.meta")))
    await coordinator.write("set/set-1", msgspec.json.encode(PeerSet(("a", "b", "c"), ("d", "b", "c"))), version=0)

    def record(kind: str, line: str, **fields: Any) -> None:
        told.append(line)

    session = cast(Session, SimpleNamespace(output=SimpleNamespace(record=record)))
    node = cast(Node, SimpleNamespace(coordinator=coordinator))
    assert await replace_peers(session, node, ["a", "b"], dry_run=False) == 0
    document = await coordinator.read("set/set-1")
    assert msgspec.json.decode(document.data, type=PeerSet) == PeerSet(("a", "b", "c"), ("d", "e", "c"))
    assert told == ["a is on its way out of set-1 already", "e takes the place of b in set-1"]
