"""kill -9 while an object grows: what was acknowledged is there, in order, once; nothing else is, and nothing is left over."""

from __future__ import annotations

import random
import threading
import time

import pytest

from tests.cluster.conftest import StoreMaker
from tests.support.client import Client
from tests.support.load import BROKEN
from tests.support.survey import chunk_files, empty, wait_until_gone

BUCKET, KEY = "bucket", "log"
PIECE_BYTES = 100
SWEEP_S = 30.0


def piece(number: int) -> bytes:
    return f"{number:010}".encode() * (PIECE_BYTES // 10)


class Writer(threading.Thread):
    """Appends pieces, numbered from `first`, until the connection breaks; acked: how many the object surely has."""

    def __init__(self, client: Client, first: int) -> None:
        super().__init__()
        self.client = client
        self.acked = first
        self.refused = ""

    def run(self) -> None:
        try:
            while True:
                headers = [("x-amz-write-offset-bytes", str(self.acked * PIECE_BYTES))]
                answer = self.client.put(BUCKET, KEY, piece(self.acked), headers)
                if answer.status == 200:
                    self.acked += 1
                elif answer.status != 503:
                    self.refused = f"{answer} {answer.body!r}"
                    return
        except BROKEN:
            return
        finally:
            self.client.close()


@pytest.mark.parametrize(("volumes", "options", "versioned"), [(1, (), False), (3, ("--workers", "2"), False), (1, (), True)])
def test_what_was_appended_survives_a_kill(
    make_store: StoreMaker, seed: str, rounds: int, volumes: int, options: tuple[str, ...], versioned: bool
) -> None:
    rng = random.Random(seed)
    store = make_store(volumes=volumes, options=options)
    with store.client() as client:
        client.make_bucket(BUCKET)
        if versioned:
            body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
            assert client.call("PUT", BUCKET, query=[("versioning", "")], body=body).status == 200
    kept = chunk_files(store.directories)
    there = 0
    for _ in range(max(rounds // 4, 1)):
        writer = Writer(store.client(), there)
        writer.start()
        time.sleep(0.3 + rng.random() * 0.5)
        store.kill()
        writer.join(30)
        assert not writer.refused
        store.start()
        with store.client() as client:
            answer = client.get(BUCKET, KEY)
        if writer.acked == 0 and answer.status == 404:
            continue
        there = len(answer.body) // PIECE_BYTES
        assert writer.acked <= there <= writer.acked + 1
        assert answer.body == b"".join(piece(number) for number in range(there))
    assert there > 5
    if not versioned and not options:  # a gateway's deletions are done with the next scan only, which takes as long as a short run
        with store.client() as client:
            empty(client, BUCKET)
        assert wait_until_gone(store.directories, SWEEP_S, kept) == []
