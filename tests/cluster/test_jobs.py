"""Long work from the command line, killed at random moments: it goes on by itself and ends clean."""

from __future__ import annotations

import json
import os
import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import StoreMaker
from tests.support.client import Client
from tests.support.disk import MIB, LoopDisk
from tests.support.need import need_programs, need_root
from tests.support.store import StoreProcess, chunk_paths

BUCKET = "bucket"
JOB_S = 90.0
KINDS = ("decommission", "rebuild", "scrub", "policy", "rebalance")
BALLAST_SHARE = 0.7
"""Of one disk of several, which others then take chunks from."""


def told(store: StoreProcess, *arguments: str, code: int = 0) -> list[dict[str, Any]]:
    done = store.command("--json", *arguments, check=False, timeout_s=300)
    assert done.returncode == code, (done.returncode, done.stderr, done.stdout[-2000:])
    return [json.loads(line) for line in done.stdout.splitlines()]


def fill(client: Client, rng: random.Random, count: int) -> dict[str, bytes]:
    client.make_bucket(BUCKET)
    bodies = {f"k{number}": rng.randbytes(rng.choice((0, 1_000, 200_000, 1_500_000))) for number in range(count)}
    for key, body in bodies.items():
        assert client.put(BUCKET, key, body).status == 200
    return bodies


def damage(store: StoreProcess, rng: random.Random) -> None:
    """One chunk of every tenth or so is flipped or gone; never two neighbours of one volume's."""
    files = [path for path in chunk_paths(store) if path.parents[1].name == "2" and path.stat().st_size]
    for path in files[::3]:
        if rng.random() < 0.5:
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)


def wait_for(store: StoreProcess, number: int) -> dict[str, Any]:
    end = time.monotonic() + JOB_S
    while True:
        (found,) = told(store, "job", "show", str(number))
        if found["state"] in ("done", "failed", "aborted"):
            return found
        assert time.monotonic() < end, found
        time.sleep(0.3)


def volume_id(store: StoreProcess, name: str) -> str:
    identity = json.loads(os.getxattr(store.directories[0] / "volumes" / name, "user.frazil.volume"))
    return str(identity["id"])


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
def test_work_that_is_killed_goes_on_and_ends_clean(make_store: StoreMaker, scratch: Path, seed: str, rounds: int, kind: str) -> None:
    rng = random.Random(seed)
    with ExitStack() as stack:
        store = make_store(_disks(scratch, stack)) if kind == "rebalance" else make_store(volumes=5)
        store.allowed = ["store.scrub", "store.jobs", "store.repair"]
        _kill_again_and_again(store, rng, rounds, kind)
        store.stop()


def _disks(scratch: Path, stack: ExitStack) -> list[Path]:
    """Four of the same size."""
    need_root()
    need_programs("mkfs.ext4", "losetup")
    disks = [stack.enter_context(LoopDisk(scratch / name, size_bytes=256 * MIB)) for name in "abcd"]
    return [disk.root / "store" for disk in disks]


def _kill_again_and_again(store: StoreProcess, rng: random.Random, rounds: int, kind: str) -> None:
    with store.client() as client:
        bodies = fill(client, rng, 40)
    if kind in ("rebuild", "scrub"):
        damage(store, rng)
    if kind == "rebalance":
        (store.directories[3] / "ballast").write_bytes(bytes(int(256 * MIB * BALLAST_SHARE)))
        os.sync()
    command = {
        "decommission": ("decommission", "VOLUME"),
        "rebuild": ("rebuild", "volume", "VOLUME"),
        "scrub": ("scrub", "meta", "--deep"),
        "policy": ("storage-policy", "change", BUCKET, "TWOCOPIES"),
        "rebalance": ("rebalance",),
    }[kind]
    command = tuple(volume_id(store, "2") if word == "VOLUME" else word for word in command)
    before = len(_chunks_on(store, 3)) if kind == "rebalance" else 0
    (job,) = told(store, *command, "--pace", "2", "--detach")
    for _ in range(max(rounds // 5, 1)):
        time.sleep(rng.uniform(0.05, 1.0))
        store.kill()
        store.start()
    store.command("job", "pace", str(job["id"]), "0", check=False)  # it may be over already
    done = wait_for(store, job["id"])
    assert done["state"] == "done", done
    told(store, "scrub", "meta", "--deep")
    second = told(store, "scrub", "meta", "--deep")[-1]
    assert not [name for name in second["progress"] if name.startswith("problem:")], second
    with store.client() as client:
        for key, body in bodies.items():
            assert client.get(BUCKET, key).body == body
    assert told(store, "verify")[-1]["exit"] == 0
    if kind == "rebalance":
        until_fewer(store, before)
    if kind == "policy":
        (dry,) = [each for each in told(store, "storage-policy", "change", BUCKET, "TWOCOPIES", "-n") if each["type"] == "summary"]
        assert not dry["progress"].get("found"), dry
    if kind == "decommission":
        end = time.monotonic() + 60
        while left := [path for path in chunk_paths(store) if path.parents[1].name == "2"]:
            assert time.monotonic() < end, left
            time.sleep(0.5)


def _chunks_on(store: StoreProcess, number: int) -> list[Path]:
    """Chunk files of one of the store's directories."""
    return list((store.directories[number] / "volumes").glob("*/[0-9a-f][0-9a-f][0-9a-f]/" + "[0-9a-f]" * 32))


def until_fewer(store: StoreProcess, before: int) -> None:
    end = time.monotonic() + 60
    while len(_chunks_on(store, 3)) >= before:
        assert time.monotonic() < end, before
        time.sleep(0.5)


def test_a_scrub_by_hand_tells_and_repairs(make_store: StoreMaker, seed: str) -> None:
    """Also while no process runs the store."""
    store = make_store(volumes=5)
    store.allowed = ["store.scrub"]
    with store.client() as client:
        bodies = fill(client, random.Random(seed), 20)
    store.stop()
    damage(store, random.Random(seed))
    first = told(store, "scrub", "meta", "--deep", "--dry-run", code=7)
    assert any("left as found" in line.get("text", "") for line in first), first
    repaired = told(store, "scrub", "meta", "--deep")
    assert any("repaired" in line.get("text", "") for line in repaired), repaired
    assert told(store, "scrub", "chunks", "--deep")[-1]["exit"] == 0
    store.start()
    with store.client() as client:
        for key, body in bodies.items():
            assert client.get(BUCKET, key).body == body
    jobs = told(store, "job", "list", "--all")
    assert {job["kind"] for job in jobs if job["type"] == "job"} >= {"scrub-meta", "scrub-chunks"}
