"""Events outlive the store's and the receiver's deaths: what was answered is told at least once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import StoreMaker
from tests.support.receiver import Receiver
from tests.support.store import StoreProcess

pytestmark = pytest.mark.slow

CONFIGURATION = (
    b"<NotificationConfiguration><QueueConfiguration><Id>all</Id><Queue>arn:aws:sqs:::hook</Queue>"
    b"<Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>"
)
WRITERS = 3
SECONDS = 6.0


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.start()
    yield receiver
    receiver.stop()


def notify(store: StoreProcess, receiver: Receiver) -> None:
    store.command("webhook", "add", "hook", receiver.url)
    with store.client() as client:
        client.make_bucket("bucket")
        assert client.call("PUT", "bucket", query=[("notification", "")], body=CONFIGURATION).status == 200


def write(store: StoreProcess, name: str, answered: list[str], until: float) -> None:
    """Puts objects with ever new keys; `answered` are those that the store said it has."""
    number = 0
    while time.monotonic() < until:
        try:
            with store.client(timeout_s=5) as client:
                while time.monotonic() < until:
                    key = f"{name}-{number}"
                    number += 1
                    if client.put("bucket", key, b"x").status == 200:
                        answered.append(key)
        except OSError:
            time.sleep(0.05)
        except Exception as error:  # http.client's, when the store is killed
            assert "http.client" in type(error).__module__
            time.sleep(0.05)


def test_no_answered_change_goes_untold_though_both_sides_die(make_store: StoreMaker, receiver: Receiver) -> None:
    store = make_store()
    notify(store, receiver)
    dice, answered = random.Random(1), [[] for _ in range(WRITERS)]  # type: random.Random, list[list[str]]
    until = time.monotonic() + SECONDS
    writers = [threading.Thread(target=write, args=(store, f"w{at}", answered[at], until)) for at in range(WRITERS)]
    for writer in writers:
        writer.start()
    for _ in range(3):
        time.sleep(dice.uniform(0.3, 0.9))
        receiver.stop()
        time.sleep(dice.uniform(0.1, 0.4))
        store.kill()
        receiver.start()
        store.start()
    for writer in writers:
        writer.join()
    keys = {key for each in answered for key in each}
    assert len(keys) > 20
    receiver.wait(lambda: keys <= {key for _, key in receiver.names("bucket")}, timeout_s=60)


def test_gateway_processes_tell_too_and_a_webhook_may_move(make_store: StoreMaker, receiver: Receiver) -> None:
    store = make_store(options=["--workers", "2"])
    notify(store, receiver)
    keys = []
    for number in range(16):  # each connection finds one of the processes
        with store.client() as client:
            assert client.put("bucket", f"k{number}", b"x").status == 200
            keys.append(f"k{number}")
    receiver.wait(lambda: set(keys) <= {key for _, key in receiver.names("bucket")})
    listed = store.command("webhook", "list").stdout
    assert listed.split() == ["hook", "*", "0", receiver.url]
    other = Receiver()
    other.start()
    store.command("webhook", "add", "hook", other.url)
    with store.client() as client:
        client.put("bucket", "moved", b"x")
    other.wait(lambda: other.names("bucket") == [("ObjectCreated:Put", "moved")])
    other.stop()
    store.command("webhook", "remove", "hook")
    assert store.command("webhook", "remove", "hook", check=False).returncode == 3
    assert store.command("webhook", "add", "hook", "ftp://example.com", check=False).returncode != 0
