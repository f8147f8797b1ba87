"""The package for Debian 12: what is in it, and that the command in it runs without anything of this checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import frazil
from tests.conftest import SCALE
from tests.support.need import need_programs
from tests.support.store import environment

ROOT = Path(__file__).parents[2]
BUILD_S = 900
UNITS = {
    "frazil.service",
    "frazil.target",
    "frazil-node@.service",
    "frazil-mount@.service",
    "frazil-node@freezer.service.d",
    "frazil-freezer@.service",
    "frazil-worker@.service",
}


@pytest.mark.skipif(SCALE <= 1, reason="downloads and packs for two minutes: FRAZIL_TEST_SCALE=2")
def test_the_package_holds_all_that_the_command_needs(scratch: Path) -> None:
    need_programs("dpkg-deb")
    built = subprocess.run([ROOT / "packaging" / "build-deb", scratch], capture_output=True, text=True, timeout=BUILD_S, check=True)
    package, root = built.stdout.split()[-1], scratch / "root"
    subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    assert {path.name for path in root.iterdir()} == {"etc", "lib", "opt", "usr"}
    units = {path.name for path in (root / "lib/systemd/system").iterdir()}
    assert units == UNITS
    assert {path.name for path in (root / "usr/sbin").iterdir()} == {"mount.frazil", "umount.fuse", "umount.fuse.frazil"}
    assert (root / "etc/frazil/node.toml").read_text() == (ROOT / "packaging/node.toml").read_text()
    strangers = [path for path in (root / "opt/frazil").rglob("*.py") if str(scratch).encode() in path.read_bytes()]
    assert strangers == []
    command = [root / "opt/frazil/bin/python3", "-I", "-m", "frazil"]
    for arguments, words in ((["--version"], frazil.__version__), (["node", "has", root / "etc/frazil/node.toml", "rawx"], "")):
        done = subprocess.run([*command, *arguments], env=environment(scratch), cwd=scratch, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 9), done.stderr
        assert words in done.stdout
