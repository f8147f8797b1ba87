"""What a cluster tells: events to webhooks whatever dies, metrics of each service, and who lags behind whom."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.cluster import ClusterProcesses
from tests.support.receiver import Receiver

BUCKET = "events"
PUTS = 12
CONFIGURATION = (
    b"<NotificationConfiguration><QueueConfiguration><Id>all</Id><Queue>arn:aws:sqs:::hook</Queue>"
    b"<Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>"
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.start()
    yield receiver
    receiver.stop()


def configured(client: Client) -> None:
    """A gateway hears of a new webhook a moment later."""
    until = time.monotonic() + 15
    while client.call("PUT", BUCKET, query=[("notification", "")], body=CONFIGURATION).status != 200:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_each_gateway_tells_its_changes_also_after_its_death(shared_cluster: ClusterProcesses, receiver: Receiver) -> None:
    cluster = shared_cluster
    cluster.command("webhook", "add", "hook", receiver.url)
    gateways = [host.service("gateway") for host in cluster.hosts[:2]]
    clients = [Client(f"http://{each.host.address}:3200", cluster.credentials, 30.0) for each in gateways]
    clients[0].make_bucket(BUCKET)
    for client in clients:
        configured(client)
    receiver.status = 503  # what is answered from here on waits on the gateways' disks
    keys = [(f"{number}-{at}", client) for number in range(PUTS // 2) for at, client in enumerate(clients)]
    for key, client in keys:
        assert client.put(BUCKET, key, b"x").status == 200
    gateways[0].kill()
    receiver.status = 200
    gateways[0].start()
    receiver.wait(lambda: {key for _, key in receiver.names(BUCKET)} >= {key for key, _ in keys}, timeout_s=60)
    (listed,) = [json.loads(line) for line in cluster.command("--json", "webhook", "list").stdout.splitlines()]
    assert (listed["name"], listed["url"]) == ("hook", receiver.url)
    cluster.command("webhook", "remove", "hook", host=2)
    assert cluster.command("webhook", "list").stdout == ""
    for client in clients:
        client.close()


def metrics(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for line in lines if line and line[0] != "#" for name, _, value in [line.rpartition(" ")]}


def total(cluster: ClusterProcesses, port: int, *, having: str) -> float:
    """Of all series in whose names these parts stand, of all hosts that run."""
    parts = having.split("*")
    running = [host for host in cluster.hosts if any(service.running for service in host.services)]
    return sum(
        value for host in running for name, value in metrics(f"{host.address}:{port}").items() if all(part in name for part in parts)
    )


def test_services_tell_how_they_are(shared_cluster: ClusterProcesses) -> None:
    cluster = shared_cluster
    watched = {
        (6101, 'frazil_meta_request_seconds_count{*operation="put"*code="200"'),
        (6101, 'frazil_meta_request_seconds_count{*operation="append"'),
        (6101, "frazil_meta_commit_seconds_count"),
        (6299, "frazil_rawx_request_seconds_count"),
        (6001, "frazil_conscience_request_seconds_count"),
    }
    before = {each: total(cluster, each[0], having=each[1]) for each in watched}
    assert total(cluster, 6101, having="frazil_meta_elections_total") >= 3
    names = {name for host in cluster.hosts[:3] for name in metrics(f"{host.address}:6101")}
    assert any(name.startswith("frazil_meta_quorum_failures_total{") for name in names)
    assert any(name.startswith("frazil_meta_replication_lag_entries{") for name in names)
    with cluster.client() as client:
        client.make_bucket("measured")
        for number in range(8):
            assert client.put("measured", f"k{number}", b"x" * 5_000).status == 200
    still = {each for each in watched if total(cluster, each[0], having=each[1]) <= before[each]}
    assert not still
    lines = status(cluster)
    sets = [each for each in lines if each["type"] == "election" and each["election"].startswith("set-")]
    assert all(len(each["lag"]) == 2 for each in sets)
    with cluster.client() as client:
        until = time.monotonic() + 30
        while not all(each.get("latency_ms", 0) > 0 and each.get("sync", 0) > 0 for each in volumes(cluster)):
            assert time.monotonic() < until, volumes(cluster)
            assert client.put("measured", f"k{time.monotonic()}", b"x" * 5_000).status == 200  # not every volume got one of the eight


def status(cluster: ClusterProcesses) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cluster.command("--json", "cluster", "status", check=False).stdout.splitlines()]


def volumes(cluster: ClusterProcesses) -> list[dict[str, float]]:
    """The statistics of each rawx service, as announced."""
    return [each["statistics"] for each in status(cluster) if each["type"] == "service" and each["kind"] == "rawx"]
