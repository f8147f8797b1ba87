"""What a command says of a job that ended."""

from __future__ import annotations

import pytest

from cli.exit import Exit
from cli.output import Output
from cli.work import tell
from meta.protocol.jobs import Job


@pytest.mark.parametrize(
    ("state", "progress", "code"),
    [
        ("done", {"moved": 3}, Exit.OK),
        ("done", {"outcome:told": 1}, Exit.DAMAGED),
        ("failed", {"lost": 1}, Exit.DAMAGED),
        ("failed", {"found": 1}, Exit.FAILED),
        ("aborted", {"lost": 1}, Exit.FAILED),
    ],
)
def test_the_exit_code_tells_damage_from_failure(state: str, progress: dict[str, int], code: Exit) -> None:
    assert tell(Output(quiet=True), Job("decommission", {"volume": "v"}, 1, state, progress=progress)) is code
