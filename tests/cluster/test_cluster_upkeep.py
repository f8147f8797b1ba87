"""Nothing rots in a cluster: its hosts' chunks are checked, made anew and moved by commands from any host."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.test_cluster import LONG, chunks_of, until
from tests.support.client import Client
from tests.support.cluster import ClusterProcesses, Host
from tests.support.survey import is_keepsake

BUCKET = "upkeep"
Record = dict[str, object]


def told(cluster: ClusterProcesses, *arguments: str, host: int = 1, code: int | None = 0, timeout_s: float = 300.0) -> list[Record]:
    """code: that is expected, None: any."""
    done = cluster.command("--json", *arguments, host=host, check=False, timeout_s=timeout_s)
    assert code in (None, done.returncode), (done.returncode, done.stderr, done.stdout[-2000:], cluster.errors())
    return [json.loads(line) for line in done.stdout.splitlines()]


def texts(records: list[Record]) -> str:
    return "\n".join(str(each.get("text", "")) for each in records)


def fill(client: Client, seed: str, count: int, bucket: str = BUCKET) -> dict[str, bytes]:
    rng = random.Random(seed)
    client.make_bucket(bucket)
    bodies = {f"k{number}": rng.randbytes(rng.choice((0, 1_000, 200_000, 1_500_000))) for number in range(count)}
    for key, body in bodies.items():
        assert client.put(bucket, key, body).status == 200
    return bodies


def check(client: Client, bodies: dict[str, bytes], bucket: str = BUCKET) -> None:
    for key, body in bodies.items():
        assert client.get(bucket, key).body == body, key


def chunks_with_bytes(host: Host) -> list[Path]:
    return sorted(path for path in chunks_of(host) if path.stat().st_size and not is_keepsake(path) and bucket_of(path) == BUCKET)


def bucket_of(path: Path) -> str:
    return str(json.loads(os.getxattr(path, "user.frazil.chunk"))["bucket"])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_a_host_is_scrubbed_from_another_and_the_summary_says_where(shared_cluster: ClusterProcesses, seed: str) -> None:
    cluster = shared_cluster
    with cluster.client() as client:
        bodies = fill(client, seed, 12)
    hurt = chunks_with_bytes(cluster.hosts[2])[:4]
    for path in hurt[:2]:
        flip(path)
    for path in hurt[2:]:
        path.unlink()
    first = told(cluster, "scrub", "meta", "--deep", "--host", cluster.hosts[2].name, host=2)
    assert "host3.disk" in texts(first)
    assert "repaired" in texts(first)
    assert first[-1]["progress"]["outcome:repaired"] == 4  # type: ignore[index]
    second = told(cluster, "scrub", "chunks", "--deep", host=3)
    assert not [name for name in second[-1]["progress"] if name.startswith("problem:")], second  # type: ignore[attr-defined]
    with cluster.client() as client:
        check(client, bodies)


@LONG
@pytest.mark.timeout(900)
def test_what_a_lost_host_held_is_made_anew_and_the_host_given_up(folder: Path, seed: str) -> None:
    with ClusterProcesses(folder) as cluster:
        with cluster.client() as client:
            bodies = fill(client, seed, 40)
        lost = cluster.hosts[2]
        refused = cluster.command("rebuild", "host", lost.name, check=False)
        assert (refused.returncode, "is alive" in refused.stderr) == (8, True)
        lost.kill()
        shutil.rmtree(lost.folder)
        assert until(lambda: any(each["silent_s"] > 5 for each in cluster.status()), 30)  # type: ignore[operator]
        plan = told(cluster, "rebuild", "host", lost.name, "-n", code=11)  # 9 volumes were needed, and three peers
        assert plan[-1]["progress"]["planned"] > 40  # type: ignore[index]
        (job,) = [each for each in told(cluster, "rebuild", "host", lost.name, "--detach", code=11) if each["type"] == "job"]

        def waits() -> bool:
            return "wait for volumes" in str(told(cluster, "job", "show", str(job["id"]))[0]["message"])

        assert until(waits, 60)
        cluster.metas = 4
        cluster.add_host(gateway=False)
        told(cluster, "rebuild", "host", lost.name)
        sets = [each for each in told(cluster, "election", "list") if "peers" in each]
        assert all(not each["away"] and len(each["peers"]) == 3 for each in sets), sets  # type: ignore[arg-type]
        told(cluster, "cluster", "forget", lost.name)
        assert until(lambda: lost.name not in json.dumps(cluster.status()), 30)
        for way in ("meta", "chunks"):
            again = told(cluster, "scrub", way, "--deep")
            assert not [name for name in again[-1]["progress"] if name.startswith(("problem:", "away:"))], again  # type: ignore[attr-defined]
        assert told(cluster, "base", "check")[-1]["differing"] == 0
        with cluster.client() as client:
            check(client, bodies)
            fill(client, seed + "more", 5, "more")
