"""Sets of peers on their way to others."""

from __future__ import annotations

import pytest

from meta.cluster.roster import PeerSet, wanted_change
from node.errors import InvalidArgument


def steps(peers: PeerSet) -> list[tuple[str, ...]]:
    found = []
    while (following := peers.step()) is not None:
        found.append(following.peers)
        peers = following
    return found


def test_one_joins_before_another_leaves() -> None:
    moved = wanted_change(PeerSet(("a", "b", "c")), "a", "d")
    assert steps(moved) == [("a", "b", "c", "d"), ("b", "c", "d"), ("d", "b", "c")]


def test_a_change_under_way_is_changed_again_and_taken_back() -> None:
    moved = wanted_change(PeerSet(("a", "b", "c")), "c", "d")
    half = moved.step()
    assert half is not None
    assert half.peers == ("a", "b", "c", "d")
    assert steps(wanted_change(half, "d", "c"))[-1] == ("a", "b", "c")
    assert steps(wanted_change(half, "b", "e"))[-1] == ("a", "e", "d")
    with pytest.raises(InvalidArgument, match="on its way to the peers a, b, d"):
        wanted_change(half, "c", "e")


def test_who_joined_for_whom_is_to_leave_is_told() -> None:
    assert PeerSet(("a", "b", "c")).joined == ()
    assert PeerSet(("a", "b", "c", "d"), ("a", "b", "d")).joined == ("d",)
    assert PeerSet(("a", "b", "c", "d", "e"), ("d", "e", "c")).joined == ("d", "e")
    assert PeerSet(("b", "c", "d", "e"), ("d", "e", "c")).joined == ("e",)
    assert PeerSet(("a", "b", "c", "d"), ("a", "b", "c")).joined == ()  # taken back
    assert PeerSet(("a", "b", "c", "d", "e"), ("a", "b", "e")).joined == ("e",)
