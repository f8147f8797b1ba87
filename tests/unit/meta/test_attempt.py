"""Calls in the log of a base: what it tells of one that is made again."""

from __future__ import annotations

import apsw
import msgspec
import pytest

from meta.attempt import Attempt, Trace, answer_of, answered
from meta.commit import NOTHING, Header
from meta.kind import schema
from meta.protocol.object import DeleteResult, Dropped, PutResult
from meta.script import Script

NUMBER = b"0123456789abcdef"
OTHER = b"fedcba9876543210"


@pytest.fixture
def db() -> apsw.Connection:
    """Entries 1 to 5 of epoch 7; the third carried NUMBER out."""
    db = apsw.Connection(":memory:")
    db.execute(schema("base"))
    for index in range(1, 6):
        script = Script(db)
        if index == 3:
            script.calls = [(OTHER[:-1] + b"9", answer_of(None)), (NUMBER, answer_of(PutResult(8, True, 9)))]
        db.execute("INSERT INTO entries VALUES (?, 7, ?)", (index, script.encode()))
    return db


def told(db: apsw.Connection, number: bytes, since: Header) -> object:
    found = answered(db, Attempt(number, "container/b", since))
    return msgspec.msgpack.decode(found, type=PutResult) if isinstance(found, msgspec.Raw) else found


@pytest.mark.parametrize("since", [NOTHING, Header(7, 1), Header(7, 2)])
def test_a_call_is_answered_as_the_entry_says_that_carried_it_out(db: apsw.Connection, since: Header) -> None:
    assert told(db, NUMBER, since) == PutResult(8, True, 9)


def test_a_call_that_no_entry_behind_names_was_not_carried_out(db: apsw.Connection) -> None:
    assert told(db, OTHER, Header(7, 1)) is told(db, OTHER, NOTHING) is told(db, OTHER, Header(7, 5)) is Trace.NONE


def test_a_log_of_which_something_is_gone_does_not_tell(db: apsw.Connection) -> None:
    db.execute("DELETE FROM entries WHERE entry < 3")
    assert told(db, OTHER, NOTHING) is told(db, OTHER, Header(7, 2)) is Trace.LOST
    assert told(db, OTHER, Header(7, 3)) is Trace.NONE
    db.execute("UPDATE entries SET script = NULL WHERE entry = 4")
    assert told(db, OTHER, Header(7, 3)) is Trace.LOST


def test_a_log_of_another_history_does_not_tell(db: apsw.Connection) -> None:
    assert told(db, OTHER, Header(6, 2)) is told(db, OTHER, Header(7, 6)) is Trace.LOST


def test_answers_are_kept_without_what_was_dropped() -> None:
    dropped = (Dropped(1, b"layout"),)
    results = [DeleteResult("a", 1, dropped=dropped), DeleteResult("b")]
    assert msgspec.msgpack.decode(answer_of(results), type=list[DeleteResult]) == [DeleteResult("a", 1), DeleteResult("b")]
    assert msgspec.msgpack.decode(answer_of(dropped)) == []
