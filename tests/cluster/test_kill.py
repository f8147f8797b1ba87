"""kill -9: at any moment of a mixed load, and at every system call of one write."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.conftest import StoreMaker
from tests.support.client import Answer, Client
from tests.support.load import BROKEN, PART_BYTES, Load, outcome_of, read_event
from tests.support.need import need_programs, need_root
from tests.support.oracle import ClientLog, Event, Kind, Outcome, judge, make_body
from tests.support.store import StoreProcess
from tests.support.strace import Strace
from tests.support.survey import chunk_files, empty, read_all, wait_until_gone

RESTART_S_MAX = 20.0
"""Against a start that hangs: on a busy machine most of it is waiting for a processor."""
SWEEP_S = 30.0
BUCKET = "bucket"
STEPS_SAMPLED = 4
"""System calls per kind of write in a short run; all of them from 50 rounds on."""
ALL_STEPS_ROUNDS = 50


@pytest.mark.parametrize("volumes", [1, 3])
@pytest.mark.timeout(1800)
def test_any_moment_of_a_mixed_load(make_store: StoreMaker, log: ClientLog, seed: str, rounds: int, volumes: int) -> None:
    rng = random.Random(seed)
    store = make_store(volumes=volumes)
    with store.client() as client:
        client.make_bucket(BUCKET)
    kept = chunk_files(store.directories)
    starts: list[float] = []
    found: list[str] = []
    for number in range(rounds // 2):
        with Load(store.client, BUCKET, log, f"{seed}-{number}", name=f"r{number}") as load:
            load.wait_for(rng.randrange(20, 300), timeout_s=10)
            time.sleep(rng.random() * 0.05)
            store.kill()
            log.crash()
        starts.append(store.start())
        with store.client() as client:
            found += read_all(client, BUCKET, log.keys(), log, f"round {number}")
    verdict = judge(log.events)
    print(verdict, f"restart: worst {max(starts):.2f} s")
    assert verdict.sound, verdict.explain()
    assert not found, found[:10]
    assert verdict.acked > 20 * len(starts)
    assert max(starts) < RESTART_S_MAX
    with store.client() as client:
        empty(client, BUCKET)
    assert wait_until_gone(store.directories, SWEEP_S, kept) == []


def put_whole(client: Client, body: bytes) -> Answer:
    return client.put(BUCKET, "key", body)


def put_parts(client: Client, body: bytes) -> Answer:
    upload = client.create_upload(BUCKET, "key").text("UploadId")
    etags = [
        client.put_part(BUCKET, "key", upload, number, body[at : at + PART_BYTES]).headers["etag"]
        for number, at in enumerate(range(0, len(body), PART_BYTES), 1)
    ]
    return client.complete_upload(BUCKET, "key", upload, etags)


def remove(client: Client, body: bytes) -> Answer:
    return client.delete(BUCKET, "key")


WRITES: dict[str, tuple[Kind, int, Callable[[Client, bytes], Answer]]] = {
    "small": (Kind.PUT, 4_000, put_whole),
    "large": (Kind.PUT, 1_500_000, put_whole),
    "parts": (Kind.PUT, PART_BYTES + 1_000, put_parts),
    "delete": (Kind.DELETE, 64, remove),
}


def attempt(store: StoreProcess, log: ClientLog, name: str, token: str) -> Outcome:
    """One write of that kind, logged."""
    kind, size, send = WRITES[name]
    start = time.monotonic_ns()
    with store.client() as client:
        try:
            outcome = outcome_of(send(client, make_body(token, size)))
        except (*BROKEN, KeyError):
            outcome = Outcome.UNKNOWN
    log.add(Event(kind, "key", token if kind is Kind.PUT else "", start, time.monotonic_ns(), outcome))
    return outcome


def serves(store: StoreProcess) -> bool:
    """Whether the store lives on; one that a signal is on its way to is waited for."""
    try:
        with store.client() as client:
            return client.call("HEAD", BUCKET).status == 200
    except BROKEN:
        assert store.process is not None
        store.process.wait(timeout=10)
        return False


def sample(steps: list[tuple[str, int]], rng: random.Random) -> list[tuple[str, int]]:
    """Some steps, with each system call among them while there is room."""
    rng.shuffle(steps)
    first = {call: (call, nth) for call, nth in steps}
    return sorted(set([*first.values(), *steps][:STEPS_SAMPLED]))


@pytest.mark.root
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", WRITES)
def test_every_system_call_of_one_write(make_store: StoreMaker, log: ClientLog, scratch: Path, seed: str, rounds: int, name: str) -> None:
    need_root()
    need_programs("strace")
    store = make_store(volumes=3)
    with store.client() as client:
        client.make_bucket(BUCKET)
    kept = chunk_files(store.directories)
    # The first of a kind also loads code, whose files are no part of the write.
    attempt(store, log, name, "warm")
    attempt(store, log, "small", "first")
    with Strace(store.pid, scratch / "calls") as trace:
        assert attempt(store, log, name, "traced") is Outcome.ACKED
    most: dict[str, int] = {}
    for (_, call), count in trace.counts().items():
        most[call] = max(count, most.get(call, 0))
    steps = [(call, nth) for call, count in sorted(most.items()) for nth in range(1, count + 1)]
    assert len(steps) >= STEPS_SAMPLED, trace.text()
    if rounds < ALL_STEPS_ROUNDS:
        steps = sample(steps, random.Random(seed))
    killed = 0
    for call, nth in steps:
        attempt(store, log, "small", f"before-{call}-{nth}")
        with Strace(store.pid, scratch / "calls", calls=(call,), inject=f"{call}:signal=KILL:when={nth}"):
            attempt(store, log, name, f"{call}-{nth}")
        if not serves(store):
            killed += 1
            store.kill()
            log.crash()
            assert store.start() < RESTART_S_MAX
        with store.client() as client:
            start = time.monotonic_ns()
            log.add(read_event("key", client.get(BUCKET, "key"), start, f"killed at {call} {nth}"))
    verdict = judge(log.events)
    print(verdict, f"{killed} of {len(steps)} steps killed: {steps}")
    assert verdict.sound, verdict.explain()
    assert killed >= len(steps) // 2, "hardly any step was reached"
    with store.client() as client:
        empty(client, BUCKET)
    assert wait_until_gone(store.directories, SWEEP_S, kept) == []
