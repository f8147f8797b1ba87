"""No acknowledged write is lost: kill -9 and power cuts in the middle of a load."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import apsw
import pytest
import trio

from meta.local import open_meta
from meta.protocol.listing import ListRequest
from node.auth import NamespaceKey
from node.clock import SystemClock
from tests.component.meta import load
from tests.support.disk import LoopDisk

ROOT = Path(__file__).parents[3]


class Load:
    """The load process and what its words allow: per key the contents that may be there now."""

    def __init__(self) -> None:
        self.allowed: dict[str, set[str]] = defaultdict(lambda: {"-"})
        self.acknowledged = 0
        self._first = b""

    def run(self, path: Path, seed: str, seconds: float, end: signal.Signals | None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, load.__file__, str(path), seed],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pipesize=1 << 20,
        )
        assert process.stdout is not None
        self._first = process.stdout.readline()  # it counts: what it begins may happen
        time.sleep(seconds)
        if end is not None:
            process.send_signal(end)
        return process

    def hear_now(self, process: subprocess.Popen[bytes]) -> bytes:
        """What it said so far."""
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        said = b"".join(iter(lambda: process.stdout.read() or b"", b""))
        os.set_blocking(process.stdout.fileno(), True)
        return self._first + said

    def hear(self, process: subprocess.Popen[bytes], said: bytes | None = None) -> None:
        """Reads the rest of what it said and updates what may be there. With `said`, only that counts as acknowledged."""
        assert process.stdout is not None
        rest = process.stdout.read()
        process.stdout.close()
        process.wait(timeout=30)
        text = (self._first if said is None else said) + rest
        sure = len(text) if said is None else len(said)
        at = 0
        for line in text.splitlines(keepends=True):
            at += len(line)
            word, key, what = line.decode().split()
            if word == "begin" or at > sure:
                self.allowed[key].add(what)
            else:
                self.allowed[key] = {what}
                self.acknowledged += 1


async def check(path: Path, loaded: Load) -> None:
    """Every key shows one of its allowed contents, every base is whole, every content is somewhere."""
    for base in await trio.to_thread.run_sync(lambda: list(path.rglob("*.db"))):
        db = apsw.Connection(str(base))
        assert db.execute("PRAGMA integrity_check").get == "ok", base
        db.close()
    async with open_meta(path, key=NamespaceKey(bytes(32)), clock=SystemClock()) as meta:
        container = meta.container("b")
        rows = (await container.list(ListRequest())).rows
        found = {row.key: row.etag for row in rows}
        for key, allowed in loaded.allowed.items():
            assert found.get(key, "-") in allowed, key
            loaded.allowed[key] = {found.get(key, "-")}
        counters = await container.counters()
        assert counters.classes.get("STANDARD", (0, 0)) == (len(rows), sum(row.size for row in rows))
        if await container.deletions(1):
            assert await meta.dirty_containers() == ["b"]


@pytest.mark.slow
async def test_kill_at_any_moment_loses_nothing_acknowledged(scratch: Path, seed: str, rounds: int) -> None:
    choose = random.Random(seed)
    loaded = Load()
    for number in range(rounds):
        loaded.hear(loaded.run(scratch / "meta", f"kill{number}", choose.uniform(0.05, 0.4), signal.SIGKILL))
        await check(scratch / "meta", loaded)
    assert loaded.acknowledged > rounds


@pytest.mark.slow
@pytest.mark.root
async def test_a_power_cut_loses_nothing_acknowledged(scratch: Path, seed: str, rounds: int) -> None:
    choose = random.Random(seed)
    loaded = Load()
    with LoopDisk(scratch / "disk", size_bytes=128 << 20) as disk:
        for number in range(rounds):
            process = loaded.run(disk.root / "meta", f"cut{number}", choose.uniform(0.05, 0.4), None)
            # While ext4 is being shut down, an fsync under way may report success for what it loses; a real power cut has no such
            # moment. Measured in 120 cuts: of 13,623 answers heard before the cut none was lost, of 836 heard during it 107.
            said = loaded.hear_now(process)
            disk.cut()
            process.kill()  # its tasks met EIO; the process itself may serve on
            loaded.hear(process, said)
            disk.power_cycle()
            await check(disk.root / "meta", loaded)
    assert loaded.acknowledged > rounds
