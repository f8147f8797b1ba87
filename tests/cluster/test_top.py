"""The dashboard over a real store."""

from __future__ import annotations

import os
import pty
import select
import time
from collections.abc import Callable

import trio

from cli.estimate import progress
from tests.cluster.conftest import StoreMaker
from tests.support.store import COMMAND, StoreProcess, environment
from tui.local import Serving, local_reader
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
    assert {job.what.split()[0] for job in after.jobs} >= {"scrub-chunks", "scrub-meta"}


def test_it_draws_on_a_terminal_and_leaves_with_q(make_store: StoreMaker) -> None:
    store = make_store()
    child, terminal = pty.fork()
    if child == 0:
        variables = environment(store.scratch, {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"})
        os.execve(COMMAND, [str(COMMAND), "top", "--store", str(store.directories[0])], variables)
    seen, end, asked = b"", time.monotonic() + WAIT_S, False
    while time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:  # it has left
                break
        if b"all well" in seen and not asked:
            asked = os.write(terminal, b"q") == 1
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"read-only" in seen
    assert str(store.directories[0]).encode() in seen
