"""Real ZooKeeper servers from a scratch folder: one alone, or an ensemble whose members can be stopped, cut off and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.need import need_programs

TICK_MS = 250
"""Sessions may be as short as two ticks."""
START_S = 60.0
_LIBRARY = Path("/usr/share/java/zookeeper.jar")
_LOG = """log4j.rootLogger=WARN, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %-5p %m%n
"""


def free_ports(number: int, host: str = "127.0.0.1") -> list[int]:
    sockets = [socket.create_server((host, 0)) for _ in range(number)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class ZooKeeperServer:
    """A member. `before` stands in front of its command line, as `nsenter --net=FILE` does."""

    def __init__(self, folder: Path, host: str, port: int, *, number: int = 0, ensemble: str = "", before: Sequence[str] = ()) -> None:
        self.host, self.port = host, port
        self._folder = folder
        self._before = list(before)
        self._process: subprocess.Popen[bytes] | None = None
        data = folder / "data"
        data.mkdir(parents=True)
        (data / "myid").write_text(f"{number}\n")
        (folder / "log4j.properties").write_text(_LOG)
        (folder / "zoo.cfg").write_text(
            f"tickTime={TICK_MS}\ninitLimit=20\nsyncLimit=8\nmaxSessionTimeout=60000\ndataDir={data}\nclientPort={port}\n"
            f"clientPortAddress={host}\nadmin.enableServer=false\n4lw.commands.whitelist=*\nmaxClientCnxns=0\nforceSync=no\n{ensemble}"
        )

    def __repr__(self) -> str:
        return f"<ZooKeeperServer {self.address} {self.mode() or 'down'}>"

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        assert self._process is None
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._before,
                    *("java", "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.jmx.log4j.disable=true"),
                    f"-Dlog4j.configuration=file:{self._folder}/log4j.properties",
                    *("-cp", f"{self._folder}:{_LIBRARY}", "org.apache.zookeeper.server.quorum.QuorumPeerMain"),
                    str(self._folder / "zoo.cfg"),
                ],
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.mode():
            assert time.monotonic() < deadline, f"ZooKeeper did not start:\n{(self._folder / 'log').read_text()[-2000:]}"
            time.sleep(0.05)

    def mode(self) -> str:
        """standalone, leader, follower; "" while it does not serve."""
        try:
            with socket.create_connection((self.host, self.port), timeout=0.5) as link:
                link.settimeout(0.5)
                link.sendall(b"srvr")
                answer = b"".join(iter(lambda: link.recv(4096), b"")).decode()
        except OSError:
            return ""
        return next((line.split()[1] for line in answer.splitlines() if line.startswith("Mode:")), "")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self) -> None:
        """At once, as a crash."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def wipe(self, copy: Path | None = None) -> None:
        """Everything that it had stored is lost, but what is in the copy. Not while it runs."""
        assert self._process is None
        shutil.rmtree(self._folder / "data" / "version-2", ignore_errors=True)
        if copy is not None:
            shutil.copytree(copy, self._folder / "data" / "version-2")

    def copied(self) -> Path:
        """What it has stored, as a backup. Not while it runs."""
        assert self._process is None
        copy = self._folder / "copy"
        shutil.copytree(self._folder / "data" / "version-2", copy)
        return copy


@contextmanager
def zookeeper(folder: Path, members: int = 1) -> Iterator[list[ZooKeeperServer]]:
    need_programs("java")
    if not _LIBRARY.exists():
        need_programs("zookeeper")
    ports = free_ports(3 * members)
    groups = [ports[3 * at : 3 * at + 3] for at in range(members)]
    ensemble = "".join(f"server.{at}=127.0.0.1:{peer}:{vote}\n" for at, (_, peer, vote) in enumerate(groups, 1)) if members > 1 else ""
    servers = [
        ZooKeeperServer(folder / f"zookeeper{at}", "127.0.0.1", port, number=at, ensemble=ensemble)
        for at, (port, _, _) in enumerate(groups, 1)
    ]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()
        yield servers
    finally:
        for server in servers:
            server.stop()


def hosts(servers: Sequence[ZooKeeperServer]) -> str:
    return ",".join(server.address for server in servers)
