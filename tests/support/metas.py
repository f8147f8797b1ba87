"""Meta services as processes, on a real ZooKeeper."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from meta.cluster.routing import RoutedMeta
from meta.coordinator import Coordinator
from meta.zookeeper import open_zookeeper
from node.clock import SystemClock
from node.http.client import Client
from tests.support.meta_peer import KEY
from tests.support.zookeeper import free_ports

LOG_SHOWN = 4_000
ROOT = Path(__file__).parents[2]


class MetaPeer:
    """before: stands in front of the command line, as `nsenter --net=FILE` does."""

    def __init__(self, folder: Path, arguments: Sequence[str], *, before: Sequence[str] = ()) -> None:
        self.folder = folder
        self._before = list(before)
        self._arguments = list(arguments)
        self.process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<MetaPeer {self.folder.name} {self.process and self.process.pid}>"

    @property
    def name(self) -> str:
        """As the cluster knows it; once it was started."""
        return (self.folder / "peer").read_text().split()[1]

    @property
    def address(self) -> str:
        return f"{self._arguments[5] if len(self._arguments) > 5 else '127.0.0.1'}:{self._arguments[0]}"

    def start(self) -> None:
        assert self.process is None
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".log").open("ab") as log:
            command = [*self._before, sys.executable, "-m", "tests.support.meta_peer", str(self.folder), *self._arguments]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def log(self) -> str:
        return self.folder.with_suffix(".log").read_text()


@asynccontextmanager
async def meta_peers(
    folder: Path, zookeeper_hosts: str, *, peers: int = 3, replicas: int = 3, session_s: float = 2.0, namespace: str = "test"
) -> AsyncIterator[list[MetaPeer]]:
    made = [
        MetaPeer(folder / f"meta{at}", [str(port), zookeeper_hosts, namespace, str(session_s), str(replicas)])
        for at, port in enumerate(free_ports(peers), 1)
    ]
    try:
        for each in made:
            each.start()
        yield made
    except BaseException:
        for each in made:
            print(f"--- {each}\n{each.log()[-LOG_SHOWN:]}")
        raise
    finally:
        for each in made:
            each.kill()


@asynccontextmanager
async def routed(
    zookeeper_hosts: str, *, namespace: str = "test", patience_s: float = 20.0
) -> AsyncIterator[tuple[RoutedMeta, Coordinator]]:
    async with open_zookeeper(zookeeper_hosts, namespace, key=KEY, clock=SystemClock()) as coordinator:
        async with Client(key=KEY, connections_max=256) as client:
            yield RoutedMeta(coordinator, client, patience_s=patience_s), coordinator


async def finished(peers: Sequence[MetaPeer]) -> None:
    """Ends them in good order."""
    for peer in peers:
        peer.send(signal.SIGTERM)
    for peer in peers:
        assert peer.process is not None
        await trio.to_thread.run_sync(peer.process.wait)
        peer.process = None
