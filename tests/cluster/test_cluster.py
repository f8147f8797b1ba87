"""A cluster of three hosts: clients through HAProxy, the loss of services and hosts, hosts that come, commands."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rawx.patience import LIMIT_S, PATIENCE_S
from store.get import HEDGE_S
from tests.conftest import SCALE
from tests.support.client import Client
from tests.support.cluster import READING_S, ClusterProcesses, Host
from tests.support.load import Load, Mix
from tests.support.oracle import ClientLog, Kind, Outcome, judge

BUCKET = "cluster"
MIB = 1 << 20
LONG = pytest.mark.skipif(SCALE <= 1, reason="half a minute each: FRAZIL_TEST_SCALE=2")


@pytest.fixture
def cluster(shared_cluster: ClusterProcesses) -> ClusterProcesses:
    """With the bucket."""
    with shared_cluster.client() as client:
        client.make_bucket(BUCKET)
    return shared_cluster


def test_objects_of_all_sizes_go_in_and_come_out_through_the_balancer(cluster: ClusterProcesses) -> None:
    with cluster.client() as client:
        for size in (0, 1, 100_000, 3 * MIB, 70 * MIB):
            data = bytes(range(256)) * (size // 256 + 1)
            data = data[:size]
            assert client.put(BUCKET, f"size{size}", data).status == 200
            assert client.get(BUCKET, f"size{size}").body == data


def chunks_of(host: Host) -> list[Path]:
    return list(host.folder.glob("disk*/[0-9a-f][0-9a-f][0-9a-f]/*"))


def failed(log: ClientLog) -> list[str]:
    """What clients were not served as they must be."""
    return [
        f"{each.kind} {each.key!r}: {each.detail}" for each in log.events if each.outcome is Outcome.UNKNOWN and each.kind is not Kind.CRASH
    ]


@pytest.mark.timeout(600)
def test_no_request_fails_while_services_and_a_host_are_lost_and_come_back(cluster: ClusterProcesses, log: ClientLog, seed: str) -> None:
    host = cluster.hosts[2]
    rawx = host.service("rawx")
    with Load(cluster.client, BUCKET, log, seed, name="loss", mix=Mix(threads=4, keys=40)) as load:
        load.wait_for(30, timeout_s=30)
        rawx.kill()
        load.wait_for(load.operations + 25, timeout_s=40)
        rawx.start()
        load.wait_for(load.operations + 15, timeout_s=30)
        rawx.send(signal.SIGSTOP)
        load.wait_for(load.operations + 25, timeout_s=40)
        rawx.send(signal.SIGCONT)
        load.wait_for(load.operations + 15, timeout_s=30)
        host.kill()
        load.wait_for(load.operations + 25, timeout_s=40)
        host.start()
        cluster.wait_settled()
        load.wait_for(load.operations + 15, timeout_s=30)
    assert failed(log) == [], cluster.errors()
    verdict = judge(log.events)
    assert verdict.sound, verdict.explain()


def test_a_large_upload_goes_on_when_a_host_is_lost_under_it(cluster: ClusterProcesses) -> None:
    data = random.Random(5).randbytes(24 * MIB)
    host = cluster.hosts[2]

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(data), MIB):
            if at == 12 * MIB:
                host.kill()
            yield data[at : at + MIB]

    try:
        with cluster.client() as client:
            assert client.put_stream(BUCKET, "under", pieces(), len(data)).status == 200, cluster.errors()
            assert client.get(BUCKET, "under").body == data
    finally:
        host.start()
        cluster.wait_settled()
    with cluster.client() as client:
        assert client.get(BUCKET, "under").body == data


@LONG
def test_stopped_volumes_cost_transfers_a_bounded_time(cluster: ClusterProcesses) -> None:
    """A third of all volumes answers nothing: an upload leaves them behind, reads ask others long before they would call one lost."""
    data = random.Random(6).randbytes(64 * MIB)
    rawx = cluster.hosts[2].service("rawx")

    def pieces(stop: bool) -> Iterator[bytes]:
        for at in range(0, len(data), MIB):
            if stop and at == 32 * MIB:
                rawx.send(signal.SIGSTOP)
            yield data[at : at + MIB]

    def seconds(call: Callable[[], object]) -> float:
        began = time.monotonic()
        call()
        return time.monotonic() - began

    with cluster.client() as client:

        def put(key: str, *, stop: bool) -> None:
            assert client.put_stream(BUCKET, key, pieces(stop), len(data)).status == 200

        def get() -> None:
            assert client.get(BUCKET, "all").body == data

        usual = seconds(lambda: put("all", stop=False)), min(seconds(get) for _ in range(3))
        try:
            held_up = seconds(lambda: put("half", stop=True)), seconds(get)
            assert held_up[0] < usual[0] + LIMIT_S + PATIENCE_S, (usual, held_up)
            assert held_up[1] < 3 * usual[1] + HEDGE_S, (usual, held_up)
            assert client.get(BUCKET, "half").body == data
        finally:
            rawx.send(signal.SIGCONT)
        cluster.wait_settled()
        print(f"put {held_up[0] / usual[0]:.1f} times, get {held_up[1] / usual[1]:.1f} times the usual")


def told(cluster: ClusterProcesses, *arguments: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in cluster.command("--json", *arguments).stdout.splitlines()]


def test_leaders_are_shown_and_replaced_and_replicas_compared(cluster: ClusterProcesses) -> None:
    sets = [record for record in told(cluster, "election", "list") if "peers" in record]
    assert len(sets) == 3
    for each in sets:
        assert each["leader"] in each["peers"]  # type: ignore[operator]
    (left,) = told(cluster, "election", "leave", str(sets[0]["set"]))
    assert left["left"] is True
    replicas = told(cluster, "base", "show", BUCKET)
    assert len(replicas) == 3
    *_, summary = told(cluster, "base", "check")
    assert summary["differing"] == 0
    assert int(str(summary["bases"])) > 3
    with cluster.client() as client:
        assert client.put(BUCKET, "after", b"x").status == 200


@LONG
def test_an_added_host_takes_load_at_once_and_is_emptied_by_a_command(cluster: ClusterProcesses, log: ClientLog, seed: str) -> None:
    with Load(cluster.client, BUCKET, log, seed, name="grow", mix=Mix(threads=3, keys=40)) as load:
        load.wait_for(30, timeout_s=30)
        before = {path.name for each in cluster.hosts for path in chunks_of(each)}
        host = cluster.add_host(gateway=True)
        cluster.wait_settled()
        load.wait_for(load.operations + 40, timeout_s=60)
        assert chunks_of(host)
        assert not before & {path.name for path in chunks_of(host)}  # nothing moves unasked
    assert failed(log) == [], cluster.errors()
    with cluster.client() as client:
        for number in range(20):
            assert client.put(BUCKET, f"after{number}", b"x" * 300_000).status == 200
    there = chunks_of(host)
    assert len(there) >= 20
    with Client(f"http://{host.address}:3200", cluster.credentials) as client:
        assert client.get(BUCKET, "after7").body == b"x" * 300_000
    told = cluster.command("node", "decommission", host.name)
    assert "done" in told.stdout
    assert until(lambda: chunks_of(host) == [], READING_S + 60)  # what the load had deleted stays a little for those who read it
    with cluster.client() as client:
        for number in range(20):
            assert client.get(BUCKET, f"after{number}").body == b"x" * 300_000
    host.kill()


def until(check: Callable[[], bool], seconds: float = 15.0, *, pause_s: float = 0.3) -> bool:
    """Whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
    return True


@LONG
def test_an_operator_locks_configures_and_looks(cluster: ClusterProcesses) -> None:
    services = cluster.status()
    assert Counter(each["kind"] for each in services if each["place"]) == {"rawx": 9, "meta": 3, "conscience": 3, "gateway": 2}
    volume = next(str(each["id"]) for each in services if each["kind"] == "rawx")

    def seen() -> dict[str, object]:
        return next(each for each in cluster.status(host=2) if each["id"] == volume)

    cluster.command("cluster", "lock", volume)
    assert until(lambda: seen()["place"] == 0)
    assert (seen()["locked"], seen()["reason"]) == (True, "locked by an operator")
    cluster.hosts[0].service("conscience").kill()
    cluster.hosts[0].service("conscience").start()
    assert until(lambda: seen()["place"] == 0 and bool(seen()["locked"]))
    cluster.command("cluster", "unlock", volume)
    assert until(lambda: bool(seen()["place"]))

    refused = cluster.command("config", "set", "policy", "EC123", check=False)
    assert (refused.returncode, "needs 15 volumes" in refused.stderr) == (2, True)
    assert "no storage policy" in cluster.command("config", "set", "policy", "EC99", check=False).stderr
    cluster.command("config", "set", "classes.STANDARD", "THREECOPIES", host=3)
    assert 'STANDARD = "THREECOPIES"' in cluster.command("config", "get").stdout

    def three_copies() -> bool:
        before = {path.name for host in cluster.hosts for path in chunks_of(host)}
        with cluster.client() as client:
            assert client.put(BUCKET, "copies", os.urandom(300_000)).status == 200
        new = [path for host in cluster.hosts for path in chunks_of(host) if path.name not in before]
        return [path.stat().st_size for path in new if path.stat().st_size > 10_000] == [300_000] * 3

    assert until(three_copies)
    cluster.command("config", "set", "classes.STANDARD", "")
    editor = cluster.folder / "editor"
    editor.write_text("#!/bin/sh\necho '[pools.default]\ndistance_wished = 2' >> \"$1\"\n")
    editor.chmod(0o700)
    cluster.command("config", "edit", variables={"EDITOR": str(editor)})
    assert cluster.command("config", "get", "pools.default.distance_wished").stdout.strip() == "2"
    cluster.command("config", "set", "pools.default", "")
    status = [json.loads(line) for line in cluster.command("--json", "status", check=False).stdout.splitlines()]
    assert [each["large"] for each in status if each["type"] == "policy"] == ["EC63"]
    assert BUCKET in [each["bucket"] for each in status if each["type"] == "bucket"]
    told = [json.loads(line) for line in cluster.command("--json", "doctor", check=False).stdout.splitlines()]
    found = {each["check"]: each["level"] for each in told if each["type"] == "finding"}
    assert {found[name] for name in ("node", "key", "conscience", "settings")} == {"ok"}


def test_a_quota_set_on_one_host_holds_for_all_gateways_and_is_seen_on_another(cluster: ClusterProcesses) -> None:
    bucket = "narrow"

    def told(*arguments: str, host: int) -> tuple[int | None, ...]:
        (line,) = cluster.command("--json", "bucket", "quota", bucket, *arguments, host=host).stdout.splitlines()
        return tuple(json.loads(line)[name] for name in ("quota", "used", "left"))

    def codes(key: str) -> set[str]:
        """What each gateway answers to a PUT, "" for done."""
        found = set()
        for host in cluster.hosts[:2]:
            with Client(f"http://{host.address}:3200", cluster.credentials) as client:
                found.add(client.put(bucket, key, b"x" * 600).code)
        return found

    with cluster.client() as client:
        client.make_bucket(bucket)
    assert codes("a") == {""}
    assert told("1000", host=1) == (1000, 600, 400)
    assert codes("b") == {"QuotaExceeded"}
    assert codes("a") == {""}
    assert told(host=2) == (1000, 600, 400)
    assert told("none", host=3) == (None, 600, None)
    assert codes("b") == {""}


def leaders(cluster: ClusterProcesses) -> set[str]:
    """The hosts that lead metadata."""
    lines = cluster.command("--json", "cluster", "status", check=False).stdout.splitlines()
    found = [record for line in lines if (record := json.loads(line))["type"] == "election" and record["election"].startswith("set-")]
    return {host.name for host in cluster.hosts for each in found if each["address"].startswith(f"{host.address}:")}


@LONG
def test_a_drained_host_takes_nothing_new_and_leads_nothing(cluster: ClusterProcesses) -> None:
    host = cluster.hosts[2]
    cluster.command("node", "drain", host.name)
    try:
        assert until(lambda: all(not each["place"] for each in cluster.status() if host.address in str(each["address"])))
        before = len(chunks_of(host))
        with cluster.client() as client:
            for number in range(12):
                assert client.put(BUCKET, f"drained{number}", b"d" * 200_000).status == 200
        assert len(chunks_of(host)) <= before
        assert until(lambda: host.name not in leaders(cluster))
    finally:
        cluster.command("cluster", "unlock", host.name)
    assert until(lambda: all(each["place"] for each in cluster.status() if host.address in str(each["address"])))


@LONG
def test_a_drained_gateway_is_passed_over_while_another_is_there_and_no_request_fails(cluster: ClusterProcesses) -> None:
    first, second = cluster.hosts[:2]
    with cluster.client() as client:

        def served() -> bool:
            assert client.put(BUCKET, "passed over", b"p" * 100).status == 200
            return True

        try:
            cluster.command("node", "drain", first.name)
            assert until(lambda: served() and first.health() == (503, "draining: an operator locked it\n"))
            assert second.health() == (200, "ok\n")
            cluster.command("node", "drain", second.name)
            assert until(lambda: served() and first.health()[0] == second.health()[0] == 200)
        finally:
            for host in (first, second):
                cluster.command("cluster", "unlock", host.name)
        assert until(lambda: served() and first.health() == second.health() == (200, "ok\n"))
