"""A whole cluster in network namespaces, under a mixed load, while everything goes wrong that can: no acknowledged write is lost, nothing
stale or contradictory is read, replicas are equal afterwards, no request waits longer than ANSWERED_S_MAX, and all without a command.

To add a fault: write the function, name it in the table at the end.
"""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import SCALE
from tests.support.cluster import ClusterProcesses, Host, Service, cut_off
from tests.support.need import need_programs, need_root
from tests.support.network import META_PORT, ZOOKEEPER_PORTS, lossy, one_way, reset, without_calls, without_ports
from tests.support.oracle import ClientLog
from tests.support.survival import BEYOND_S, Fault, Scene, scene
from tests.support.zookeeper import ZooKeeperServer

LONG = pytest.mark.skipif(SCALE <= 1, reason="a minute each: FRAZIL_TEST_SCALE=2")
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
DAY_S = 86_400
OFF_S = 45.0
PASSED_OVER_S_MAX = 30.0
"""SILENCE_S and CUT_OFF_S of cli/cluster/health.py, and as much again."""
KILLS = 12 if SCALE > 1 else 2


@pytest.fixture(scope="module")
def namespaced() -> Iterator[ClusterProcesses]:
    need_root()
    need_programs("ip", "nft")
    folder = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    try:
        with ClusterProcesses(folder, namespaces=True, zookeepers=3) as cluster:
            yield cluster
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# Processes


def kill_whatever_there_is(scene: Scene) -> None:
    """kill -9 of a process of any kind, ZooKeeper's too, one after the other; each is started again a moment later."""
    for _ in range(KILLS):
        everything: list[Service | ZooKeeperServer] = [*scene.processes(), *scene.cluster.zookeepers]
        victim = scene.rng.choice(everything)
        scene.notes.append(victim.name if isinstance(victim, Service) else "zookeeper")
        if isinstance(victim, ZooKeeperServer):
            victim.stop()
        else:
            victim.kill()
        scene.busy_for(scene.rng.uniform(0.5, 3))
        victim.start()
        scene.busy_for(scene.rng.uniform(0.5, 3))


def stop_the_leader_beyond_its_session(scene: Scene) -> None:
    leader = scene.leader().service("meta")
    leader.send(signal.SIGSTOP)
    scene.busy_for(BEYOND_S)
    leader.send(signal.SIGCONT)


def stop_some_and_release_them_in_another_order(scene: Scene) -> None:
    """Swizzle-clogging; a majority of each kind goes on."""
    host = scene.rng.choice(scene.hosts)
    victims = [*host.services, scene.rng.choice([each for each in scene.processes() if each.role == "rawx"])]
    for order in (signal.SIGSTOP, signal.SIGCONT):
        scene.rng.shuffle(victims)
        for service in victims:
            service.send(order)
            scene.busy_for(scene.rng.uniform(0.2, 2))


def restart_everything_one_after_the_other(scene: Scene) -> None:
    since_ns = time.monotonic_ns()
    for role in ("meta", "rawx", "gateway", "conscience"):
        for service in [each for each in scene.processes() if each.role == role]:
            service.stop()
            service.start()
            scene.busy_for(2)
    for server in scene.cluster.zookeepers:
        server.stop()
        scene.busy_for(1)
        server.start()
        server.wait_ready()
        scene.busy_for(2)
    assert scene.failed(since_ns) == [], scene.cluster.errors()


def lose_a_host(scene: Scene) -> None:
    """The power of a host goes, and its network with it."""
    host = scene.rng.choice(scene.hosts)
    server = scene.cluster.zookeepers[host.number - 1]
    with cut_off(host):
        host.kill()
        server.stop()
        scene.busy_for(BEYOND_S)
    server.start()
    host.start()


def a_host_stays_off(scene: Scene) -> None:
    """The leader's: its power and its network are gone for longer than anybody waits. After some seconds the others serve all there is."""
    host = scene.leader()
    server = scene.cluster.zookeepers[host.number - 1]
    with cut_off(host):
        host.kill()
        server.stop()
        scene.notes.append(f"served without it after {scene.wait_served():.1f} s")
        since_ns = time.monotonic_ns()
        scene.busy_for(OFF_S)
        assert scene.failed(since_ns) == [], scene.cluster.errors()
    server.start()
    host.start()


# ZooKeeper


def isolate_the_leader_of_zookeeper(scene: Scene) -> None:
    """What runs on its host still talks to it, and to all the others."""
    server = next(server for server in scene.cluster.zookeepers if server.mode() == "leader")
    with without_ports(host_of(scene, server), ZOOKEEPER_PORTS):
        scene.busy_for(BEYOND_S + 2)


def zookeeper_away_for_half_a_minute(scene: Scene) -> None:
    for server in scene.cluster.zookeepers:
        server.stop()
    scene.busy_for(30)
    for server in scene.cluster.zookeepers:
        server.start()
    for server in scene.cluster.zookeepers:
        server.wait_ready()


def zookeeper_loses_everything(scene: Scene) -> None:
    """Its servers are set up anew, empty; everything else runs on, but for a host that was off meanwhile."""
    host = scene.rng.choice(scene.hosts)
    host.kill()
    for server in scene.cluster.zookeepers:
        server.stop()
    for server in scene.cluster.zookeepers:
        server.wipe()
        server.start()
    for server in scene.cluster.zookeepers:
        server.wait_ready()
    host.start()


def host_of(scene: Scene, server: ZooKeeperServer) -> Host:
    return next(host for host in scene.hosts if host.address == server.host)


# The network


def nothing_gets_from_the_leader_to_a_follower(scene: Scene) -> None:
    leader = scene.leader()
    follower = scene.rng.choice([host for host in scene.hosts if host is not leader])
    with one_way(leader, follower):
        scene.busy_for(BEYOND_S)


def nothing_gets_from_a_follower_to_the_leader(scene: Scene) -> None:
    leader = scene.leader()
    follower = scene.rng.choice([host for host in scene.hosts if host is not leader])
    with one_way(follower, leader):
        scene.busy_for(BEYOND_S)


def the_leader_hears_nobody(scene: Scene) -> None:
    """What it says gets through, to ZooKeeper too."""
    leader = scene.leader()
    with ExitStack() as stack:
        for host in scene.hosts:
            if host is not leader:
                stack.enter_context(one_way(host, leader))
        scene.busy_for(BEYOND_S)


def a_tenth_of_all_packets_is_lost(scene: Scene) -> None:
    with lossy(scene.hosts, 10):
        scene.busy_for(15)


def half_of_all_packets_is_lost(scene: Scene) -> None:
    with lossy(scene.hosts, 50):
        scene.busy_for(20)


def connections_between_leader_and_follower_are_reset(scene: Scene) -> None:
    leader = scene.leader()
    follower = scene.rng.choice([host for host in scene.hosts if host is not leader])
    with reset(leader, follower):
        scene.busy_for(5)


def a_gateway_is_cut_off_from_the_metadata(scene: Scene) -> None:
    """Clients reach it as before. Once it has itself passed over, no request fails."""
    leader = scene.leader()
    host = next(host for host in scene.hosts[:2] if host is not leader)
    with without_calls(host, META_PORT):
        begin_s = time.monotonic()
        while host.health()[0] != 503:
            assert time.monotonic() - begin_s < PASSED_OVER_S_MAX, scene.cluster.errors()
            scene.busy_for(0.5)
        scene.notes.append(f"passed over after {time.monotonic() - begin_s:.0f} s: {host.health()[1].strip()}")
        scene.busy_for(3)
        since_ns = time.monotonic_ns()
        scene.busy_for(10)
        assert scene.failed(since_ns) == [], scene.cluster.errors()
    scene.busy_for(5)
    assert host.health() == (200, "ok\n")


# Clocks


def clock_a_day_ahead(scene: Scene) -> None:
    _with_another_clock(scene, DAY_S)


def clock_a_day_behind(scene: Scene) -> None:
    _with_another_clock(scene, -DAY_S)


def _with_another_clock(scene: Scene, seconds: int) -> None:
    """On one host, which leads afterwards as well as before."""
    need_programs("faketime")
    host = scene.leader()
    other = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    for variables in (other, {}):
        for service in host.services:
            service.stop()
            service.variables = variables
            service.start()
        scene.busy_for(BEYOND_S)


QUICK: tuple[Fault, ...] = (kill_whatever_there_is, stop_the_leader_beyond_its_session)
ALL: tuple[Fault, ...] = (
    *QUICK,
    stop_some_and_release_them_in_another_order,
    restart_everything_one_after_the_other,
    lose_a_host,
    a_host_stays_off,
    isolate_the_leader_of_zookeeper,
    zookeeper_away_for_half_a_minute,
    zookeeper_loses_everything,
    nothing_gets_from_the_leader_to_a_follower,
    nothing_gets_from_a_follower_to_the_leader,
    the_leader_hears_nobody,
    a_tenth_of_all_packets_is_lost,
    half_of_all_packets_is_lost,
    connections_between_leader_and_follower_are_reset,
    a_gateway_is_cut_off_from_the_metadata,
    clock_a_day_ahead,
    clock_a_day_behind,
)


def bucket_of(fault: Fault) -> str:
    return fault.__name__.replace("_", "-")[:63]


@LONG
@pytest.mark.root
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", ALL)
def test_nothing_is_lost_or_contradicted_when(namespaced: ClusterProcesses, log: ClientLog, seed: str, fault: Fault) -> None:
    with scene(namespaced, bucket_of(fault), log, seed) as played:
        fault(played)
    namespaced.wait_settled()


@pytest.mark.parametrize("fault", QUICK)
def test_nothing_is_lost_or_contradicted_on_the_loopback_when(
    shared_cluster: ClusterProcesses, log: ClientLog, seed: str, fault: Fault
) -> None:
    with scene(shared_cluster, f"quick-{bucket_of(fault)}", log, seed) as played:
        fault(played)
    shared_cluster.wait_settled()
