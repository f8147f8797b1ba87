"""The oracle itself: it must find each kind of fault, and only faults."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.oracle import ClientLog, Event, Kind, Outcome, identify, judge, make_body

UNKNOWN, FAILED = Outcome.UNKNOWN, Outcome.FAILED


def put(token: str, start: int, end: int, outcome: Outcome = Outcome.ACKED) -> Event:
    return Event(Kind.PUT, "k", token, start, end, outcome)


def delete(start: int, end: int, outcome: Outcome = Outcome.ACKED) -> Event:
    return Event(Kind.DELETE, "k", "", start, end, outcome)


def read(token: str, start: int, end: int, fault: str = "") -> Event:
    return Event(Kind.READ, "k", token, start, end, fault=fault)


def cut(at: int) -> Event:
    return Event(Kind.CUT, "", "", at, at)


def crash(at: int) -> Event:
    return Event(Kind.CRASH, "", "", at, at)


SOUND = {
    "nothing was written": [read("", 1, 2)],
    "the last write": [put("a", 1, 2), put("b", 3, 4), read("b", 5, 6)],
    "either of two at once": [put("a", 1, 4), put("b", 2, 3), read("a", 5, 6)],
    "a write still running": [put("a", 1, 9), read("a", 2, 3)],
    "unknown, and there": [put("a", 1, 2), put("b", 3, 4, UNKNOWN), read("b", 5, 6)],
    "unknown, and not there": [put("a", 1, 2), put("b", 3, 4, UNKNOWN), read("a", 5, 6)],
    "unknown delete done": [put("a", 1, 2), delete(3, 4, UNKNOWN), read("", 5, 6)],
    "unknown delete not done": [put("a", 1, 2), delete(3, 4, UNKNOWN), read("a", 5, 6)],
    "deleted while written": [put("a", 1, 4), delete(2, 3), read("", 5, 6)],
    "written while deleted": [put("a", 1, 4), delete(2, 3), read("a", 5, 6)],
    "deleted": [put("a", 1, 2), delete(3, 4), read("", 5, 6)],
    "written again": [put("a", 1, 2), delete(3, 4), put("b", 5, 6), read("b", 7, 8)],
    "acknowledged without power": [put("a", 1, 2), put("b", 3, 6), cut(5), crash(7), read("a", 8, 9)],
    "read without power": [put("a", 1, 2), put("b", 3, 4, UNKNOWN), cut(5), read("b", 5, 6), crash(7), read("a", 8, 9)],
    "unknown that took effect late": [put("a", 1, 2, UNKNOWN), put("b", 3, 4), read("a", 5, 6)],
}
FAULTY = {
    "lost": [
        [put("a", 1, 2), read("", 3, 4)],
        [put("a", 1, 2), put("b", 3, 4), read("a", 5, 6)],
        [delete(1, 2), put("a", 3, 4), read("", 5, 6)],
        [put("a", 1, 2, UNKNOWN), crash(3), put("b", 4, 5), read("a", 6, 7)],
        [put("a", 1, 2, UNKNOWN), read("a", 3, 4), read("", 5, 6)],
        [put("a", 1, 2), put("b", 3, 4, UNKNOWN), read("b", 5, 6), read("a", 7, 8)],
        [put("a", 1, 2), put("b", 3, 4), cut(5), crash(7), read("a", 8, 9)],
        [cut(1), crash(2), put("a", 3, 4), put("b", 5, 6), read("a", 8, 9)],
    ],
    "resurrected": [[put("a", 1, 2), delete(3, 4), read("a", 5, 6)], [put("a", 1, 2, UNKNOWN), crash(2), delete(3, 4), read("a", 5, 6)]],
    "wrong": [
        [read("x", 1, 2)],
        [put("a", 1, 2, FAILED), read("a", 3, 4)],
        [read("a", 1, 2), put("a", 3, 4)],
        [put("a", 1, 2), read("", 3, 4, "wrong")],
    ],
    "torn": [[put("a", 1, 2), read("a", 3, 4, "torn")]],
}


@pytest.mark.parametrize("events", SOUND.values(), ids=SOUND)
def test_accepts_what_can_be(events: list[Event]) -> None:
    assert judge(events).sound, judge(events).explain()


@pytest.mark.parametrize(("kind", "events"), [(kind, events) for kind, cases in FAULTY.items() for events in cases])
def test_finds_what_cannot_be(kind: str, events: list[Event]) -> None:
    verdict = judge(events)
    assert len(getattr(verdict, kind)) == 1, verdict.explain()
    assert sum(len(getattr(verdict, name)) for name in FAULTY) == 1


@given(st.integers(0, 1 << 32))
def test_accepts_every_history_of_a_true_register(seed: int) -> None:
    """Clients over a perfect register: operations overlap, crash, and take effect at one moment between start and end."""
    rng = random.Random(seed)
    moments: list[tuple[int, Event]] = []
    for index in range(rng.randrange(1, 30)):
        start = rng.randrange(200)
        effect = start + rng.randrange(1, 20)
        end = effect + rng.randrange(1, 20)
        kind = rng.choice([Kind.PUT, Kind.PUT, Kind.DELETE, Kind.READ, Kind.READ])
        outcome = UNKNOWN if kind is not Kind.READ and rng.random() < 0.3 else Outcome.ACKED
        moments.append((effect, Event(kind, "k", str(index) if kind is Kind.PUT else "", start, end, outcome)))
    value, history = "", []
    for _, event in sorted(moments, key=lambda moment: moment[0]):
        if event.kind is Kind.READ:
            event = read(value, event.start_ns, event.end_ns)
        elif event.outcome is Outcome.ACKED or rng.random() < 0.5:
            value = event.token
        history.append(event)
    rng.shuffle(history)
    assert judge(history).sound, judge(history).explain()


def test_counts_and_shows_them() -> None:
    verdict = judge([put("a", 1, 2), put("b", 1, 2, FAILED), put("c", 1, 2, UNKNOWN), read("a", 3, 4)])
    assert repr(verdict) == "<Verdict acked=1 failed=1 unknown=1 reads=1 lost=0 wrong=0 resurrected=0 torn=0>"


@pytest.mark.parametrize("size", [64, 65, 4_096, 1 << 20])
def test_body_tells_its_token(size: int) -> None:
    body = make_body("seed-1.2", size)
    assert len(body) == size
    assert identify(body) == ("seed-1.2", "")


def test_damaged_bodies_are_told_apart() -> None:
    body = make_body("t", 1000)
    assert identify(body[:-1]) == ("t", "torn")
    assert identify(body[:500] + bytes(500)) == ("t", "torn")
    assert identify(body[:500] + make_body("u", 1000)[500:]) == ("t", "torn")
    assert identify(b"hello") == ("", "wrong")
    assert identify(b"") == ("", "wrong")


def test_log_survives_in_a_file(tmp_path: Path) -> None:
    log = ClientLog(tmp_path / "log")
    log.add(put("a", 1, 2))
    log.crash()
    log.close()
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    assert log.keys() == ["k"]
