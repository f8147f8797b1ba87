"""All replicas of a cluster's metadata are lost; one command brings everything back, and nobody sees half of it."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meta.directory import container_id
from meta.protocol.bucket import SYSTEM_BUCKET
from store.rebuild.compare import differences
from store.rebuild.swap import NEW_FOLDER
from tests.cluster.test_cluster import until
from tests.cluster.test_cluster_upkeep import told
from tests.conftest import SCALE
from tests.support.client import Client
from tests.support.cluster import ClusterProcesses, Host
from tests.support.store import COMMAND, environment

OBJECTS = 40
"""At scale 1; 20,000 at scale 500."""
SIZES = (0, 10, 5_000, 400_000, 1_500_000)
BUCKETS = ("plain", "versions")
KEEP_S = 150.0 * max(SCALE / 20, 1)
"""Chunks of what was deleted stay for a while, and are looked for each half minute."""
LOOK_S = 5.0
"""A look reads all volumes."""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def live(client: Client, rng: random.Random, count: int) -> None:
    """Objects of all kinds: sizes, names, attributes, tags, versions, markers, uploads in parts, copies, deletions."""
    for bucket in BUCKETS:
        client.make_bucket(bucket)
    document = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    assert client.call("PUT", "versions", query=[("versioning", "")], body=document).status == 200
    for number in range(count):
        bucket, key = BUCKETS[number % 2], rng.choice((f"dir/ключ-{number}", f"k{number % 7}", f"{number}/" + "長" * 300))
        body = rng.randbytes(rng.choices(SIZES, (1, 1, 1, 1, 1) if count < 1_000 else (10, 10, 10, 1, 1))[0])
        assert client.put(bucket, key, body, [("x-amz-meta-color", "blue"), ("x-amz-tagging", f"n={number}")]).status == 200
        if number % 5 == 0:
            assert client.delete(bucket, key).status == 204
        if number % 7 == 0:
            assert client.call("PUT", bucket, f"copy{number}", headers=[("x-amz-copy-source", f"/{bucket}/k1")]).status in (200, 404)
    parts = [rng.randbytes(5 << 20), rng.randbytes(1_000)]
    upload = client.create_upload("plain", "parts").text("UploadId")
    etags = [client.put_part("plain", "parts", upload, number, part).headers["etag"] for number, part in enumerate(parts, 1)]
    assert client.complete_upload("plain", "parts", upload, etags).status == 200
    begun = client.create_upload("plain", "under way").text("UploadId")
    assert client.put_part("plain", "under way", begun, 1, parts[0]).status == 200


def contents(client: Client) -> dict[tuple[str, str], tuple[bytes, str, str]]:
    """Every current object: bytes, ETag, an attribute."""
    found = {}
    for bucket in BUCKETS:
        for key in client.keys(bucket):
            answer = client.get(bucket, key)
            found[bucket, key] = answer.body, answer.headers["etag"], answer.headers.get("x-amz-meta-color", "")
    return found


def metadata(cluster: ClusterProcesses, target: Path) -> Path:
    """All bases that the first host has, in the places they have on one host; with three peers on three hosts it has every set."""
    target.mkdir()
    for path in sorted((cluster.hosts[0].folder / "state" / "meta").glob("set-*/**/*.db")):
        if ".dissolved" not in str(path):
            parts = path.relative_to(cluster.hosts[0].folder / "state" / "meta").parts
            place = target.joinpath(*parts[1:])
            place.parent.mkdir(parents=True, exist_ok=True)
            for name in (path.name, path.name + "-wal"):
                if path.with_name(name).exists():
                    shutil.copy(path.with_name(name), place.with_name(name))
    return target


def begun(cluster: ClusterProcesses, *arguments: str) -> subprocess.Popen[bytes]:
    command = [str(COMMAND), *arguments, "--store", str(cluster.hosts[0].file)]
    return subprocess.Popen(command, env=environment(cluster.folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stop_meta(hosts: list[Host]) -> None:
    for host in hosts:
        host.service("meta").stop()


@pytest.mark.timeout(900 * max(SCALE / 50, 1))
def test_wiped_metadata_of_all_hosts_comes_back_equal(folder: Path, seed: str, scale: float, rounds: int) -> None:
    rng = random.Random(seed)
    with ClusterProcesses(folder) as cluster:
        with cluster.client() as client:
            live(client, rng, int(OBJECTS * scale))
            before = contents(client)
        assert until(lambda: told(cluster, "rebuild", "meta", "-n", code=None)[-1]["differences"] == 0, KEEP_S, pause_s=LOOK_S)
        refused = cluster.command("rebuild", "meta", check=False)
        assert (refused.returncode, "the metadata is there" in refused.stderr) == (8, True)
        stop_meta(cluster.hosts)
        old = metadata(cluster, folder / "before")
        for host in cluster.hosts:
            shutil.rmtree(host.folder / "state" / "meta")
        for host in cluster.hosts:
            host.service("meta").start()
        for _ in range(rounds // 10):  # a rebuild that is killed leaves nothing that the next minds
            with begun(cluster, "rebuild", "meta") as command:
                time.sleep(rng.uniform(1.0, 4.0))
                command.kill()
        summary = told(cluster, "rebuild", "meta", host=3, code=None)[-1]
        if summary.get("message") != "the metadata is there":  # else the killed one had come to its end
            assert (summary["unwhole"], summary["buckets"]) == (0, 2), summary
        with cluster.client() as client:
            assert until(lambda: client.get("plain", "parts").status == 200, 60), cluster.errors()
            assert contents(client) == before
            client.make_bucket("another")
            assert client.put("another", "after", b"more").status == 200
        sets = [each for each in told(cluster, "election", "list") if "peers" in each]
        assert len(sets) == 3
        assert not {str(each["set"]) for each in sets} & {"set-1", "set-2", "set-3"}
        assert until(lambda: told(cluster, "base", "check", code=None)[-1]["differing"] == 0, 30)
        stop_meta(cluster.hosts)
        new = metadata(cluster, folder / NEW_FOLDER)
        found = differences(old, new, directory=False)
        unlike = [each for each in found if "another" not in str(each.key) and container_id("another") not in each.base]
        # Its settings may be kept by now, which counts in the system's bucket.
        assert [each for each in unlike if each.table != "state" or container_id(SYSTEM_BUCKET) not in each.base] == []


def lose(cluster: ClusterProcesses, bucket: str, *, how: str) -> None:
    """The bucket's base at every peer, while nobody has it open."""
    stop_meta(cluster.hosts)
    for host in cluster.hosts:
        for path in (host.folder / "state" / "meta").glob(f"set-*/container/*/{container_id(bucket)}.db"):
            for name in (path.name + "-wal", path.name + "-shm"):
                path.with_name(name).unlink(missing_ok=True)
            if how == "lost":
                path.unlink()
            else:
                path.write_bytes(b"not a base" * 5_000)
    for host in cluster.hosts:
        host.service("meta").start()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("how", ["lost", "damaged"])
def test_one_bucket_comes_back_while_the_others_are_served(folder: Path, seed: str, scale: float, rounds: int, how: str) -> None:
    if how == "damaged" and scale < 2:
        pytest.skip("a long one: FRAZIL_TEST_SCALE=2")
    rng = random.Random(seed)
    with ClusterProcesses(folder) as cluster:
        with cluster.client() as client:
            live(client, rng, int(OBJECTS * scale))
            before = contents(client)
        assert until(lambda: told(cluster, "rebuild", "meta", "-n", code=None)[-1]["differences"] == 0, KEEP_S, pause_s=LOOK_S)
        refused = cluster.command("rebuild", "meta", "--bucket", "plain", check=False)
        assert (refused.returncode, "the metadata of plain is whole" in refused.stderr) == (8, True)
        unheard = cluster.command("rebuild", "meta", "--bucket", "unheard", check=False)
        assert (unheard.returncode, "no chunk tells of a bucket unheard" in unheard.stderr) == (3, True)
        lose(cluster, "plain", how=how)
        with cluster.client() as client:  # of a gateway that ran all the while
            assert until(lambda: client.get("versions", client.keys("versions")[0]).status == 200, 60), cluster.errors()
            assert until(lambda: client.get("plain", "parts").status in ((404,) if how == "lost" else (500, 503)), 60)
            for _ in range(rounds // 10):  # one that is killed leaves nothing that the next minds
                with begun(cluster, "rebuild", "meta", "--bucket", "plain") as command:
                    time.sleep(rng.uniform(1.0, 4.0))
                    command.kill()
            summary = told(cluster, "rebuild", "meta", "--bucket", "plain", host=3, code=None)[-1]
            if summary.get("message") != "the metadata of plain is whole":  # else the killed one had come to its end
                assert (summary["unwhole"], summary["buckets"]) == (0, 1), summary
            assert until(lambda: client.get("plain", "parts").status == 200, 60), cluster.errors()
            assert contents(client) == before
            assert client.put("plain", "after", b"more").status == 200
            assert client.delete("plain", "after").status == 204
            assert client.put("versions", "after", b"more").status == 200
        assert until(
            lambda: told(cluster, "rebuild", "meta", "-n", "--bucket", "plain", code=None)[-1]["differences"] == 0, KEEP_S, pause_s=LOOK_S
        )
        assert until(lambda: told(cluster, "base", "check", code=None)[-1]["differing"] == 0, 30)
        assert len([each for each in told(cluster, "election", "list") if "peers" in each]) == 4  # what the killed ones made is dissolved
