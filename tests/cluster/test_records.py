"""What lies on the disks can be read by a person, without Frazil."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import StoreMaker
from tests.support.need import need_programs
from tests.support.store import StoreProcess, chunk_paths

BUCKET = "bucket"
MIB = 1 << 20


def record_of(path: Path) -> dict[str, Any]:
    """The record as `getfattr` shows it."""
    done = subprocess.run(
        ["getfattr", "--only-values", "--absolute-names", "-n", "user.frazil.chunk", str(path)], capture_output=True, text=True, check=True
    )
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def records(store: StoreProcess, key: str) -> list[tuple[Path, dict[str, Any]]]:
    found = [(path, record_of(path)) for path in chunk_paths(store) if path.exists()]
    return sorted(((path, record) for path, record in found if record.get("key") == key), key=lambda each: each[1].get("metachunk", 0))


def test_getfattr_shows_a_readable_record(make_store: StoreMaker) -> None:
    need_programs("getfattr")
    store = make_store()
    with store.client() as client:
        client.make_bucket(BUCKET)
        body = b"hello, reader"
        headers = [("content-type", "text/x-note"), ("x-amz-meta-color", "blue"), ("x-amz-tagging", "project=ice")]
        assert client.put(BUCKET, "notes/ü.txt", body, headers).status == 200
    ((path, record),) = records(store, "notes/ü.txt")
    assert path.read_bytes() == body
    assert (record["bucket"], record["policy"], record["size"], record["v"]) == (BUCKET, "SINGLE", len(body), 1)
    assert record["object"]["etag"] == hashlib.md5(body).hexdigest()
    assert record["object"]["size"] == len(body)
    text = json.dumps(record, ensure_ascii=False)
    for word in ("text/x-note", "color", "blue", "project", "ice", "notes/ü.txt"):
        assert word in text, (word, text)


def test_later_changes_reach_the_record(make_store: StoreMaker) -> None:
    need_programs("getfattr")
    store = make_store()
    with store.client() as client:
        client.make_bucket(BUCKET)
        assert client.put(BUCKET, "k", b"body").status == 200
        document = b"<Tagging><TagSet><Tag><Key>later</Key><Value>tagged</Value></Tag></TagSet></Tagging>"
        assert client.call("PUT", BUCKET, "k", query=[("tagging", "")], body=document).status == 200
    store.stop()
    store.start()
    end = time.monotonic() + 20
    while "tagged" not in json.dumps(records(store, "k")[0][1]):
        assert time.monotonic() < end, "the record does not learn of the tag"
        time.sleep(0.2)


@pytest.mark.parametrize(("volumes", "size"), [(1, 130 * MIB + 5), (2, 300_000), (1, 1_000)])
def test_cat_of_the_chunks_is_the_object(make_store: StoreMaker, seed: str, volumes: int, size: int) -> None:
    need_programs("getfattr")
    store = make_store(volumes=volumes)
    body = random.Random(seed).randbytes(size)
    with store.client() as client:
        client.make_bucket(BUCKET)
        assert client.put(BUCKET, "first", body).status == 200
        assert client.call("PUT", BUCKET, "copied", headers=[("x-amz-copy-source", f"/{BUCKET}/first")]).status == 200
        assert client.delete(BUCKET, "first").status == 204
        # The deleted chunks go right after the answer.
        time.sleep(0.5)
    for position in range(volumes):
        paths = [str(path) for path, record in records(store, "copied") if record.get("position", 0) == position]
        assert len(paths) == -(-size // (64 * MIB))
        shown = subprocess.run(["cat", *paths], capture_output=True, check=True).stdout
        assert hashlib.sha256(shown).digest() == hashlib.sha256(body).digest()


def test_data_fragments_are_plain_bytes(make_store: StoreMaker, seed: str) -> None:
    """Of an erasure-coded object too: its first data fragment begins with the object's first bytes."""
    need_programs("getfattr")
    store = make_store(volumes=3)
    body = random.Random(seed).randbytes(2 * MIB)
    with store.client() as client:
        client.make_bucket(BUCKET)
        assert client.put(BUCKET, "coded", body).status == 200
    found = {record.get("position", 0): (path, record) for path, record in records(store, "coded")}
    assert sorted(found) == [0, 1, 2]
    path, record = found[0]
    assert record["policy"] == "EC21"
    assert path.read_bytes()[: record["unit_bytes"]] == body[: record["unit_bytes"]]


def test_long_names_go_to_a_sidecar(make_store: StoreMaker) -> None:
    """A record that no attribute can take is in a file beside the chunk, and everything works as ever."""
    store = make_store(volumes=3)
    key = "k" * 1_000 + "ü" * 12
    metadata = [("x-amz-meta-" + f"m{number}", "v" * 180) for number in range(10)]
    with store.client() as client:
        client.make_bucket(BUCKET)
        for name, body in ((key, b"small" * 100), (key[1:], b"large" * 200_000)):
            assert client.put(BUCKET, name, body, metadata).status == 200
    store.restart()
    with store.client() as client:
        for name, body in ((key, b"small" * 100), (key[1:], b"large" * 200_000)):
            answer = client.get(BUCKET, name)
            assert answer.body == body
            assert answer.headers["x-amz-meta-m9"] == "v" * 180
            assert client.delete(BUCKET, name).status == 204
