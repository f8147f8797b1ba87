"""When a gateway has balancers pass it over."""

from __future__ import annotations

import re
from pathlib import Path

from cli.cluster.gateway import NOTICE_S
from cli.cluster.health import CUT_OFF_S, PROBE_S, SILENCE_S, Outlook

ROOT = Path(__file__).parents[3]


def looked(outlook: Outlook, start: int, stop: int, *, answered_at: float, others: bool = True, locked: bool = False) -> list[bool]:
    """Whether it refuses, second for second."""
    found = []
    for now in range(start, stop):
        outlook.look(now, oldest=("set-2", answered_at), locked=locked, others=others)
        found.append(bool(outlook.refusal))
    return found


def test_one_that_alone_is_cut_off_is_passed_over_until_the_metadata_answers_it() -> None:
    outlook = Outlook()
    refused = looked(outlook, 0, 30, answered_at=0)
    assert refused.index(True) == int(SILENCE_S + CUT_OFF_S) + 1
    assert all(refused[refused.index(True) :])
    assert "no leader of set-2" in outlook.refusal
    assert looked(outlook, 30, 40, answered_at=30)[0] is False


def test_when_all_are_cut_off_none_is_passed_over() -> None:
    """They learn of each other within some seconds of losing it."""
    outlook = Outlook()
    assert not any(looked(outlook, 0, int(SILENCE_S) + 5, answered_at=0))
    assert not any(looked(outlook, int(SILENCE_S) + 5, 300, answered_at=0, others=False))
    assert outlook.problem


def test_the_first_to_find_the_metadata_again_does_not_have_the_others_passed_over_at_once() -> None:
    outlook = Outlook()
    looked(outlook, 0, 300, answered_at=0, others=False)
    assert not any(looked(outlook, 300, 300 + int(CUT_OFF_S), answered_at=0))


def test_a_drained_one_is_passed_over_while_another_is_there() -> None:
    outlook = Outlook()
    assert looked(outlook, 0, 1, answered_at=0, locked=True) == [True]
    assert "draining" in outlook.refusal
    assert looked(outlook, 1, 2, answered_at=1, locked=True, others=False) == [False]


def test_one_that_ends_serves_until_the_balancer_of_the_sample_knows() -> None:
    sample = (ROOT / "packaging/haproxy.cfg").read_text()
    found = re.search(r"default-server inter (\d+)s fastinter (\d+)ms .*fall (\d+)", sample)
    assert found is not None
    inter_s, fastinter_s, fall = int(found[1]), int(found[2]) / 1000, int(found[3])
    assert 2 * (inter_s + (fall - 1) * fastinter_s) <= NOTICE_S


def test_the_silence_is_several_probes() -> None:
    assert SILENCE_S >= 3 * PROBE_S
