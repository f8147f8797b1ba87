"""The metadata's disk is lost; one command brings everything back."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from typing import Any

from tests.cluster.conftest import StoreMaker
from tests.support.store import StoreProcess

BUCKET = "bucket"
KEEP_S = 30.0


def told(store: StoreProcess, *options: str, code: int = 0) -> list[dict[str, Any]]:
    done = store.command("--json", "rebuild", "meta", *options, check=False, timeout_s=300)
    assert done.returncode == code, (done.returncode, done.stderr, done.stdout)
    return [json.loads(line) for line in done.stdout.splitlines()]


def quota(store: StoreProcess, *size: str) -> int | None:
    """The bucket's, shown or set by the command, whether or not the store runs."""
    (line,) = store.command("--json", "bucket", "quota", BUCKET, *size).stdout.splitlines()
    total: int | None = json.loads(line)["quota"]
    return total


def wait_until_kept(store: StoreProcess) -> None:
    """Until the settings of the bucket and the accounts are in chunks."""
    end = time.monotonic() + KEEP_S
    while not {"accounts", f"buckets/{BUCKET}"} <= _kept(store):
        assert time.monotonic() < end, "settings and accounts are not kept in chunks"
        time.sleep(0.2)
    time.sleep(1.0)


def _kept(store: StoreProcess) -> set[str]:
    import os

    found = set()
    for directory in store.directories:
        for path in (directory / "volumes").glob("*/[0-9a-f][0-9a-f][0-9a-f]/*"):
            try:
                record = json.loads(os.getxattr(path, "user.frazil.chunk"))
            except OSError:
                continue
            if record.get("bucket") == ".frazil":
                found.add(record["key"])
    return found


def test_everything_is_back_after_the_metadata_was_lost(make_store: StoreMaker, seed: str) -> None:
    store = make_store(volumes=3)
    rng = random.Random(seed)
    bodies = {f"dir/ключ-{number}": rng.randbytes(rng.choice((0, 10, 5_000, 400_000))) for number in range(30)}
    with store.client() as client:
        client.make_bucket(BUCKET)
        for key, body in bodies.items():
            assert client.put(BUCKET, key, body, [("x-amz-meta-color", "blue")]).status == 200
        document = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        assert client.call("PUT", BUCKET, query=[("versioning", "")], body=document).status == 200
        assert client.delete(BUCKET, "dir/ключ-0").status == 204
    assert quota(store, "1GiB") == 1 << 30
    wait_until_kept(store)
    refused = store.command("rebuild", "meta", check=False)
    assert refused.returncode == 2
    assert "in use by process" in refused.stderr
    store.stop()
    refused = store.command("rebuild", "meta", check=False)
    assert refused.returncode == 8
    assert "the metadata is whole" in refused.stderr
    assert told(store, "--dry-run")[-1]["differences"] == 0
    shutil.rmtree(store.directories[0] / "meta")
    summary = told(store)[-1]
    assert (summary["versions"] >= 30, summary["markers"], summary["unwhole"]) == (True, 1, 0)
    assert quota(store) == 1 << 30
    assert quota(store, "1KiB") == 1 << 10
    store.start()
    with store.client() as client:
        del bodies["dir/ключ-0"]
        assert sorted(client.keys(BUCKET)) == sorted(bodies)
        for key, body in bodies.items():
            answer = client.get(BUCKET, key)
            assert answer.body == body
            assert answer.headers["x-amz-meta-color"] == "blue"
            assert answer.headers["etag"].strip('"') == hashlib.md5(body).hexdigest()
        assert client.put(BUCKET, "more", b"x").code == "QuotaExceeded"


def test_one_damaged_bucket_comes_back_beside_the_others(make_store: StoreMaker) -> None:
    store = make_store(volumes=3)
    with store.client() as client:
        for bucket in (BUCKET, "other"):
            client.make_bucket(bucket)
            assert client.put(bucket, "k", bucket.encode()).status == 200
    wait_until_kept(store)
    store.stop()
    bases = list((store.directories[0] / "meta" / "container").glob("*/*.db"))
    from meta.directory import container_id

    (damaged,) = [path for path in bases if path.stem == container_id(BUCKET)]
    damaged.write_bytes(b"rotten" * 1000)
    assert told(store, "--bucket", BUCKET)[-1]["versions"] == 1
    store.start()
    with store.client() as client:
        for bucket in (BUCKET, "other"):
            assert client.get(bucket, "k").body == bucket.encode()
            assert client.put(bucket, "k2", b"more").status == 200
