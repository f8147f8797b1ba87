"""The dashboard over a real store."""

from __future__ import annotations

import os
import pty
import time
from collections.abc import Callable

import trio

from cli.commands.top import cluster_opening, local_opening
from cli.estimate import progress
from cli.place import StoreDirectory
from meta.protocol.jobs import Job
from tests.cluster.conftest import StoreMaker
from tests.support.cluster import ClusterProcesses
from tests.support.store import COMMAND, StoreProcess, environment, readable
from tui.local import LocalReader, Serving, local_reader
from tui.snapshot import Snapshot

WAIT_S = 30.0


def look(store: StoreProcess, between: Callable[[], None]) -> tuple[Snapshot, Snapshot]:
    """What the dashboard sees before and after."""

    async def run() -> tuple[Snapshot, Snapshot]:
        async with local_reader(store.directories[0], lambda: Serving(store.url), progress) as reader:
            first = await reader.read()
            await trio.to_thread.run_sync(between)
            return first, await reader.read()

    return trio.run(run)


def test_what_happens_in_all_processes_is_seen(make_store: StoreMaker) -> None:
    store = make_store(volumes=3, options=["--workers", "2"])

    def work() -> None:
        for _ in range(8):  # a connection each: the kernel spreads them over the processes
            with store.client() as client:
                assert client.put("first", "key", b"x" * 1000).status == 200
                assert client.get("first", "key").status == 200

    with store.client() as client:
        client.make_bucket("first")
    before, after = look(store, work)
    assert (before.running, len(before.volumes), before.buckets[0].name) == (True, 3, "first")
    assert after.traffic.requests["PutObject"] > 0
    assert after.traffic.requests["GetObject"] > 0
    assert after.traffic.sent_bytes > 0
    assert after.traffic.slow_s > 0
    assert after.traffic.memory_bytes > 30 << 20
    assert {job.what.split()[0].rstrip(",") for job in after.jobs} >= {"scrub-chunks", "scrub-meta"}


def test_what_has_happened_stays_when_a_reading_was_given_up(make_store: StoreMaker) -> None:
    store = make_store()
    opening = local_opening(StoreDirectory(store.directories[0], "the test"))

    async def run() -> Snapshot:
        async with opening() as reader:
            assert isinstance(reader, LocalReader)
            await reader.read()
            await reader.store.meta.jobs.submit_job(Job("scrub-meta"))
            assert [event.text for event in (await reader.read()).events if "(scrub-meta)" in event.text]
        async with opening() as again:
            return await again.read()

    assert [event.text for event in trio.run(run).events if "(scrub-meta)" in event.text]


def test_it_draws_on_a_terminal_and_leaves_with_q(make_store: StoreMaker) -> None:
    store = make_store()
    child, terminal = pty.fork()
    if child == 0:
        variables = environment(store.scratch, {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"})
        os.execve(COMMAND, [str(COMMAND), "top", "--store", str(store.directories[0])], variables)
    seen, end, asked = b"", time.monotonic() + WAIT_S, False
    while time.monotonic() < end:
        if readable(terminal, 0.2):
            try:
                seen += os.read(terminal, 65536)
            except OSError:  # it has left
                break
        if b"all well" in seen and not asked:
            asked = os.write(terminal, b"q") == 1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"read-only" in seen
    assert str(store.directories[0]).encode() in seen


def test_a_cluster_is_seen_from_any_of_its_hosts_and_a_service_is_locked(shared_cluster: ClusterProcesses) -> None:
    with shared_cluster.client() as client:
        client.make_bucket("watched")

    async def run() -> tuple[Snapshot, Snapshot]:
        async with cluster_opening(StoreDirectory(shared_cluster.hosts[2].file, "the test"))() as reader:
            first = await reader.read()
            await trio.to_thread.run_sync(use)
            puts.append((await reader.read()).traffic.requests["PutObject"])
            (locked,) = [each.name for each in first.services if each.location.endswith("host3.disk1")]
            await reader.lock(locked, locked=True)
            try:
                with trio.fail_after(WAIT_S):
                    second = await reader.read()
                    while not any(each.locked for each in second.services):
                        await trio.sleep(0.5)
                        second = await reader.read()
            finally:
                await reader.lock(locked, locked=False)
            return first, second

    puts: list[float] = []

    def use() -> None:
        for _ in range(4):
            with shared_cluster.client() as client:
                assert client.put("watched", "key", b"x" * 1000).status == 200

    first, second = trio.run(run)
    assert first.troubles == ()
    assert (first.running, first.url, len(first.hosts), len(first.volumes)) == (True, "2 gateways", 3, 9)
    assert all(volume.bytes_total and not volume.trouble for volume in first.volumes)
    assert {each.shard for each in first.elections} >= {"caretaker", "set-1", "set-2", "set-3"}
    assert "watched" in [bucket.name for bucket in first.buckets]
    assert puts[0] > 0
    assert [event.text for event in second.events if "locked by an operator" in event.text]
