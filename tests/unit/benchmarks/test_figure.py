"""Ratios and verdicts."""

from __future__ import annotations

from benchmarks import figure, report


def test_a_rate_reaches_its_target_by_its_ratio() -> None:
    made = figure.record("get-4k-16-x1", 4_100.0, "per s", reference="bare-4k-16", references={"bare-4k-16": 10_000.0})
    assert (made.ratio, made.target, made.reached) == (0.41, ">= 0.4", True)


def test_a_time_reaches_its_target_from_below() -> None:
    made = figure.record("list-1000", 6.0, "ms", reference="sqlite-1000", references={"sqlite-1000": 1.0})
    assert (made.ratio, made.reached) == (6.0, False)


def test_memory_is_judged_by_its_value() -> None:
    assert figure.record("rss-loaded", 149.0, "MiB").reached is True
    assert figure.record("rss-loaded", 151.0, "MiB").reached is False


def test_without_its_reference_a_figure_is_not_judged() -> None:
    made = figure.record("get-4k-16-x1", 4_100.0, "per s", reference="bare-4k-16", references={})
    assert (made.ratio, made.reached) == (None, None)


def test_a_failed_figure_with_a_target_missed_it() -> None:
    assert figure.failed("rss-loaded", "MiB", "died").reached is False
    assert "FAILED: died" in report.row(figure.failed("rss-loaded", "MiB", "died"))[-1]


def test_other_references_stand_in_the_last_column() -> None:
    made = figure.record(
        "put-4k-16-x1", 500.0, "per s", reference="bare", references={"bare": 1000.0, "write-fsync-4k": 250.0}, beside=("write-fsync-4k",)
    )
    assert report.row(made)[-1] == "reached; 2.00x of write-fsync-4k"


def test_table_is_aligned() -> None:
    lines = report.table([figure.record("a", 1.0, "ms"), figure.record("long-name", 1234.5, "per s")]).splitlines()
    assert lines[1].index("ms") == lines[2].index("per s")
    assert "1,234" in lines[2]
