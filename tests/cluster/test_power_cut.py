"""The power goes under a mixed load: nothing that was acknowledged is lost, data or metadata."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster.conftest import StoreMaker
from tests.support.disk import MIB, LoopDisk
from tests.support.load import Load
from tests.support.need import need_programs, need_root
from tests.support.oracle import ClientLog, judge
from tests.support.survey import chunk_files, empty, read_all, wait_until_gone

BUCKET = "bucket"
SWEEP_S = 5.0
LEFT_PER_CUT_MAX = 8 * 6
"""Eight threads of the load, with up to two parts on three volumes each."""
pytestmark = pytest.mark.root


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "volumes", "share"), [("ext4", 1, 2), ("ext4", 3, 4), ("xfs", 1, 4)])
def test_no_acknowledged_write_is_lost(
    make_store: StoreMaker, log: ClientLog, scratch: Path, seed: str, rounds: int, kind: str, volumes: int, share: int
) -> None:
    need_root()
    need_programs("xfs_io", f"mkfs.{kind}")
    rng = random.Random(seed)
    found: list[str] = []
    with LoopDisk(scratch / "disk", size_bytes=2048 * MIB, kind=kind) as disk:
        store = make_store([disk.root / "store"], volumes=volumes)
        # What happens between the cut and the kill is the store's to complain about.
        store.allowed.append("")
        with store.client() as client:
            client.make_bucket(BUCKET)
        kept = chunk_files(store.directories)
        try:
            for number in range(max(1, rounds // share)):
                with Load(store.client, BUCKET, log, f"{seed}-{number}", name=f"r{number}") as load:
                    load.wait_for(rng.randrange(20, 400), timeout_s=15)
                    time.sleep(rng.random() * 0.05)
                    log.cut()
                    disk.cut()
                    time.sleep(rng.random() * 0.02)
                    store.kill()
                    log.crash()
                disk.power_cycle()
                check_bases(store.directories[0], scratch / "bases")
                store.start()
                with store.client() as client:
                    found += read_all(client, BUCKET, log.keys(), log, f"round {number}")
            verdict = judge(log.events)
            print(verdict)
            assert verdict.sound, verdict.explain()
            assert not found, found[:10]
            assert verdict.acked > 10 * rounds // share
            with store.client() as client:
                empty(client, BUCKET)
            # The journal of arrivals is not synced, so a cut may leave chunks to the scrub: no more than it interrupted.
            left = wait_until_gone(store.directories, SWEEP_S, kept)
            print(f"{len(left)} chunks are left to the scrub")
            assert len(left) <= LEFT_PER_CUT_MAX * max(1, rounds // share)
            store.stop()
        finally:
            store.kill()


def check_bases(directory: Path, copies: Path) -> None:
    """SQLite's own check of a copy of every base, as it lies there after the cut; opening the original would already repair it."""
    copies.mkdir(exist_ok=True)
    bases = sorted((directory / "meta").rglob("*.db"))
    assert bases
    for path in bases:
        for suffix in ("", "-wal"):
            if path.with_name(path.name + suffix).exists():
                shutil.copyfile(path.with_name(path.name + suffix), copies / f"base{suffix}")
        with closing(sqlite3.connect(copies / "base")) as base:
            assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",), path
        for copy in copies.iterdir():
            copy.unlink()
