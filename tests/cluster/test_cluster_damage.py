"""Damage in a cluster is found and repaired while clients go on, and work on it survives the death of whoever does it."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_cluster import LONG, chunks_of, failed, until
from tests.cluster.test_cluster_upkeep import BUCKET, check, chunks_with_bytes, fill, flip, told
from tests.support.cluster import ClusterProcesses, Host
from tests.support.damage import Damager
from tests.support.disk import MIB, FaultyImage, LoopDisk
from tests.support.load import Load, Mix
from tests.support.need import need_fuse, need_programs, need_root
from tests.support.oracle import ClientLog, judge

DAMAGES = 60
"""At scale 2; 500 from scale 17 on."""
LIVING = "living"
"""The bucket that clients use meanwhile."""
JOB_S = 240.0
OLD_S = 7200
"""So old a chunk that nobody names is an orphan."""
pytestmark = [LONG, pytest.mark.timeout(3600)]


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def metachunks(cluster: ClusterProcesses) -> list[list[Path]]:
    """Chunk files of the bucket, those of a metachunk together."""
    found: dict[tuple[str, int], list[Path]] = {}
    for path in sorted(path for host in cluster.hosts for path in chunks_of(host)):
        record = json.loads(os.getxattr(path, "user.frazil.chunk"))
        if record["bucket"] == BUCKET:
            found.setdefault((record["content"], record.get("metachunk", 0)), []).append(path)
    return list(found.values())


def damage(cluster: ClusterProcesses, rng: random.Random, count: int) -> Counter[str]:
    """At most three chunks of each metachunk, as many as every policy of nine volumes bears."""
    groups = metachunks(cluster)
    rng.shuffle(groups)
    damager = Damager([volume for host in cluster.hosts for volume in sorted(host.folder.glob("disk*"))], rng)
    unhurt, rest = groups[: len(groups) // 3], groups[len(groups) // 3 :]
    damager.spare = [group[0] for group in unhurt if group[0].stat().st_size > 10]
    victims = [path for group in rest for path in rng.sample(group, 3)]
    rng.shuffle(victims)
    done = Counter(damager.kinds[number % len(damager.kinds)](path) for number, path in enumerate(victims[:count]))
    for path in damager.made:
        if path.exists():
            os.utime(path, (time.time() - OLD_S, time.time() - OLD_S))
    return done


def problems(records: list[dict[str, object]]) -> dict[str, int]:
    progress: Any = records[-1]["progress"]
    return {name: number for name, number in progress.items() if name.startswith(("problem:", "outcome:", "away:"))}


def test_the_seeded_damage_set_is_found_and_repaired_while_clients_go_on(folder: Path, log: ClientLog, seed: str, scale: float) -> None:
    rng = random.Random(seed)
    count = min(int(DAMAGES * scale / 2), 500)
    with ClusterProcesses(folder) as cluster:
        with cluster.client() as client:
            bodies = fill(client, seed, count)
            client.make_bucket(LIVING)
        done = damage(cluster, rng, count)
        with Load(cluster.client, LIVING, log, seed, name="living", mix=Mix(threads=2, keys=30)) as load:
            first, second = told(cluster, "scrub", "meta", "--deep"), told(cluster, "scrub", "chunks", "--deep", host=3)
            with cluster.client() as client:
                check(client, bodies)
            load.wait_for(load.operations + 20, timeout_s=30)
        found = Counter(problems(first)) + Counter(problems(second))
        for problem in ("truncated", "missing", "record"):
            assert found[f"problem:{problem}"] == done[problem], (done, found)
        assert not found["outcome:lost"], found
        assert not found["outcome:waits"], found
        assert failed(log) == [], cluster.errors()
        verdict = judge(log.events)
        assert verdict.sound, verdict.explain()
        assert until(lambda: not problems(told(cluster, "scrub", "chunks", "--deep", code=None)), 120)
        assert problems(told(cluster, "scrub", "meta", "--deep")) == {}
        with cluster.client() as client:
            check(client, bodies)


def caretaker(cluster: ClusterProcesses) -> Host:
    """The host whose gateway works on the jobs."""
    lines = cluster.command("--json", "cluster", "status", check=False).stdout.splitlines()
    (found,) = [record for line in lines if (record := json.loads(line)).get("election") == "caretaker"]
    return next(host for host in cluster.hosts if found["address"].startswith(f"{host.address}:"))


def wait_for(cluster: ClusterProcesses, number: object) -> dict[str, object]:
    end = time.monotonic() + JOB_S
    while True:
        (found,) = told(cluster, "job", "show", str(number), host=3)
        if found["state"] in ("done", "failed", "aborted"):
            return found
        assert time.monotonic() < end, found
        time.sleep(1.0)


COMMANDS = {
    "scrub": ("scrub", "meta", "--deep"),
    "rebuild": ("rebuild", "volume", "VOLUME"),
    "policy": ("storage-policy", "change", BUCKET, "THREECOPIES"),
    "decommission": ("decommission", "VOLUME"),
}


@pytest.mark.parametrize("kind", COMMANDS)
def test_work_goes_on_when_who_does_it_is_killed(folder: Path, seed: str, rounds: int, kind: str) -> None:
    """The process, and every third time its whole host."""
    rng = random.Random(seed + kind)
    with ClusterProcesses(folder, volumes=4) as cluster:
        with cluster.client() as client:
            bodies = fill(client, seed, 30)
        victim = cluster.hosts[2]
        if kind in ("scrub", "rebuild"):
            for number, path in enumerate(path for path in chunks_with_bytes(victim) if path.parents[1].name == "disk2"):
                if number % 2:
                    flip(path)
                else:
                    path.unlink()
        volume = str(json.loads(os.getxattr(victim.folder / "disk2", "user.frazil.volume"))["id"])
        command = [volume if word == "VOLUME" else word for word in COMMANDS[kind]]
        (job,) = [each for each in told(cluster, *command, "--pace", "1", "--detach", host=3) if each["type"] == "job"]
        for number in range(max(rounds // 5, 1)):
            host = caretaker(cluster)
            time.sleep(rng.uniform(0.05, 2.0))
            if number % 3 == 2:
                host.kill()
            else:
                host.service("gateway").kill()
            time.sleep(rng.uniform(0.0, 8.0))
            host.start()
            cluster.wait_settled()
        cluster.command("job", "pace", str(job["id"]), "0", check=False)  # it may be over already
        ended = wait_for(cluster, job["id"])
        assert ended["state"] == "done", ended
        told(cluster, "scrub", "meta", "--deep", code=None)  # what could not be repaired just now waits
        assert problems(told(cluster, "scrub", "meta", "--deep")) == {}
        if kind == "decommission":
            assert until(lambda: not [path for path in chunks_of(victim) if path.parents[1].name == "disk2"], 120)
        with cluster.client() as client:
            check(client, bodies)


NEEDLE = b"the bytes that this disk forgets "


@pytest.mark.root
@pytest.mark.parametrize("fault", ["dropped writes", "unreadable range", "slow"])
def test_a_failing_disk_of_a_host_costs_no_request_its_score_falls_and_repair_follows(
    folder: Path, log: ClientLog, seed: str, fault: str
) -> None:
    need_root()
    need_fuse()
    need_programs("mkfs.ext4", "losetup")
    cluster = ClusterProcesses(folder)
    with FaultyImage(folder, 512 * MIB) as faulty, LoopDisk(cluster.hosts[2].folder / "disk1", image=faulty.path) as disk:
        shutil.rmtree(disk.root / "lost+found")
        with cluster:
            volume = str(json.loads(os.getxattr(disk.root, "user.frazil.volume"))["id"])
            bodies = {f"n{number}": (NEEDLE * (1 + (20_000, 400_000)[number % 2] // len(NEEDLE)))[number:] for number in range(16)}
            if fault == "dropped writes":
                faulty.set(drop=NEEDLE)
            with cluster.client() as client:
                client.make_bucket(BUCKET)
                client.make_bucket(LIVING)
                for key, body in bodies.items():
                    assert client.put(BUCKET, key, body).status == 200
            forget(disk.root)
            before = score(cluster, volume)
            faulty.set(**{"dropped writes": {}, "unreadable range": {"read": "EIO", "needle": NEEDLE}, "slow": {"delay_s": 0.05}}[fault])  # type: ignore[arg-type]
            with Load(cluster.client, LIVING, log, seed, name="living", mix=Mix(threads=2, keys=20)) as load:
                load.wait_for(20, timeout_s=60)
                with cluster.client() as client:
                    check(client, bodies)
                first = told(cluster, "scrub", "meta", "--deep", "--host", cluster.hosts[2].name, code=None)
                assert until(lambda: score(cluster, volume) <= before / 2, 60), (before, score(cluster, volume))
                load.wait_for(load.operations + 20, timeout_s=60)
            assert failed(log) == [], cluster.errors()
            verdict = judge(log.events)
            assert verdict.sound, verdict.explain()
            faulty.set()
            assert fault == "slow" or problems(first)["outcome:repaired"] > 3
            assert until(lambda: not problems(told(cluster, "scrub", "meta", "--deep", code=None)), 120)
            with cluster.client() as client:
                check(client, bodies)


def score(cluster: ClusterProcesses, volume: str) -> int:
    return next(int(str(each["place"])) for each in cluster.status() if each["id"] == volume)


def forget(root: Path) -> None:
    """Drops cached pages, so that the next read goes to the disk."""
    os.sync()
    for path in root.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
