"""What a cluster must bear and refuse: a clock a day off, hosts cut off the network, callers without the key."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import trio

from node.auth import NamespaceKey
from node.errors import CallNotAuthenticated, FrazilError, NotFound
from node.http.client import Client as Caller
from node.line import Line
from tests.cluster.test_cluster import failed
from tests.conftest import SCALE
from tests.support.cluster import ClusterProcesses, cut_off
from tests.support.load import Load, Mix
from tests.support.need import need_programs, need_root
from tests.support.oracle import ClientLog, judge

LONG = pytest.mark.skipif(SCALE <= 1, reason="a minute and more: FRAZIL_TEST_SCALE=2")
BUCKET = "faults"
DAY_S = 86_400
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
LISTENERS = (6000, 6100, 6200, 6201, 6202)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@LONG
@pytest.mark.parametrize("days", [1, -1])
def test_a_host_whose_clock_is_a_day_off_serves_as_the_others_do(folder: Path, log: ClientLog, seed: str, days: int) -> None:
    need_programs("faketime")
    skewed = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{days * DAY_S:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with ClusterProcesses(folder, variables={2: skewed}) as cluster:
        with cluster.client() as client:
            client.make_bucket(BUCKET)
            with Load(cluster.client, BUCKET, log, seed, name="skew", mix=Mix(threads=3, keys=20)) as load:
                load.wait_for(80, timeout_s=60)
            assert load.operations >= 30
            for host in cluster.hosts[:2]:  # whichever gateway is asked
                with cluster.client() as direct:
                    direct.url = f"http://{host.address}:3200"
                    assert direct.put(BUCKET, f"by{host.number}", b"now").status == 200
                    told = direct.call("HEAD", BUCKET, f"by{host.number}").headers["last-modified"]
                    assert abs(time.mktime(time.strptime(told, "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone - time.time()) < 60
    assert failed(log) == [], cluster.errors()
    assert judge(log.events).sound


def test_every_internal_listener_refuses_who_has_not_the_key_and_what_was_said_before(folder: Path) -> None:
    with ClusterProcesses(folder, hosts=1, metas=1, together=True) as cluster:
        address, right = cluster.hosts[0].address, NamespaceKey.load(cluster.key)

        async def refused(caller: Caller, port: int) -> FrazilError:
            """There is nothing at "/" for anybody."""
            with pytest.raises(FrazilError) as told:
                async with caller, await caller.request("GET", f"{address}:{port}", "/") as response:
                    await response.raise_for_error()
            return told.value

        async def try_all() -> None:
            for port in LISTENERS:
                assert isinstance(await refused(Caller(key=right), port), NotFound)
                assert isinstance(await refused(Caller(), port), CallNotAuthenticated), "no proof"
                assert isinstance(await refused(Caller(key=NamespaceKey(os.urandom(32))), port), CallNotAuthenticated), "another key"

        trio.run(try_all)
        for port in LISTENERS:
            with closing(Overheard(address, port)) as line, closing(Overheard(address, port)) as other:
                proof = right.sign("GET", b"/", _EMPTY, line.line)
                assert line.say(b"/", proof) == "NotFound"
                assert line.say(b"/", proof) == "CallNotAuthenticated", "said before"
                assert other.say(b"/", proof) == "CallNotAuthenticated", "said on another connection"
                altered = right.sign("GET", b"/other", _EMPTY, line.line)
                assert line.say(b"/", altered) == "CallNotAuthenticated", "altered"
                assert line.say(b"/other", altered) == "NotFound"


_EMPTY = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


class Overheard:
    """A connection on which anybody says what was heard elsewhere."""

    def __init__(self, address: str, port: int) -> None:
        self._http = http.client.HTTPConnection(address, port, timeout=10)
        self.line = Line(self._ask(b"/", {})["detail"].encode())

    def say(self, target: bytes, proof: bytes) -> str:
        return self._ask(target, {"x-frazil-proof": proof.decode()})["code"]

    def _ask(self, target: bytes, headers: dict[str, str]) -> dict[str, str]:
        self._http.request("GET", target.decode(), headers=headers)
        answer: dict[str, str] = json.loads(self._http.getresponse().read())
        return answer

    def close(self) -> None:
        self._http.close()


@LONG
@pytest.mark.root
@pytest.mark.timeout(600)
def test_no_request_fails_while_hosts_are_cut_off_the_network_one_after_the_other(folder: Path, log: ClientLog, seed: str) -> None:
    need_root()
    need_programs("ip")
    with ClusterProcesses(folder, namespaces=True, zookeepers=3) as cluster:
        with cluster.client() as client:
            client.make_bucket(BUCKET)
        with Load(cluster.client, BUCKET, log, seed, name="net", mix=Mix(threads=3, keys=30)) as load:
            load.wait_for(30, timeout_s=30)
            with cut_off(cluster.hosts[2]):
                load.wait_for(load.operations + 40, timeout_s=60)
            cluster.wait_settled()
            load.wait_for(load.operations + 20, timeout_s=30)
            for service in cluster.hosts[2].services:
                service.send(signal.SIGSTOP)
            load.wait_for(load.operations + 40, timeout_s=60)
            for service in cluster.hosts[2].services:
                service.send(signal.SIGCONT)
            load.wait_for(load.operations + 20, timeout_s=30)
    assert failed(log) == [], cluster.errors()
    verdict = judge(log.events)
    assert verdict.sound, verdict.explain()
