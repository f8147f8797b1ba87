"""What a key asks for, and the command that does the same."""

from __future__ import annotations

import pytest

from tui import order
from tui.snapshot import BoardView, DiskState, DiskView

BOARD = BoardView("icebox-1", ())


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (DiskState.OFF, "frazil glacier power on 3 --bus icebox-1/1"),
        (DiskState.ABSENT, "frazil glacier power on 3 --bus icebox-1/1"),
        (DiskState.FAILED, "frazil glacier power on 3 --force --bus icebox-1/1"),
        (DiskState.SPINNING_UP, "frazil glacier power off 3 --bus icebox-1/1"),
    ],
)
def test_a_disk_is_switched_to_what_it_is_not(state: DiskState, command: str) -> None:
    assert order.switch(BOARD, DiskView(3, 1, state)).command == command


@pytest.mark.parametrize(("state", "verb"), [("running", "resume"), ("paused", "pause"), ("aborted", "abort")])
def test_a_job_is_steered_by_the_commands_verb(state: str, verb: str) -> None:
    wanted = order.steer(7, state)
    assert (wanted.question, wanted.command) == (f"{verb.capitalize()} job 7?", f"frazil job {verb} 7")
