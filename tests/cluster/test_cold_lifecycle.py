"""Lifecycle rules with real boards: what is old leaves for cold disks, comes back when it is asked for, leaves again, and goes for good."""

from __future__ import annotations

import base64
import hashlib
import random
from pathlib import Path

import pytest

from tests.cluster.conftest import StoreMaker
from tests.cluster.test_cold_kill import BUCKET, CHUNKS, RESTORE, World, cold_world, until, waiting
from tests.support.client import Client
from tests.support.survey import chunk_files

pytestmark = [pytest.mark.root]
DAY_S = 4
OBJECTS = 6
BYTES = 400_000
EMPTY_BYTES = 8192
"""The most that an emptied file, or the one of the object that stays, takes."""
RULES = (
    b"<LifecycleConfiguration><Rule><ID>freeze</ID><Status>Enabled</Status><Filter><Prefix>old/</Prefix></Filter>"
    b"<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>"
)
MD5 = base64.b64encode(hashlib.md5(RULES).digest()).decode()


def header(client: Client, key: str, name: str) -> str:
    return dict(client.call("HEAD", BUCKET, key).headers).get(name, "")


def is_empty(world: World) -> bool:
    files: list[Path] = chunk_files(world.store.directories)
    return sum(path.stat().st_blocks * 512 for path in files) <= EMPTY_BYTES * CHUNKS * (OBJECTS + 1)


@pytest.mark.timeout(300)
def test_a_rule_freezes_what_is_old_and_a_restored_copy_leaves_again(make_store: StoreMaker, scratch: Path, seed: str) -> None:
    rng = random.Random(seed)
    bodies = {f"old/{number}": rng.randbytes(BYTES) for number in range(OBJECTS)}
    with cold_world(make_store, scratch) as world:
        world.store.stop()
        world.store.options += ["--lifecycle-day", str(DAY_S)]
        world.store.start()
        with world.store.client() as client:
            for key, body in [*bodies.items(), ("new", b"stays")]:
                assert client.put(BUCKET, key, body).status == 200
            answer = client.call("PUT", BUCKET, query=[("lifecycle", "")], headers=[("content-md5", MD5)], body=RULES)
            assert answer.status == 200, answer
            until(lambda: all(header(client, key, "x-amz-storage-class") == "GLACIER" for key in bodies), "the rule moves them")
            until(lambda: is_empty(world), "their files are emptied")
            assert {client.get(BUCKET, key).status for key in bodies} == {403}
            assert client.get(BUCKET, "new").body == b"stays"
            for key, body in bodies.items():
                assert client.call("POST", BUCKET, key, query=[("restore", "")], body=RESTORE).status == 202
                until(lambda key=key: 'ongoing-request="false"' in header(client, key, "x-amz-restore"), f"{key} is back")  # type: ignore[misc]
                assert client.get(BUCKET, key).body == body
            until(lambda: not any(header(client, key, "x-amz-restore") for key in bodies), "the copies' days are over")
            assert {client.get(BUCKET, key).status for key in bodies} == {403}
            until(lambda: is_empty(world), "their files are emptied again")
            for key in bodies:
                assert client.delete(BUCKET, key).status == 204
        until(lambda: len(chunk_files(world.store.directories)) == CHUNKS and waiting(world) == {}, "all that was deleted is gone")
