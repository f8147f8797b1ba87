"""What a command says of a job that ended."""

from __future__ import annotations

import pytest

from cli.exit import Exit
from cli.output import Output
from cli.work import tell
from meta.protocol.jobs import Job
from store.tally import Damage, Tally


@pytest.mark.parametrize(
    ("state", "progress", "code"),
    [
        ("done", {"moved": 3}, Exit.OK),
        ("done", {"outcome:told": 1}, Exit.DAMAGED),
        ("done", {"outcome:repaired": 1, "outcome:waits": 1}, Exit.PARTIAL),
        ("done", {"away:v (host1)": 1}, Exit.PARTIAL),
        ("failed", {"lost": 1}, Exit.DAMAGED),
        ("failed", {"found": 1}, Exit.FAILED),
        ("aborted", {"lost": 1}, Exit.FAILED),
    ],
)
def test_the_exit_code_tells_damage_from_failure(state: str, progress: dict[str, int], code: Exit) -> None:
    assert tell(Output(quiet=True), Job("decommission", {"volume": "v"}, 1, state, progress=progress)) is code


def test_each_finding_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    for volume in ("v1", "v1", "v2"):
        tally.add(Damage(volume, "c", "corrupt", outcome="repaired"))
    tell(Output(), Job("scrub-meta", {}, 1, "done", message="; ".join(tally.sentences())))
    first, second, _ = capsys.readouterr().out.splitlines()
    assert (first, second) == ("2 chunks were corrupt on volume v1: all repaired", "1 chunk was corrupt on volume v2: repaired")
