"""A process killed at every system call of a change leaves the old or the new state, and what it left is swept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.errors import ChunkNotFound
from rawx.chunk import ChunkRecord, new_chunk_id
from rawx.volume import Volume, open_volume
from tests.cluster.rawx.crashing import DATA, LONG, make_record
from tests.support.need import need_programs

ROOT = Path(__file__).parents[3]
CALLS = (
    "mkdir",
    "mkdirat",
    "write",
    "fsync",
    "syncfs",
    "fsetxattr",
    "linkat",
    "rename",
    "renameat",
    "renameat2",
    "unlinkat",
    "sync_file_range",
)
CALLS_MAX = 40
RUN_S = 30.0


def run(volume: Path, action: str, chunk: str, inject: str) -> tuple[int, str]:
    """Exit code and output of the action under strace."""
    tracer = ["strace", "-f", "-qq", "-o", str(volume.with_suffix(".strace")), "-e", f"trace={','.join(CALLS)}", "-e", f"inject={inject}"]
    done = subprocess.run(
        [*tracer, sys.executable, str(Path(__file__).with_name("crashing.py")), str(volume), action, chunk],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    return done.returncode, done.stdout.strip() or done.stderr[-2000:]


async def record_of(volume: Volume, chunk: str) -> ChunkRecord | None:
    """The record of a whole chunk, None when there is none."""
    try:
        stat = await volume.head(chunk, deep=True)
    except ChunkNotFound:
        return None
    assert stat.size == len(DATA)
    return stat.record


OLD = make_record(DATA)[0]
ACTIONS: dict[str, tuple[bool, tuple[ChunkRecord | None, ...]]] = {
    "put": (False, (None, OLD)),
    "put-sidecar": (False, (None, make_record(DATA, attributes=LONG)[0])),
    "upload": (False, (None, OLD)),
    "update": (True, (OLD, make_record(DATA, seq=1)[0])),
    "update-sidecar": (True, (OLD, make_record(DATA, seq=1, attributes=LONG)[0])),
    "delete": (True, (OLD, None)),
    "copy": (True, (OLD,)),
    "quarantine": (True, (OLD, None)),
}
"""For each action: whether the chunk is there before, and the records it may have after a crash."""


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_kill_at_any_call_leaves_old_or_new(scratch: Path, action: str) -> None:
    need_programs("strace")
    there_before, allowed = ACTIONS[action]
    path = scratch / "volume"
    open_volume(path, namespace="test", create=True).close()
    kills = 0
    for call in CALLS:
        for count in range(1, CALLS_MAX):
            chunk = new_chunk_id()
            if there_before:
                volume = open_volume(path, namespace="test")
                await volume.put(chunk, DATA, *make_record(DATA))
                await volume.settle([chunk])
                volume.close()
            code, output = run(path, action, chunk, f"{call}:signal=KILL:when={count}")
            volume = open_volume(path, namespace="test")
            found = await record_of(volume, chunk)
            assert found in allowed, f"{action} killed at {call} {count}"
            if found is not None and not there_before:
                assert chunk in await volume.recent(), "a visible chunk is on the journal"
            volume.close()
            if code == 0:
                assert output == "done"
                assert found == allowed[-1]
                break
            kills += 1
        else:
            raise AssertionError(f"{action} calls {call} more than {CALLS_MAX} times")
    assert kills >= 1
    await check_leftovers(path)


async def check_leftovers(path: Path) -> None:
    """After the sweep there are chunks and their sidecars, nothing else; all are whole."""
    volume = open_volume(path, namespace="test")
    await volume.sweep()
    chunks = (await volume.list("", 10_000)).chunks
    for chunk in chunks:
        await volume.head(chunk, deep=True)
    volume.close()
    assert names_in(path) == set(chunks)


def names_in(path: Path) -> set[str]:
    return {file.name.removesuffix(".record") for file in path.glob("???/*")}


@pytest.mark.parametrize("action", ["put", "put-many", "upload", "put-sidecar", "copy"])
async def test_a_failed_sync_is_never_acknowledged(scratch: Path, action: str) -> None:
    need_programs("strace")
    path = scratch / "volume"
    volume = open_volume(path, namespace="test", create=True)
    chunk = new_chunk_id()
    expected = []
    if action == "copy":
        await volume.put(chunk, DATA, *make_record(DATA))
        expected = [chunk]
    volume.close()
    # The first fsync is that of the root at opening, the first syncfs is the batch's own.
    calls = "syncfs:error=EIO" if action == "put-many" else "fsync:error=EIO:when=2+"
    code, output = run(path, action, chunk, calls)
    *acknowledged, outcome = output.split()
    assert (code, outcome) == (0, "VolumeSick")
    assert len(acknowledged) < 16
    volume = open_volume(path, namespace="test")
    assert (await volume.list("", 100)).chunks == sorted(expected + acknowledged)
    volume.close()
    await check_leftovers(path)
