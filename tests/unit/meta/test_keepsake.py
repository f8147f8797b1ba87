"""What an empty ZooKeeper is given, by what peers know."""

from __future__ import annotations

import msgspec
import pytest

from meta.cluster.keepsake import EPOCHS_APART, Keepsake, Known, restoration, went_back
from meta.cluster.roster import DIRECTORY, RENEWAL, PeerSet
from meta.coordinator import EPOCHS, Document, Epochs
from node.errors import NotLeader

OLD, NEW = ("a", "b", "c"), ("b", "c", "d")


def peer(sets: dict[str, tuple[int, int, tuple[str, ...]]], *, floor: int = 0, **documents: tuple[int, bytes]) -> Known:
    given = {DIRECTORY: (1, b"{}"), **documents}
    return Known(Keepsake(floor, {name: Document(*each) for name, each in given.items()}), sets)


def test_nothing_is_given_when_nobody_knows_of_a_namespace() -> None:
    assert restoration({"a": Known(Keepsake(), {})}) == {}


def test_epochs_lie_above_every_promise_and_the_directory_comes_last() -> None:
    written = restoration({name: peer({"set-1": (EPOCHS_APART + 7, 5, OLD)}) for name in OLD})
    assert next(iter(written)) == EPOCHS
    assert list(written)[-1] == DIRECTORY
    assert msgspec.json.decode(written[EPOCHS], type=Epochs).floor == 2 * EPOCHS_APART


def test_the_peers_of_the_newest_reign_that_anybody_heard_of_are_the_set() -> None:
    written = restoration({"a": peer({"set-1": (3, 3, OLD)}), "b": peer({"set-1": (9, 4, NEW)}), "d": peer({"set-1": (9, 4, NEW)})})
    assert msgspec.json.decode(written["set/set-1"], type=PeerSet).peers == NEW


def test_a_majority_of_the_newest_peers_must_answer() -> None:
    with pytest.raises(NotLeader, match="start c, d"):
        restoration({"a": peer({"set-1": (3, 3, OLD)}), "b": peer({"set-1": (9, 4, NEW)})})


def test_sets_without_a_directory_are_not_laid_out_anew() -> None:
    with pytest.raises(NotLeader, match="directory"):
        restoration({"a": Known(Keepsake(), {"set-1": (3, 3, OLD)})})


def test_a_set_that_was_dissolved_is_not_given_back_by_a_peer_that_did_not_hear_of_it() -> None:
    stale = Known(Keepsake(0, {DIRECTORY: Document(1, b"{}"), "set/set-1": Document(1, b"{}")}), {"set-1": (3, 3, OLD)})
    fresh = Known(Keepsake(0, {DIRECTORY: Document(9, b"new"), "dissolved/set-1": Document(8)}), {"set-2": (7, 7, NEW)})
    written = restoration({"a": stale, "b": fresh, "c": fresh})
    assert set(written) == {EPOCHS, "dissolved/set-1", "set/set-2", DIRECTORY}
    assert written[DIRECTORY] == b"new"


def test_of_each_document_the_newest_is_given_also_over_several_ensembles() -> None:
    older, newer = peer({}, settings=(90, b"older")), peer({}, floor=EPOCHS_APART, settings=(2, b"newer"))
    assert restoration({"a": newer, "b": older})["settings"] == b"newer"


def test_a_zookeeper_that_is_older_than_what_peers_saw_went_back() -> None:
    answers = {"a": peer({"set-1": (40, 40, OLD)}, settings=(30, b"x"), lock=(20, b""))}
    now = peer({}, settings=(30, b"x")).keepsake
    assert not went_back(answers, now, 40)  # the lock was removed
    assert went_back(answers, now, 39)
    assert went_back(answers, peer({}, settings=(29, b"x")).keepsake, 90)
    assert not went_back(answers, peer({}, settings=(31, b"x")).keepsake, 90)
    assert not went_back(answers, peer({}, floor=EPOCHS_APART, settings=(3, b"x")).keepsake, 2 * EPOCHS_APART)
    assert went_back({"a": peer({}, floor=EPOCHS_APART)}, now, 90)


def test_a_renewal_that_came_to_its_end_is_not_given_back_by_a_peer_that_missed_that() -> None:
    stale, fresh = peer({}, renewal=(5, b"under way")), peer({}, settings=(9, b""))
    assert RENEWAL not in restoration({"a": stale, "b": fresh})
    assert RENEWAL in restoration({"a": stale})
