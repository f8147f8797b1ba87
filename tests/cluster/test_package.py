"""The package for Debian 12: what is in it, and that the command in it runs without anything of this checkout."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import frazil
from glacier.config import FreezerConfig
from glacier.loopplan import LoopPlan, worker_config, write_loop_config
from glacier.reach import address_of
from node.config import load
from rawx.volume import open_volume
from tests.conftest import SCALE
from tests.support.need import need_programs, need_root
from tests.support.store import environment

ROOT = Path(__file__).parents[2]
BUILD_S = 900
START_S = 60.0
NAMESPACE = "0123456789abcdef"
UNITS = {
    "frazil.service",
    "frazil.target",
    "frazil-node@.service",
    "frazil-mount@.service",
    "frazil-node@freezer.service.d",
    "frazil-freezer@.service",
    "frazil-worker@.service",
}


pytestmark = pytest.mark.skipif(SCALE <= 1, reason="downloads and packs for two minutes: FRAZIL_TEST_SCALE=2")


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """The package, unpacked. FRAZIL_TEST_PACKAGE names one that was built before."""
    need_programs("dpkg-deb")
    with tempfile.TemporaryDirectory(prefix="frazil-package-") as name:
        folder = Path(name)
        package = os.environ.get("FRAZIL_TEST_PACKAGE")
        if package is None:
            build = [ROOT / "packaging" / "build-deb", folder]
            package = subprocess.run(build, capture_output=True, text=True, timeout=BUILD_S, check=True).stdout.split()[-1]
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True)
        yield folder / "root"


def test_the_package_holds_all_that_the_command_needs(root: Path, scratch: Path) -> None:
    assert {path.name for path in root.iterdir()} == {"etc", "lib", "opt", "usr"}
    units = {path.name for path in (root / "lib/systemd/system").iterdir() if path.name.startswith("frazil")}
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


@pytest.mark.parametrize("unit", ["frazil", "frazil-freezer@north", "frazil-worker@north-0", "frazil-node@freezer", "frazil-node@worker"])
def test_systemd_takes_the_units_without_a_word(root: Path, unit: str) -> None:
    need_programs("systemd-analyze")
    there = root / "lib/systemd/system"
    for path in Path("/usr/lib/systemd/system").iterdir():  # what of the system units stand on
        if path.suffix in (".target", ".slice") and not (there / path.name).exists():
            shutil.copy(path, there / path.name)
    verify = ["systemd-analyze", "verify", "--man=no", f"--root={root}", f"{unit}.service"]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.root
def test_freezer_and_worker_start_as_their_units_start_them(root: Path, scratch: Path) -> None:
    need_root()
    need_programs("losetup", "mkfs.ext4")
    key, volume, board = scratch / "secret.key", scratch / "volume", scratch / "board"
    key.write_text("00" * 32 + "\n")
    key.chmod(0o600)
    open_volume(volume, namespace=NAMESPACE, create=True).close()
    plan = LoopPlan(disks=2, buses=1, disk_bytes=48 << 20, spin_up_s=0.1)
    config = write_loop_config(board, plan, namespace=NAMESPACE, key=key)
    loaded = load(FreezerConfig, config)
    (board / "worker.toml").write_text(worker_config(board, 0, [volume], freezer=address_of(loaded.buses[0].listen), config=loaded))
    with started(root, "frazil-freezer@.service", config, scratch), started(root, "frazil-worker@.service", board / "worker.toml", scratch):
        pass


@contextmanager
def started(root: Path, unit: str, config: Path, scratch: Path) -> Iterator[None]:
    """Runs a unit's ExecStart with another configuration as systemd does, until it says that it is ready; ends it in good order."""
    text = (root / "lib/systemd/system" / unit).read_text()
    (line,) = [line.removeprefix("ExecStart=") for line in text.splitlines() if line.startswith("ExecStart=")]
    command, *arguments, _ = line.split()
    assert command == "/usr/bin/frazil"
    told = scratch / f"{unit}.notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(told))
        notify.settimeout(START_S)
        run = [root / "opt/frazil/bin/python3", "-I", "-m", "frazil", *arguments, config]
        process = subprocess.Popen(run, env=environment(scratch, {"NOTIFY_SOCKET": str(told)}), cwd=scratch, stderr=subprocess.PIPE)
        try:
            words = b""
            while b"READY=1" not in words:
                words = notify.recv(4096)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            _, complaints = process.communicate(timeout=START_S)
        assert process.returncode == 0, complaints.decode()
