"""A cluster of three hosts: clients through HAProxy, the loss of services and hosts, hosts that come, commands."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import ClusterProcesses

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
