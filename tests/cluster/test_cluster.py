"""A cluster of three hosts: clients through HAProxy, the loss of services and hosts, hosts that come, commands."""

from __future__ import annotations

import random
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import ClusterProcesses, Host
from tests.support.load import Load, Mix
from tests.support.oracle import ClientLog, Kind, Outcome, judge

BUCKET = "cluster"
MIB = 1 << 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterProcesses]:
    folder = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    try:
        with ClusterProcesses(folder) as running:
            with running.client() as client:
                client.make_bucket(BUCKET)
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
        load.wait_for(load.operations + 60, timeout_s=40)
        rawx.start()
        load.wait_for(load.operations + 30, timeout_s=30)
        rawx.send(signal.SIGSTOP)
        load.wait_for(load.operations + 60, timeout_s=40)
        rawx.send(signal.SIGCONT)
        load.wait_for(load.operations + 30, timeout_s=30)
        host.kill()
        load.wait_for(load.operations + 60, timeout_s=40)
        host.start()
        cluster.wait_settled()
        load.wait_for(load.operations + 30, timeout_s=30)
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


def test_an_added_host_takes_load_at_once_and_is_emptied_by_a_command(cluster: ClusterProcesses) -> None:
    host = cluster.add_host(gateway=False)
    cluster.wait_settled()
    with cluster.client() as client:
        for number in range(20):
            assert client.put(BUCKET, f"after{number}", b"x" * 300_000).status == 200
    there = chunks_of(host)
    assert len(there) >= 20
    told = cluster.command("node", "decommission", host.name)
    assert "done" in told.stdout
    assert chunks_of(host) == []
    with cluster.client() as client:
        for number in range(20):
            assert client.get(BUCKET, f"after{number}").body == b"x" * 300_000
    host.kill()
