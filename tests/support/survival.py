"""A cluster under load while something goes wrong, and what must hold afterwards: the scene of tests/cluster/test_cluster_survival.py.

A fault is one function: it makes something go wrong, waits, and puts it right again. The scene sees to the load before, under and after it,
judges what the clients saw, and compares the replicas.
"""

from __future__ import annotations

import hashlib
import json
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .cluster import ClusterProcesses, Host, Service
from .load import Load, Mix
from .oracle import ClientLog, Kind, Outcome, judge
from .survey import read_all

SESSION_S = 6.0
"""With ZooKeeper, as meta/zookeeper.py asks for it."""
BEYOND_S = SESSION_S + 2.0
ANSWERED_S_MAX = 45.0
"""The longest that a request may take, whatever happens: PATIENCE_S of meta/cluster/routing.py twice, and a little."""
SERVED_AGAIN_S_MAX = 45.0
"""After the fault is over, until requests are answered as before, without a command."""
EQUAL_S_MAX = 60.0
"""After the load is over, until all replicas are the same: a peer that was away is compared with its leader at the next reign or look."""
CLIENT_S = 60.0
CALM = 20
"""Requests, one after the other, that show that all is as before."""
MIX = Mix(
    keys=24,
    threads=4,
    operations=(("put", 45), ("read", 35), ("delete", 10), ("delete_many", 3), ("multipart", 1), ("abort", 1)),
    sizes=((200, 40), (4_096, 40), (131_073, 6), (400_000, 6)),
)


@dataclass(slots=True)
class Scene:
    cluster: ClusterProcesses
    bucket: str
    log: ClientLog
    load: Load
    rng: random.Random
    seed: str
    notes: list[str] = field(default_factory=list)

    @property
    def hosts(self) -> list[Host]:
        return self.cluster.hosts

    def busy_for(self, seconds: float) -> None:
        """The clients go on for so long."""
        time.sleep(seconds)

    def leader(self) -> Host:
        """Which leads the bucket's metadata."""
        replicas = _told(self.cluster, "base", "show", self.bucket)
        sets = {str(each["set"]): each for each in _told(self.cluster, "election", "list") if "peers" in each}
        address = str(sets[str(replicas[0]["set"])]["address"]).partition(":")[0]
        return next(host for host in self.hosts if host.address == address)

    def follower(self) -> Host:
        leader = self.leader()
        return self.rng.choice([host for host in self.hosts if host is not leader])

    def processes(self) -> list[Service]:
        return [service for host in self.hosts for service in host.services]

    def failed(self, since_ns: int = 0) -> list[str]:
        """Requests that were not served as they must be."""
        return [
            f"{event.kind} {event.key!r}: {event.detail} after {(event.end_ns - event.start_ns) / 1e9:.1f} s"
            for event in self.log.events
            if event.outcome is Outcome.UNKNOWN and event.kind is not Kind.CRASH and event.start_ns >= since_ns
        ]

    def wait_served(self) -> float:
        """Until requests that began now and later are answered as before. How many seconds that took."""
        begin_ns = time.monotonic_ns()
        while time.monotonic_ns() < begin_ns + SERVED_AGAIN_S_MAX * 1e9:
            fresh = [event for event in self.log.events if event.start_ns > begin_ns]
            if len(fresh) >= CALM and all(event.outcome is not Outcome.UNKNOWN for event in fresh[-CALM:]):
                return (fresh[-CALM].end_ns - begin_ns) / 1e9
            time.sleep(0.1)
        raise AssertionError(f"not served again within {SERVED_AGAIN_S_MAX} s:\n{self.cluster.errors()}")


@contextmanager
def scene(cluster: ClusterProcesses, bucket: str, log: ClientLog, seed: str, mix: Mix = MIX) -> Iterator[Scene]:
    """After the body: requests are answered again, nothing was lost or read stale, none waited too long, replicas are equal."""
    with cluster.client() as client:
        client.make_bucket(bucket)
    load = Load(lambda: cluster.client(CLIENT_S), bucket, log, seed, name=bucket, mix=mix)
    with load:
        load.wait_for(20, timeout_s=30)
        played = Scene(cluster, bucket, log, load, random.Random(seed), seed)
        yield played
        again_s = played.wait_served()
        calm_ns = time.monotonic_ns()
        played.busy_for(1)
    with cluster.client() as client:
        disagreements = read_all(client, bucket, log.keys(), log, "after")
    verdict = judge(log.events)
    slowest = max(log.events, key=lambda event: event.end_ns - event.start_ns)
    waited_s = (slowest.end_ns - slowest.start_ns) / 1e9
    print(f"{bucket}: {verdict!r}; {len(played.failed())} without an answer; served again after {again_s:.1f} s;", end=" ")
    print(f"the slowest request took {waited_s:.1f} s ({slowest.kind} {slowest.outcome} {slowest.detail}) {' '.join(played.notes)}")
    assert verdict.sound, f"{verdict.explain()}\n{cluster.errors()}"
    assert verdict.acked > 20, "nothing was tried"
    assert disagreements == [], disagreements
    assert played.failed(calm_ns) == [], cluster.errors()
    assert waited_s < ANSWERED_S_MAX, slowest
    wait_equal(cluster)


# Replicas


def wait_equal(cluster: ClusterProcesses) -> None:
    """Until each base is the same on all its peers: every row of every table."""
    deadline = time.monotonic() + EQUAL_S_MAX
    while different := differing(cluster.hosts):
        assert time.monotonic() < deadline, "\n".join(different)
        time.sleep(0.5)


def differing(hosts: list[Host]) -> list[str]:
    """Each base of which the replicas are not the same, a sentence each."""
    digests: dict[str, dict[str, str]] = {}
    for host in hosts:
        top = host.folder / "state" / "meta"
        for path in top.glob("set-*/**/*.db"):
            digests.setdefault(str(path.relative_to(top)), {})[host.name] = digest(path)
    return [f"{base}: {found}" for base, found in sorted(digests.items()) if len(set(found.values())) > 1]


def digest(path: Path) -> str:
    """Of all rows of all tables, as one state of the base has them; begins with where it stands."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)
    try:
        db.execute("BEGIN")
        hasher = hashlib.sha256()
        for (table,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall():
            for row in db.execute(f"SELECT * FROM {table}"):
                hasher.update(repr((table, row)).encode())
        newest = db.execute("SELECT epoch, entry FROM entries ORDER BY entry DESC LIMIT 1").fetchone()
        return f"{newest} {hasher.hexdigest()[:12]}"
    finally:
        db.close()


def _told(cluster: ClusterProcesses, *arguments: str) -> list[dict[str, object]]:
    done = cluster.command("--json", *arguments, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


Fault = Callable[[Scene], None]
