"""What systemd asks before it starts a part of a node."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.store import COMMAND, environment

UNIT = Path(__file__).parents[3] / "packaging" / "frazil-node@.service"
SKIP, FAIL = 9, 255


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "code"), [("meta.run = true\n", 0), ("", SKIP), ("meta.run = yes\n", FAIL), ("meta.replicas = 2\n", FAIL), (None, FAIL)]
)
def test_a_part_is_passed_over_only_when_the_file_says_so(scratch: Path, text: str | None, code: int) -> None:
    """A mistake in the file made all of a host's units end in silence, each at its next start."""
    file = scratch / "node.toml"
    if text is not None:
        file.write_text(text)
    found = re.search("^ExecCondition=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert found is not None
    words = found[1].replace("/usr/bin/frazil", str(COMMAND)).replace("/etc/frazil/node.toml", str(file)).replace("%i", "meta")
    command = [word.replace("$$", "$") for word in shlex.split(words)]
    assert subprocess.run(command, env=environment(scratch), capture_output=True, check=False).returncode == code
