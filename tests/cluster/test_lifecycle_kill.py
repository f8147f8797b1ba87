"""The lifecycle engine killed at random moments: what was due happens once, restores come true, nothing else is touched."""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster.conftest import StoreMaker
from tests.support.client import Client

BUCKET = "aging"
DAY_S = 1.0
OBJECTS = 12
PATIENCE_S = 30.0
BODY = b"ice " * 50_000
RULES = """<LifecycleConfiguration>
<Rule><ID>cold</ID><Filter><Prefix>cold/</Prefix></Filter><Status>Enabled</Status>
<Transition><Days>0</Days><StorageClass>GLACIER</StorageClass></Transition></Rule>
<Rule><ID>old</ID><Filter><Prefix>old/</Prefix></Filter><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>
</LifecycleConfiguration>"""
RESTORE = b"<RestoreRequest><Days>30000</Days></RestoreRequest>"


def until(what: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)
    return found


def document(client: Client, name: str, text: str) -> None:
    digest = base64.b64encode(hashlib.md5(text.encode()).digest()).decode()
    answer = client.call("PUT", BUCKET, query=[(name, "")], headers=[("content-md5", digest)], body=text.encode())
    assert answer.status == 200, answer


def classes(client: Client) -> dict[str, str]:
    return {key: client.call("HEAD", BUCKET, key).headers.get("x-amz-storage-class", "STANDARD") for key in client.keys(BUCKET)}


@pytest.mark.timeout(600)
def test_rules_and_restores_survive_kills(make_store: StoreMaker, seed: str, rounds: int) -> None:
    rng = random.Random(seed)
    store = make_store(volumes=3, options=["--lifecycle-day", str(DAY_S)])
    store.allowed = ["glacier.lifecycle"]
    with store.client() as client:
        client.make_bucket(BUCKET)
        document(client, "versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
        for number in range(OBJECTS):
            for folder in ("cold", "old", "kept"):
                assert client.put(BUCKET, f"{folder}/{number}", BODY).status == 200
        document(client, "lifecycle", RULES)
    for number in range(max(rounds // 5, 3)):
        time.sleep(rng.uniform(0.05, DAY_S))
        store.kill()
        store.start()
        with store.client() as client:
            key = f"cold/{number}"
            if classes(client).get(key) == "GLACIER":
                assert client.call("POST", BUCKET, key, query=[("restore", "")], body=RESTORE).status in (200, 202, 409)
    with store.client() as client:
        expected = {f"cold/{number}": "GLACIER" for number in range(OBJECTS)} | {f"kept/{number}": "STANDARD" for number in range(OBJECTS)}
        until(lambda: classes(client) == expected)
        versions = client.call("GET", BUCKET, query=[("versions", "")]).body.decode()
        assert versions.count("<DeleteMarker>") == OBJECTS
        assert versions.count("<Version>") == 3 * OBJECTS
        for key, storage_class in expected.items():
            until(lambda key=key: client.call("HEAD", BUCKET, key).headers.get("x-amz-restore") != 'ongoing-request="true"')
            answer = client.get(BUCKET, key)
            if storage_class == "STANDARD" or answer.status == 200:
                assert answer.body == BODY
            else:
                assert answer.code == "InvalidObjectState"
    store.stop()
