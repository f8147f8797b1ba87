"""A cluster whose hosts speak TLS with each other: it serves, and its listeners refuse whom its authority does not know."""

from __future__ import annotations

import ipaddress
import json
import shutil
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from node.auth import NamespaceKey
from node.errors import NotConnected, PeerUnreachable
from node.http.client import Client
from node.logbook import LOG, log_of
from node.tls import TlsConfig, open_tls
from tests.support.certificate import Authority
from tests.support.cluster import ClusterProcesses

BUCKET = "private"
IN_THE_CLEAR = {2181, 3200, 3201, 6001, 6101, 6299}
"""ZooKeeper, S3, and what balancers and Prometheus ask."""
LISTENING = "0A"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterProcesses]:
    folder = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    try:
        with ClusterProcesses(folder, hosts=2, metas=1, tls=True, together=True) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def context_of(authority: Authority, name: str) -> ssl.SSLContext:
    cert, key = authority.sign(name, "127.0.0.1")
    context = open_tls(TlsConfig(str(cert), str(key), str(authority.file)), "127.0.0.1").client
    assert context is not None
    return context


def listeners(cluster: ClusterProcesses) -> list[str]:
    """All that the hosts listen on and that is not for strangers, as the kernel tells it."""
    ours = {host.address for host in cluster.hosts}
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state, *_ = line.split()
        number, _, port = local.partition(":")
        address = str(ipaddress.ip_address(int.from_bytes(bytes.fromhex(number), "little")))
        if state == LISTENING and address in ours and int(port, 16) not in IN_THE_CLEAR:
            found.append(f"{address}:{int(port, 16)}")
    return sorted(found)


def told(cluster: ClusterProcesses, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in cluster.command("--json", *words, check=False).stdout.splitlines()]


def test_it_serves_and_scrubs_and_its_doctor_finds_nothing_wrong_with_it(cluster: ClusterProcesses) -> None:
    data = bytes(range(256)) * 20_000
    with cluster.client() as client:
        client.make_bucket(BUCKET)
        for key, body in (("small", b"small"), ("large", data)):
            assert client.put(BUCKET, key, body).status == 200, cluster.errors()
            assert client.get(BUCKET, key).body == body
        assert client.keys(BUCKET) == ["large", "small"]
    for way in ("meta",):
        (*_, summary) = told(cluster, "scrub", way, "--deep")
        progress = summary["progress"]
        assert isinstance(progress, dict)
        assert progress
        assert not [name for name in progress if name.startswith("problem:")], progress
    findings = [each for each in told(cluster, "doctor") if each.get("check") in ("tls", "certificate", "conscience", "service")]
    assert findings
    assert [each for each in findings if each["level"] == "failure"] == []


async def refused(client: Client, address: str) -> None:
    with pytest.raises(PeerUnreachable):
        await log_of(client, address)


async def test_every_internal_listener_answers_hosts_of_its_authority_and_nobody_else(cluster: ClusterProcesses, tmp_path: Path) -> None:
    assert cluster.authority is not None
    key = NamespaceKey.load(cluster.key)
    stranger = Authority(tmp_path, "stranger")
    believing = context_of(stranger, "believing")
    believing.load_verify_locations(cluster.authority.file)  # so that it comes to the listener to refuse
    uncertified = ssl.create_default_context(cafile=str(cluster.authority.file))
    asked = listeners(cluster)
    assert len(asked) == 2 + 1 + 6 + 2, asked  # conscience, meta, volumes, logs of gateways
    async with (
        Client(key=key, tls=context_of(cluster.authority, "friend")) as friend,
        Client(key=key, tls=believing) as other,
        Client(key=key, tls=uncertified) as nobody,
        Client(key=key) as plain,
    ):
        with trio.fail_after(60):
            for address in asked:
                assert await log_of(friend, address)
                for client in (other, nobody, plain):
                    await refused(client, address)


async def test_a_caller_refuses_listeners_of_another_authority(cluster: ClusterProcesses, tmp_path: Path) -> None:
    conscience = f"{cluster.hosts[0].address}:6000"
    async with Client(tls=context_of(Authority(tmp_path, "stranger"), "x")) as client:
        with pytest.raises(NotConnected, match=r"don't agree on TLS.*certificate verify failed"):
            await client.request("GET", conscience, "/")


async def test_balancers_ask_in_the_clear_and_hear_no_log(cluster: ClusterProcesses) -> None:
    place = f"{cluster.hosts[0].address}:3201"
    async with Client() as client:
        for target, status in (("/health", 200), ("/metrics", 200), (LOG.decode(), 404)):
            async with await client.request("GET", place, target) as answer:
                assert answer.status == status
