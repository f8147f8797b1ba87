"""What is written where."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.exit import Exit
from cli.output import Output, time_json, use_color
from node.errors import ObjectNotFound
from node.text import bytes_text, visible


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "environ", "terminal", "expected"),
    [
        ("auto", {"TERM": "xterm"}, True, True),
        ("auto", {"TERM": "xterm"}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"CLICOLOR_FORCE": "1"}, True, False),
    ],
)
def test_colour(choice: str, environ: dict[str, str], terminal: bool, expected: bool) -> None:
    assert use_color(choice, Terminal() if terminal else io.StringIO(), environ) is expected


def test_json_lines_carry_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).record("object", "for people", key="k", size=1)
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "type": "object", "key": "k", "size": 1}


def test_a_dry_run_marks_every_line(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(dry_run=True)
    output.progress("done", "upload a")
    output.note("1 object")
    captured = capsys.readouterr()
    assert captured.out == "(dry-run) upload a\n"
    assert captured.err == "(dry-run) 1 object\n"
    Output(dry_run=True, json=True).record("done")
    assert json.loads(capsys.readouterr().out)["dry_run"] is True


def test_quiet_keeps_results_and_errors(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(quiet=True)
    output.progress("done", "upload a")
    output.note("1 object")
    output.record("object", "k")
    assert output.error(ObjectNotFound("gone"), where="s3://b/k") is Exit.NOT_FOUND
    captured = capsys.readouterr()
    assert captured.out == "k\n"
    assert captured.err.startswith("frazil: error: s3://b/k: gone; ")


def test_a_name_that_the_cause_begins_with_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error(FileNotFoundError(2, "No such file or directory", "file"), where="file")
    assert capsys.readouterr().err == "frazil: error: file: No such file or directory\n"


@given(st.text())
def test_no_name_can_drive_the_terminal(text: str) -> None:
    assert visible(text).isprintable()


def test_names_stay_as_they_are() -> None:
    assert visible("Grüße 日本") == "Grüße 日本"
    assert visible("a\x1b[31m\n\udcff") == "a\\x1b[31m\\n\\udcff"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 40, "1.0 TiB"), (1 << 70, "1024.0 EiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_times_for_programs_are_utc() -> None:
    assert time_json(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)) == "2026-01-02T03:04:05Z"
