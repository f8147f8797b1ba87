"""A cluster on this machine: hosts with services as processes, ZooKeeper, HAProxy. Hosts are loopback addresses, or network namespaces.

python -m tests.support.cluster        (make cluster) starts one and gives a prompt
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from .certificate import Authority
from .client import Client, Credentials
from .need import need_programs
from .store import COMMAND, StoreError, environment, free_port, is_complaint, told_ready
from .zookeeper import ZooKeeperServer

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
"""Longer than a gateway takes that drains: notice, idle connections, and half a minute for what is in flight."""
SETTLE_S = 30.0
COMMAND_TIMEOUT_S = 120.0 * max(float(os.environ.get("FRAZIL_TEST_SCALE", "1")) / 20, 1)
BRIDGE = f"fz{os.getpid()}"
"""Of this process, as the names of its namespaces and cables: what a killed run leaves behind can be told from what is in use."""
NAMESPACED = f"10.77.{os.getpid() % 250}."
LOOPBACK = f"127.77.{os.getpid() % 250}."
"""Test processes may run side by side, and clusters of one process: each has HOSTS_MAX addresses of its own."""
READING_S = 10.0
"""For which chunks of deleted objects stay: longer than any read of a test takes, and not as long as five minutes."""
HOSTS_MAX = 12
_numbers = itertools.cycle(range(20))
ZOOKEEPER_GONE = "Connection dropped"
"""What kazoo says of each server that it tries; that would hide everything else."""
HAPROXY_TEMPLATE = Path(__file__).parents[2] / "packaging" / "haproxy.cfg"


@dataclass(slots=True)
class Service:
    """One `frazil node run` of a host."""

    host: Host
    role: str
    volume: int | None = None
    variables: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    ready: int = -1

    @property
    def name(self) -> str:
        return f"{self.host.name}-{self.role}{self.volume or ''}"

    @property
    def log(self) -> Path:
        return self.host.folder / f"{self.role}{self.volume or ''}.log"

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Raises: StoreError when it doesn't come up."""
        assert not self.running
        self.ready, told = os.pipe()
        only = ["--only", self.role, *(["--volume", str(self.volume)] if self.volume else [])] if self.role != "all" else []
        command = [*self.host.before, str(COMMAND), "node", "run", str(self.host.file), *only, "--ready-fd", str(told)]
        try:
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(told,),
                    env=environment(self.host.folder, self.variables),
                    start_new_session=True,
                )
        finally:
            os.close(told)
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_s: float = START_TIMEOUT_S) -> None:
        ready, self.ready = self.ready, -1
        try:
            if not told_ready(ready, timeout_s):
                self.kill()
                raise StoreError(f"{self.name} did not come up within {timeout_s} s:\n{self.log_tail()}")
        finally:
            os.close(ready)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """kill -9."""
        if self.running:
            assert self.process is not None
            self.send(signal.SIGKILL)
            self.process.wait(timeout=STOP_TIMEOUT_S)

    def stop(self) -> None:
        """As a service manager does. Raises: StoreError on another exit code than 0."""
        if self.running:
            self.send(signal.SIGTERM)
            self.wait_stopped()

    def wait_stopped(self) -> None:
        """Raises: StoreError."""
        assert self.process is not None
        try:
            code = self.process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise StoreError(f"{self.name} did not stop within {STOP_TIMEOUT_S} s:\n{self.log_tail()}") from None
        if code:
            raise StoreError(f"{self.name} ended with {code}:\n{self.log_tail()}")

    def log_tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def complaints(self) -> list[str]:
        lines = self.log.read_text(errors="replace").splitlines()
        return [line for line in lines if is_complaint(line) and not line.startswith(ZOOKEEPER_GONE)]


@dataclass(frozen=True, slots=True)
class BoardPlan:
    """Loop devices on two buses, for each host. day_s: of lifecycle rules; sites: of the hosts' boards, in order; name: of all boards, "" =
    each its host's."""

    disks: int = 4
    disk_mib: int = 48
    spin_up_s: float = 0.1
    day_s: float = 4.0
    sites: tuple[str, ...] = ()
    name: str = ""


BUSES = 2


def write_board(host: Host, plan: BoardPlan, volumes: Sequence[Path]) -> str:
    """Files of the host's freezer and its workers; what its node's file says of them. The first worker has all volumes but the last."""
    board = host.folder / "board"
    board.mkdir(exist_ok=True)
    buses = ""
    for bus in range(BUSES):
        disks = ", ".join(f"{{ number = {number} }}" for number in range(bus * plan.disks // BUSES, (bus + 1) * plan.disks // BUSES))
        buses += f'[[buses]]\nlisten = "{host.address}:{3310 + bus}"\ndisks = [{disks}]\n'
        mine = volumes[:-1] if bus == 0 else volumes[-1:]
        site = plan.sites[host.number - 1] if plan.sites else ""
        waits = "".join(
            f"[waits.{kind}]\nhold_s = 0.0\npatience_s = 0.0\nbound_s = 60.0\n"
            for kind in ("expedited", "standard", "bulk", "freeze", "delete")
        )
        (board / f"worker{bus}.toml").write_text(
            f"""ledger = "{board}/worker{bus}.db"
freezer = "{host.address}:{3310 + bus}"
bus = {bus}
site = "{site}"
volumes = {json.dumps(list(map(str, mine)))}
disk_bytes = {plan.disk_mib << 20}
spin_up_s = {plan.spin_up_s}
least_s = 0.0
idle_s = 1.0
{waits}"""
        )
    (board / "freezer.toml").write_text(
        f"""name = "{plan.name or host.name}"
state = "{board}/state"
mounts = "{board}/mounts"
hardware = "loop"
spin_up_s = {plan.spin_up_s}
start_s_max = 20.0
loop.directory = "{board}/disks"
loop.disk_bytes = {plan.disk_mib << 20}
{buses}"""
    )
    workers = [f"{board}/worker{bus}.toml" for bus in range(BUSES)]
    return f'[freezer]\nboards = ["{board}/freezer.toml"]\n[worker]\nbuses = {json.dumps(workers)}\n'


def release_disks(folder: Path) -> None:
    """What killed freezers left mounted and attached."""
    for mount in Path("/proc/mounts").read_text().splitlines():
        if mount.split()[1].startswith(f"{folder}/"):
            subprocess.run(["umount", mount.split()[1]], check=False, capture_output=True)
    attached = subprocess.run(
        ["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"], check=False, capture_output=True, text=True
    )
    for line in attached.stdout.splitlines():
        device, _, image = line.strip().partition(" ")
        if image.strip().startswith(f"{folder}/"):
            subprocess.run(["losetup", "--detach", device], check=False, capture_output=True)


@dataclass(slots=True)
class Host:
    """before: what stands in front of a command that runs there."""

    number: int
    address: str
    folder: Path
    before: list[str] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"host{self.number}"

    @property
    def cable(self) -> str:
        """Name of its network namespace, where it has one, and of the cable to it. 15 characters at the most."""
        return f"{BRIDGE}-{self.number}"

    @property
    def file(self) -> Path:
        return self.folder / "node.toml"

    def service(self, role: str) -> Service:
        return next(each for each in self.services if each.role == role)

    def health(self) -> tuple[int, str]:
        """Of its gateway, as a balancer sees it."""
        connection = http.client.HTTPConnection(self.address, 3201, timeout=5)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def kill(self) -> None:
        """All its processes at once, as when the power goes."""
        for service in self.services:
            if service.running:
                service.send(signal.SIGKILL)
        for service in self.services:
            service.kill()

    def start(self) -> None:
        for service in self.services:
            if not service.running:
                service.start(wait=False)
        for service in self.services:
            if service.ready >= 0:
                service.wait_ready()


class ClusterProcesses:
    """Three ZooKeeper servers, and hosts of which each has a conscience, a meta service, volumes; gateways on the first two."""

    def __init__(
        self,
        folder: Path,
        *,
        hosts: int = 3,
        volumes: int = 3,
        namespaces: bool = False,
        together: bool = False,
        metas: int = 3,
        zookeepers: int = 1,
        variables: Mapping[int, Mapping[str, str]] | None = None,
        board: BoardPlan | None = None,
        tls: bool = False,
    ) -> None:
        """board: what each host has; namespaces: each host in a network namespace (root); together: one process for all of its services;
        variables: environment of a host's processes, by its number; tls: what they speak with each other."""
        need_programs("java", "haproxy")
        self.folder = folder
        self.volumes = volumes
        self.metas = metas
        self.namespaces = namespaces
        self.together = together
        self.board = board
        self.authority = Authority(folder) if tls else None
        self.hosts: list[Host] = []
        self.credentials = Credentials("", "")
        self._variables = variables or {}
        self._stack = ExitStack()
        self._proxy: subprocess.Popen[bytes] | None = None
        self._before_first = 10 if namespaces else 1 + HOSTS_MAX * next(_numbers)
        self.port = free_port()
        """Of HAProxy."""
        self.key = folder / "secret.key"
        self.key.write_text(os.urandom(32).hex() + "\n")
        self.key.chmod(0o600)
        if namespaces:
            self._stack.enter_context(bridge())
        for _ in range(hosts):
            self.add_host(start=False)
        self.zookeepers = self._zookeepers(zookeepers)
        for host in self.hosts:
            self._write_node(host)

    def __enter__(self) -> ClusterProcesses:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self.stop()
        finally:
            self.close()

    # Building

    def add_host(self, *, start: bool = True, gateway: bool | None = None) -> Host:
        """One more; `start`: it runs at once."""
        number = len(self.hosts) + 1
        folder = self.folder / f"host{number}"
        folder.mkdir()
        prefix = NAMESPACED if self.namespaces else LOOPBACK
        host = Host(number, f"{prefix}{self._before_first + number}", folder)
        if self.namespaces:
            self._stack.enter_context(network_namespace(host.cable, host.address))
            host.before = within(host.cable)
        self.hosts.append(host)
        with_gateway = number <= 2 if gateway is None else gateway
        cold = ("freezer", "worker") if self.board else ("", "")
        roles = ["conscience", "meta" if number <= self.metas else "", cold[0], "rawx", cold[1], "gateway" if with_gateway else ""]
        roles = [role for role in roles if role]
        roles = ["all"] if self.together else roles
        host.services = [Service(host, role, None, dict(self._variables.get(number, {}))) for role in roles]
        if start:
            self._write_node(host, gateway=with_gateway)
            host.start()
        return host

    def _write_node(self, host: Host, *, gateway: bool | None = None) -> None:
        disks = [host.folder / f"disk{number}" for number in range(1, self.volumes + 1)]
        with_gateway = host.number <= 2 if gateway is None else gateway
        cold = write_board(host, self.board, disks) if self.board else ""
        tls = self.authority.table(host.name, host.address) if self.authority else ""
        day_s = self.board.day_s if self.board else 86400.0
        host.file.write_text(
            f"""zookeeper = {json.dumps([each.address for each in self.zookeepers])}
key = "{self.key}"
state = "{host.folder}/state"
location = "dc1.room1.rack{host.number}.{host.name}"
address = "{host.address}"
listen = "{host.address}"
conscience.run = true
meta.run = {str(host.number <= self.metas).lower()}
meta.replicas = {self.metas}
meta.metrics = "{host.address}:6101"
rawx.metrics = "{host.address}:6299"
conscience.metrics = "{host.address}:6001"
rawx.volumes = {json.dumps(list(map(str, disks)))}
[gateway]
run = {str(with_gateway).lower()}
listen = "{host.address}:3200"
health = "{host.address}:3201"
lifecycle_day_s = {day_s}
reading_s = {READING_S}
{cold}{tls}"""
        )

    def _zookeepers(self, number: int) -> list[ZooKeeperServer]:
        hosts = self.hosts[:number]
        ensemble = "".join(f"server.{host.number}={host.address}:2888:3888\n" for host in hosts) if number > 1 else ""
        return [
            ZooKeeperServer(host.folder / "zookeeper", host.address, 2181, number=host.number, ensemble=ensemble, before=host.before)
            for host in hosts
        ]

    # Running

    def start(self) -> None:
        for server in self.zookeepers:
            server.start()
        for server in self.zookeepers:
            server.wait_ready()
        for host in self.hosts:
            for service in host.services:
                service.start(wait=False)
        for host in self.hosts:
            for service in host.services:
                service.wait_ready()
        self._start_proxy()
        made = self.command("--json", "key", "create", "admin", "--admin")
        record = next(found for line in made.stdout.splitlines() if "secret_key" in (found := json.loads(line)))
        self.credentials = Credentials(record["access_key"], record["secret_key"])
        self.wait_settled()

    def _start_proxy(self) -> None:
        gateways = [host for host in self.hosts if any(each.role in ("gateway", "all") for each in host.services)][:2]
        lines = [f"    server {host.name} {host.address}:3200 check port 3201" for host in gateways]
        text = HAPROXY_TEMPLATE.read_text()
        begin, end = text.index("    server "), text.rindex("    server ")
        text = text[:begin] + "\n".join(lines) + text[end:][text[end:].index("\n") :]
        text = text.replace("bind :80", f"bind 127.0.0.1:{self.port}").replace("maxconn 20000", "maxconn 1000")
        text = "".join(
            line
            for line in text.splitlines(keepends=True)
            if not line.strip().startswith(("user ", "group ", "log ", "chroot ", "option httplog"))
        )
        path = self.folder / "haproxy.cfg"
        path.write_text(text)
        with (self.folder / "haproxy.log").open("ab") as log:
            self._proxy = subprocess.Popen(["haproxy", "-db", "-f", str(path)], stdout=log, stderr=log)

    def stop(self) -> None:
        """In good order; gateways first."""
        for role in ("gateway", "all", "worker", "rawx", "freezer", "meta", "conscience"):
            running = [each for host in self.hosts for each in host.services if each.role == role and each.running]
            for service in running:
                service.send(signal.SIGTERM)
            for service in running:
                service.wait_stopped()

    def close(self) -> None:
        """At once, whatever state it is in."""
        for host in self.hosts:
            host.kill()
        if self._proxy is not None:
            self._proxy.kill()
            self._proxy.wait()
        for server in self.zookeepers:
            server.stop()
        if self.board is not None:
            release_disks(self.folder)
        self._stack.close()

    # Using

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, timeout_s: float = 60.0) -> Client:
        return Client(self.url, self.credentials, timeout_s)

    def command(
        self,
        *arguments: str,
        host: int = 1,
        check: bool = True,
        timeout_s: float = COMMAND_TIMEOUT_S,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs `frazil ARGUMENTS` on a host of the cluster."""
        place = self.hosts[host - 1]
        done = subprocess.run(
            [*place.before, str(COMMAND), *arguments, "--store", str(place.file)],
            env=environment(self.folder, variables),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise StoreError(f"frazil {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}{done.stdout[-500:]}")
        return done

    def status(self, host: int = 1) -> list[dict[str, object]]:
        """All services as `frazil cluster status` tells them."""
        lines = self.command("--json", "cluster", "status", host=host, check=False).stdout.splitlines()
        return [record for line in lines if (record := json.loads(line))["type"] == "service"]

    def errors(self) -> str:
        """What the services' logs complain of, for the report of a failed test."""
        found = [f"{service.name}: {line}" for host in self.hosts for service in host.services for line in service.complaints()]
        return "\n".join(found[-40:])

    def wait_settled(self, seconds: float = SETTLE_S) -> None:
        """Until every service that runs is known and usable. Raises: StoreError."""
        running = [host for host in self.hosts if any(each.running and each.role in ("rawx", "all") for each in host.services)]
        expected = len(running) * self.volumes
        deadline = time.monotonic() + seconds
        while True:
            found = [each for each in self.status() if each["kind"] == "rawx" and each["place"]]
            if len(found) >= expected:
                return
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{len(found)} of {expected} volumes take chunks:\n{self.command('cluster', 'status', check=False).stdout}"
                )
            time.sleep(0.5)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextmanager
def bridge() -> Iterator[None]:
    """A switch for the hosts, with this machine on it."""
    need_programs("ip")
    _sweep()
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        _run("ip", "addr", "add", f"{NAMESPACED}1/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        yield
    finally:
        _run("ip", "link", "delete", BRIDGE)


def _sweep() -> None:
    """Removes switches and namespaces of processes that are gone."""
    for kind in ("netns", "link"):
        told = subprocess.run(["ip", "-o", kind, "show"], check=True, capture_output=True, text=True).stdout
        for name, process in set(re.findall(r"\b(fz(\d+)(?:-\w+)?)\b", told)):
            if not Path(f"/proc/{process}").exists():
                subprocess.run(["ip", kind, "delete", name], check=False, capture_output=True)


@contextmanager
def network_namespace(name: str, address: str) -> Iterator[None]:
    """A host's network: its own interfaces, plugged into the switch by one cable, which has the namespace's name on this side."""
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "link", "set", name, "master", BRIDGE, "up")
        _run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        _run("ip", "-n", name, "link", "set", "eth0", "up")
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        _run("ip", "netns", "delete", name)


def within(namespace: str) -> list[str]:
    """What stands in front of a command that shall run in that network.

    `ip netns exec` would give it copies of all mounts of this machine too: who unmounts one then waits for its server, or for its disk,
    as long as the command runs.
    """
    return ["nsenter", f"--net=/run/netns/{namespace}"]


@contextmanager
def cut_off(host: Host) -> Iterator[None]:
    """The host's cable is pulled: nothing gets out or in, and nobody is told."""
    _run("ip", "link", "set", host.cable, "down")
    try:
        yield
    finally:
        _run("ip", "link", "set", host.cable, "up")


def play(folder: Path, arguments: Sequence[str]) -> None:
    """A cluster and a shell in which `frazil` and `aws` find it."""
    namespaces = os.geteuid() == 0 and "--loopback" not in arguments
    print(f"starting three hosts {'in network namespaces' if namespaces else 'on the loopback'} under {folder} ...", flush=True)
    with ClusterProcesses(folder, namespaces=namespaces, zookeepers=3) as cluster:
        first = cluster.hosts[0].file
        variables = {
            "FRAZIL_STORE": str(first),
            "AWS_ENDPOINT_URL": cluster.url,
            "AWS_ACCESS_KEY_ID": cluster.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": cluster.credentials.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
        }
        print(cluster.command("cluster", "status").stdout)
        print(f"S3 is served at {cluster.url} by two gateways behind HAProxy. Try:")
        print(
            "  frazil cluster status; frazil mb s3://photos; frazil put FILE s3://photos/key; aws s3 ls; frazil config get; frazil doctor"
        )
        print(f"Logs: {folder}/host*/*.log. Leave the shell to end the cluster.", flush=True)
        subprocess.run([os.environ.get("SHELL", "/bin/bash")], env=os.environ | variables, check=False)


if __name__ == "__main__":
    import sys
    import tempfile

    place = Path(tempfile.mkdtemp(prefix="frazil-cluster-"))
    try:
        play(place, sys.argv[1:])
    finally:
        shutil.rmtree(place, ignore_errors=True)
