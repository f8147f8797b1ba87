"""A client's write that it may have to make again: an entry says which calls it carried out, so that another leader makes none twice.

Theory of operation. A client draws a number for each call and knows where the base stood at some time before it made the call (each
answer says so). When the answer is lost, the call is made again, with its number and that standing. Whoever leads then has every entry
that was agreed, and looks through those behind the standing: either one of them names the call, and how it was answered, or the call was
never carried out and never will be, for its leader's epoch is over. Only when the log does not reach back so far nobody can tell.

Source: Lee and others: Implementing Linearizability at Large Scale and Low Latency (RIFL, SOSP 2015).
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from typing import Any

import apsw
import msgspec

from meta.commit import NOTHING, Header
from meta.script import calls_of

NUMBER_BYTES = 16


class Trace(Enum):
    """What a log says of a call that it does not name."""

    NONE = "it was not carried out"
    LOST = "nobody can tell"


@dataclass(frozen=True, slots=True)
class Attempt:
    """number: NUMBER_BYTES drawn by chance; base: that it writes; again: None for a first call, else where the base stood before that
    (NOTHING where the client doesn't know); harmless: it may be carried out twice."""

    number: bytes
    base: str
    again: Header | None = None
    harmless: bool = False


current: ContextVar[Attempt | None] = ContextVar("attempt", default=None)
"""Of the task that carries a call to its base."""


def answered(db: apsw.Connection, attempt: Attempt) -> msgspec.Raw | Trace:
    """How the call was answered that is made again; within a transaction of the base's leader."""
    assert attempt.again is not None
    since = attempt.again
    for (script,) in db.execute("SELECT script FROM entries WHERE entry > ? AND instr(script, ?)", (since.index, attempt.number)):
        for number, answer in calls_of(script):
            if number == attempt.number:
                return answer
    return Trace.NONE if _reaches(db, since) else Trace.LOST


def _reaches(db: apsw.Connection, since: Header) -> bool:
    """Whether everything behind that standing is in the log."""
    if db.execute("SELECT 1 FROM entries WHERE entry > ? AND script IS NULL LIMIT 1", (since.index,)).get:
        return False
    if since == NOTHING:
        return bool(db.execute("SELECT min(entry) FROM entries").get == 1)
    return bool(db.execute("SELECT epoch FROM entries WHERE entry = ?", (since.index,)).get == since.epoch)


def answer_of(result: Any) -> msgspec.Raw:
    """As an entry keeps it: without what was dropped, which is on the container's list until its chunks are deleted."""
    return msgspec.Raw(_encode(_plain(result)))


_encode = msgspec.msgpack.Encoder().encode


def _plain(result: Any) -> Any:
    if isinstance(result, tuple):
        return ()  # of Dropped
    if isinstance(result, list):
        return [_plain(each) for each in result]
    if getattr(result, "dropped", None):
        return msgspec.structs.replace(result, dropped=())
    return result
