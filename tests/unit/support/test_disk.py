"""The breakable disks really break as they should; else the tests that use them prove nothing."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.disk import MIB, FaultyImage, LoopDisk
from tests.support.need import need_fuse, need_programs, need_root
from tests.support.strace import Strace

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_root()
    need_programs("xfs_io", "mkfs.ext4", "mkfs.xfs", "strace")


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
def test_power_cut_keeps_what_was_synced_and_nothing_else(tmp_path: Path, kind: str) -> None:
    with LoopDisk(tmp_path / "disk", size_bytes=(512 if kind == "xfs" else 64) * MIB, kind=kind) as disk:
        (disk.root / "synced").write_bytes(b"kept")
        os.sync()
        (disk.root / "lost").write_bytes(b"gone")
        disk.cut()
        disk.power_cycle()
        assert (disk.root / "synced").read_bytes() == b"kept"
        assert not (disk.root / "lost").exists()


@pytest.mark.parametrize(("synchronous", "lost"), [("FULL", False), ("NORMAL", True)])
def test_power_cut_tells_a_durable_base_from_one_that_is_not(tmp_path: Path, synchronous: str, lost: bool) -> None:
    with LoopDisk(tmp_path / "disk", size_bytes=64 * MIB) as disk:
        with closing(sqlite3.connect(disk.root / "base.db", isolation_level=None)) as base:
            base.execute("PRAGMA journal_mode=WAL")
            base.execute(f"PRAGMA synchronous={synchronous}")
            base.execute("CREATE TABLE t (n INTEGER)")
            for number in range(50):
                base.execute("INSERT INTO t VALUES (?)", (number,))
            disk.cut()
        disk.power_cycle()
        with closing(sqlite3.connect(disk.root / "base.db")) as base:
            try:
                (count,) = base.execute("SELECT count(*) FROM t").fetchone()
            except sqlite3.OperationalError:
                count = 0
        assert (count < 50) == lost


def test_full_disk_has_no_room_until_released(tmp_path: Path) -> None:
    with LoopDisk(tmp_path / "disk", size_bytes=64 * MIB) as disk:
        disk.fill()
        with pytest.raises(OSError, match="No space") as caught:
            (disk.root / "file").write_bytes(bytes(MIB))
        assert caught.value.errno == errno.ENOSPC
        disk.release()
        (disk.root / "file").write_bytes(bytes(MIB))


def test_inodes_run_out(tmp_path: Path) -> None:
    with LoopDisk(tmp_path / "disk", size_bytes=64 * MIB, inodes=64) as disk:
        disk.fill_inodes()
        with pytest.raises(OSError, match="No space"):
            (disk.root / "one-more").touch()
        disk.release()
        (disk.root / "one-more").touch()


def test_faulty_device_fails_reads_and_syncs_on_demand(tmp_path: Path) -> None:
    need_fuse()
    with FaultyImage(tmp_path, 64 * MIB) as faulty, LoopDisk(tmp_path / "disk", image=faulty.path, size_bytes=64 * MIB) as disk:
        (disk.root / "bad").write_bytes(b"needle-1" * 4096)
        (disk.root / "good").write_bytes(b"healthy!" * 4096)
        disk.unmount()
        disk.mount()
        faulty.set(read="EIO", needle=b"needle-1")
        with pytest.raises(OSError, match="Input/output"):
            (disk.root / "bad").read_bytes()
        assert len((disk.root / "good").read_bytes()) == 32768
        faulty.set()
        assert len((disk.root / "bad").read_bytes()) == 32768


def test_strace_counts_and_kills_at_the_nth_call(tmp_path: Path) -> None:
    script = "import os,sys\nsys.stdin.readline()\nfor n in range(5): os.fsync(os.open(f'{sys.argv[1]}/{n}',os.O_CREAT|os.O_WRONLY))"
    for inject, code, files in (("", 0, 5), ("fsync:signal=KILL:when=3", -9, 3)):
        folder = tmp_path / f"f{files}"
        folder.mkdir()
        with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            with Strace(child.pid, tmp_path / "trace", calls=("fsync",), inject=inject) as trace:
                child.communicate(b"go\n", timeout=20)
            assert child.returncode == code
        assert len(list(folder.iterdir())) == files
        assert sum(trace.counts().values()) == files
