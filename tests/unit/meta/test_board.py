"""The scores of services: at once down, slowly up; dead ones stay listed; an operator's lock wins."""

from __future__ import annotations

import msgspec
import pytest

from meta.conscience.board import FORGET_S, SILENT_S_MAX, Board
from meta.conscience.client import merge
from meta.conscience.protocol import Listing, Lock, Registration, Service
from meta.conscience.score import RISE_MAX, Expressions
from node.errors import InvalidArgument


def rawx(id: str = "a", **statistics: float) -> Registration:
    return Registration(id, "rawx", "10.0.0.1:6200", "host", "dc.room.rack.host.1", statistics=statistics)


def only(board: Board, now: float) -> Service:
    (found,) = board.services(now)
    return found


def test_a_new_service_has_its_full_score_at_once() -> None:
    board = Board(now=0.0)
    board.report(rawx(cpu=100, io=100, space=100), 1.0)
    assert (only(board, 1.0).place, only(board, 1.0).read, only(board, 1.0).reason) == (100, 100, "")


def test_a_score_falls_at_once_and_rises_by_steps() -> None:
    board = Board(now=0.0)
    board.report(rawx(cpu=100, io=100, space=100), 1.0)
    board.report(rawx(cpu=100, io=100, space=3), 2.0)
    low = only(board, 2.0).place
    assert 0 < low < 25
    board.report(rawx(cpu=100, io=100, space=100), 3.0)
    assert only(board, 3.0).place == low + RISE_MAX


def test_a_disk_that_syncs_slowly_gets_less_of_what_is_new() -> None:
    for kind in ("rawx", "meta"):
        board = Board(now=0.0)
        for at, sync in enumerate((100.0, 10.0, 1.0)):
            found = msgspec.structs.replace(rawx(str(at), cpu=100, io=100, space=100, sync=sync), kind=kind)
            board.report(found, 1.0)
        assert [each.place for each in board.services(1.0)] == [100, 32, 10]


def test_a_silent_service_is_listed_dead_with_the_reason_and_comes_back_slowly() -> None:
    board = Board(now=0.0)
    board.report(rawx(), 1.0)
    dead = only(board, 2.0 + SILENT_S_MAX)
    assert (dead.place, dead.read, dead.reason) == (0, 0, "not heard of for 6 s")
    board.report(rawx(), 60.0)
    assert only(board, 60.0).place == RISE_MAX
    assert board.services(60.0 + 2 * FORGET_S) == ()


def test_what_an_earlier_life_knew_is_forgotten_as_well() -> None:
    board = Board([rawx()], now=0.0)
    assert only(board, FORGET_S).reason == "not heard of since this conscience began"
    assert board.services(FORGET_S + 1) == ()


def test_a_problem_and_a_full_disk_give_nothing_and_say_why() -> None:
    board = Board(now=0.0)
    board.report(msgspec.structs.replace(rawx(), problem="the disk is gone"), 1.0)
    assert (only(board, 1.0).place, only(board, 1.0).reason) == (0, "the disk is gone")
    board.report(rawx(space=1), 2.0)
    assert (only(board, 2.0).place, only(board, 2.0).reason) == (0, "no room")


def test_a_draining_service_takes_nothing_and_is_read() -> None:
    board = Board(now=0.0)
    board.report(msgspec.structs.replace(rawx(), draining=True), 1.0)
    found = only(board, 1.0)
    assert (found.place, found.read, found.reason) == (0, 100, "draining")


def test_a_lock_wins_while_the_service_lives() -> None:
    board = Board(now=0.0)
    board.locks = {"a": Lock(place=0, read=7)}
    board.report(rawx(), 1.0)
    found = only(board, 1.0)
    assert (found.place, found.read, found.locked, found.reason) == (0, 7, True, "locked by an operator")
    assert only(board, 30.0).read == 0
    board.locks = {}
    board.report(rawx(), 2.0)
    assert only(board, 2.0).place == 100


def test_a_restarted_board_knows_whom_it_knew_and_gives_them_their_score_when_they_speak() -> None:
    board = Board(now=0.0)
    board.report(rawx(cpu=3), 1.0)
    again = Board(board.known(), now=100.0)
    assert only(again, 101.0).reason == "not heard of since this conscience began"
    again.report(rawx(), 102.0)
    assert only(again, 102.0).place == 100


def test_an_operators_expression_replaces_the_default() -> None:
    board = Board(now=0.0)
    board.expressions = {"rawx": Expressions("42", "space")}
    board.report(rawx(space=5), 1.0)
    assert (only(board, 1.0).place, only(board, 1.0).read) == (42, 5)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        Board(now=0.0).report(Registration("a", "toaster", "x:1"), 0.0)


def test_a_young_listing_takes_nothing_away() -> None:
    known = {each: Service(rawx(each), 50, 50) for each in "ab"}
    young = Listing((Service(rawx("a"), 0, 0, silent_s=1e9), Service(rawx("c"), 9, 9)), age_s=1.0)
    assert {name: each.place for name, each in merge(known, young).items()} == {"a": 50, "b": 50, "c": 9}
    assert set(merge(known, msgspec.structs.replace(young, age_s=60.0))) == {"a", "c"}
