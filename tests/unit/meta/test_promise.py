"""What a peer promises, to whom, and what it remembers of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meta.cluster.promise import Promise
from meta.cluster.wire import Promising
from node.errors import BaseCorrupt, Fenced

PEERS = ("a", "b", "c")


def claim(epoch: int, *, holder: str = "one", peers: tuple[str, ...] = PEERS, place: tuple[int, int] = (0, 5)) -> Promising:
    return Promising("set-1", epoch, peers, place, holder)


@pytest.fixture
def promise(tmp_path: Path) -> Promise:
    promise = Promise(tmp_path / "promise")
    promise.give(claim(7))
    return promise


def test_a_promise_is_remembered_with_its_holder_and_its_peers(promise: Promise, tmp_path: Path) -> None:
    again = Promise(tmp_path / "promise")
    assert (again.epoch, again.peers, again.place) == (7, (7, PEERS), (0, 5))
    again.give(claim(7))
    with pytest.raises(Fenced):
        again.give(claim(7, holder="another"))


def test_a_lower_epoch_is_refused_and_a_higher_one_goes_to_anybody(promise: Promise) -> None:
    with pytest.raises(Fenced, match="over"):
        promise.give(claim(6))
    promise.give(claim(8, holder="another"))
    assert promise.epoch == 8


def test_who_names_peers_of_an_older_document_gets_no_promise_however_high_the_epoch(promise: Promise) -> None:
    promise.give(claim(8, peers=("b", "c", "d"), place=(0, 9)))
    with pytest.raises(Fenced, match="old copy"):
        promise.give(claim(9))
    assert promise.epoch == 8
    promise.give(claim(9, place=(1, 2)))


def test_an_epoch_that_was_heard_of_without_its_holder_gets_one(promise: Promise) -> None:
    promise.make(9)
    promise.give(claim(9, holder="two"))
    with pytest.raises(Fenced):
        promise.give(claim(9, holder="three"))


@pytest.mark.parametrize(
    ("text", "epoch", "peers"), [("1 5", 5, (0, ())), ("2 6 5 a,b,c", 6, (5, PEERS)), ("2 6 0", 6, (0, ())), ("3 6 - 0 - 0 0", 6, (0, ()))]
)
def test_promises_of_before_are_kept(tmp_path: Path, text: str, epoch: int, peers: object) -> None:
    (tmp_path / "promise").write_text(text + "\n")
    found = Promise(tmp_path / "promise")
    assert (found.epoch, found.peers) == (epoch, peers)


@pytest.mark.parametrize("text", ["", "3", "4 5", "1 x", "3 5 - 0 - 0", "1 5 6", "2 5 6 7 8"])
def test_a_peer_whose_promise_is_unreadable_does_not_vote(tmp_path: Path, text: str) -> None:
    (tmp_path / "promise").write_text(text)
    with pytest.raises(BaseCorrupt):
        Promise(tmp_path / "promise")
