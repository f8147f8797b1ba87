"""Figures of a mount."""

from __future__ import annotations

from benchmarks.figure import TARGETS, record
from benchmarks.fs import FIGURES, REFERENCES


def test_a_figure_with_a_reference_is_judged_by_its_share_and_any_other_by_itself() -> None:
    shares = {kind for kind in FIGURES if (target := TARGETS.get(f"mount-{kind}")) and target.bound <= 1}
    assert shares == set(REFERENCES)


def test_the_ceiling_stands_beside_a_rate_and_does_not_judge_it() -> None:
    told = record("mount-stat", 8_156, "per s", reference=REFERENCES.get("stat"), references={"zeros-stat": 7_448}, beside=("zeros-stat",))
    assert told.reached
    assert [each.reference for each in told.beside] == ["zeros-stat"]
