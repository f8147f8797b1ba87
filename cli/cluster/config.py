"""The one file of a node: what runs on this host, and where the rest of the namespace is found. packaging/node.toml shows every key."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from glacier.lifecycle.calendar import DAY_US, Calendar
from node.config import load
from node.errors import ConfigError, InvalidArgument
from node.http.pool import Address
from node.tls import TlsConfig
from s3.defaults import DOMAINS, REGION
from store.holds import READING_S
from store.location import LEVELS, PART_CHARACTERS_MAX

ROLES = ("conscience", "meta", "freezer", "rawx", "worker", "gateway")
ZOOKEEPER_PORT = 2181
PORT_MAX = 65_535


@dataclass(frozen=True, slots=True)
class RawxConfig:
    """volumes: folders, one per disk; the first is served at `port`, each further one at the next port."""

    volumes: tuple[Path, ...] = ()
    port: int = 6200
    slots: tuple[str, ...] = ()
    metrics: str = ""

    def __post_init__(self) -> None:
        _check_ports("port", self.port, len(self.volumes))

    @property
    def disks(self) -> tuple[str, ...]:
        """The last part of each volume's location: no two of a host are on one disk."""
        return disk_names(self.volumes)


@dataclass(frozen=True, slots=True)
class FreezerRole:
    """boards: files of the boards that hang on this host (glacier/freezer.toml)."""

    boards: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerRole:
    """buses: files of the workers that keep cold chunks of this host's volumes (glacier/worker/worker.toml); the first listens on `port`,
    each further one on the next."""

    buses: tuple[Path, ...] = ()
    port: int = 6400

    def __post_init__(self) -> None:
        _check_ports("port", self.port, len(self.buses))


@dataclass(frozen=True, slots=True)
class MetaConfig:
    """directory: of the bases; "" = STATE/meta. replicas: hosts that have each base, and that a new namespace waits for."""

    run: bool = False
    replicas: int = 3
    directory: str = ""
    port: int = 6100
    metrics: str = ""

    def __post_init__(self) -> None:
        if self.replicas < 1 or self.replicas % 2 == 0:
            raise ValueError(f"replicas is 1, 3 or 5, not {self.replicas}: more than half of them decide")
        _check_ports("port", self.port)


@dataclass(frozen=True, slots=True)
class ConscienceConfig:
    run: bool = False
    port: int = 6000
    metrics: str = ""

    def __post_init__(self) -> None:
        _check_ports("port", self.port)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """health: where a balancer asks GET /health, and Prometheus GET /metrics; "" = nowhere.

    lifecycle_day_s: a day of rules and of restored copies.
    reading_s: how long chunks of deleted and replaced objects stay for those who are reading them.
    """

    run: bool = False
    listen: str = "0.0.0.0:3200"
    health: str = "0.0.0.0:3201"
    region: str = REGION
    domains: tuple[str, ...] = DOMAINS
    sigv2: bool = False
    allow_ssec_http: bool = False
    tls_cert: str = ""
    tls_key: str = ""
    lifecycle_day_s: float = DAY_US / 1e6
    reading_s: float = READING_S

    def __post_init__(self) -> None:
        if not 0 < self.lifecycle_day_s < math.inf:
            raise ValueError("lifecycle_day_s is a positive number of seconds")
        if not 0 <= self.reading_s < math.inf:
            raise ValueError("reading_s is a number of seconds, not negative")

    @property
    def calendar(self) -> Calendar:
        return Calendar(int(self.lifecycle_day_s * 1e6))


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """location  dc.room.rack.host, or only its end; "" = this host's name
    address   as the other hosts reach this one; "" = by the interface that leads to ZooKeeper
    listen    what conscience, meta and rawx are bound to; "" = all addresses of this host
    state     folder for what the node keeps for itself
    tls       between the hosts; what clients speak with a gateway is the gateway's
    """

    namespace: str = "frazil"
    zookeeper: tuple[str, ...] = ("127.0.0.1:2181",)
    key: Path = Path("/var/lib/frazil/secret.key")
    state: Path = Path("/var/lib/frazil")
    location: str = ""
    address: str = ""
    listen: str = ""
    tls: TlsConfig = field(default_factory=TlsConfig)
    conscience: ConscienceConfig = field(default_factory=ConscienceConfig)
    meta: MetaConfig = field(default_factory=MetaConfig)
    freezer: FreezerRole = field(default_factory=FreezerRole)
    rawx: RawxConfig = field(default_factory=RawxConfig)
    worker: WorkerRole = field(default_factory=WorkerRole)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)

    def __post_init__(self) -> None:
        if not self.zookeeper:
            raise ValueError("zookeeper names no server")
        for each in self.zookeeper:
            _zookeeper(each)
        if self.address:
            _check_address(self.address)
        parts = self.location.split(".")
        if len(parts) >= len(LEVELS) or any(len(part) > PART_CHARACTERS_MAX for part in parts):
            raise ValueError(f"location is {'.'.join(LEVELS[:-1])}, not {self.location!r}")

    @property
    def roles(self) -> tuple[str, ...]:
        """What is to run here, in the order of the start."""
        wanted = {
            "conscience": self.conscience.run,
            "meta": self.meta.run,
            "freezer": bool(self.freezer.boards),
            "rawx": bool(self.rawx.volumes),
            "worker": bool(self.worker.buses),
            "gateway": self.gateway.run,
        }
        return tuple(role for role in ROLES if wanted[role])

    @property
    def hosts(self) -> str:
        """As ZooKeeper's client takes them."""
        return ",".join(map(_zookeeper, self.zookeeper))

    @property
    def place(self) -> str:
        """The location of this host."""
        return self.location or socket.gethostname().replace(".", "-")[:PART_CHARACTERS_MAX]

    @property
    def meta_directory(self) -> Path:
        return Path(self.meta.directory) if self.meta.directory else self.state / "meta"

    def reached_at(self) -> str:
        """The address of this host for the others. Raises: ConfigError when no way leads to ZooKeeper."""
        if self.address:
            return self.address
        host, _, port = self.hosts.partition(",")[0].rpartition(":")
        try:
            family, _, _, _, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.connect(address)  # sends nothing; the kernel chooses the interface
                found = str(probe.getsockname()[0])
        except (OSError, ValueError) as error:
            raise ConfigError(f"this host's address can't be found ({error}): set `address`") from error
        return f"[{found}]" if ":" in found else found


def load_node(path: Path) -> NodeConfig:
    """Relative paths in it are the file's neighbours. Raises: ConfigError."""
    config = load(NodeConfig, path)
    base = path.absolute().parent
    volumes = [os.path.normpath(base / volume) for volume in config.rawx.volumes]
    if twice := next((each for each in volumes if volumes.count(each) > 1), None):
        raise ConfigError(f"{path}: rawx.volumes names {twice} twice")
    return replace(
        config,
        key=base / config.key,
        state=base / config.state,
        tls=config.tls.beside(base),
        freezer=replace(config.freezer, boards=tuple(base / board for board in config.freezer.boards)),
        worker=replace(config.worker, buses=tuple(base / bus for bus in config.worker.buses)),
        rawx=replace(config.rawx, volumes=tuple(base / volume for volume in config.rawx.volumes)),
        meta=replace(config.meta, directory=str(base / config.meta.directory) if config.meta.directory else ""),
    )


def disk_names(volumes: Sequence[Path]) -> tuple[str, ...]:
    """Of different folders: their last part, with as many before it as tell them apart ("disk1-frazil" of /srv/disk1/frazil)."""
    for depth in range(1, max((len(each.parts) for each in volumes), default=0) + 1):
        names = tuple("-".join(each.parts[-depth:]).replace(".", "-").lstrip("/-")[-PART_CHARACTERS_MAX:] for each in volumes)
        if len(set(names)) == len(volumes):
            return names
    return tuple(f"disk{number}" for number in range(1, len(volumes) + 1))


def _check_ports(what: str, first: int, count: int = 1) -> None:
    """Raises: ValueError."""
    if not 1 <= first <= PORT_MAX + 1 - max(count, 1):
        raise ValueError(f"{what} is 1 to {PORT_MAX}, and each further part has the next one; not {first}")


def _check_address(text: str) -> None:
    """Raises: ValueError."""
    try:
        Address.parse(f"{text}:1")
    except InvalidArgument as error:
        raise ValueError(f"address is a name or an IP address without a port, IPv6 in brackets; not {text!r}") from error


def _zookeeper(text: str) -> str:
    """HOST:PORT of a server. Raises: ValueError."""
    try:
        split = urlsplit(f"//{text}")
        port = ZOOKEEPER_PORT if split.port is None else split.port
    except ValueError as error:
        raise ValueError(f"zookeeper names HOST:PORT, not {text!r}") from error
    if not split.hostname or split.netloc != text:
        raise ValueError(f"zookeeper names HOST:PORT, not {text!r}")
    return text if split.port is not None else f"{text}:{port}"


def host_port(text: str, what: str) -> tuple[str, int]:
    """Raises: ConfigError."""
    try:
        split = urlsplit(f"//{text}")
        if split.port is None or split.path:
            raise ValueError("no port")
        return split.hostname or "", split.port
    except ValueError as error:
        raise ConfigError(f"{what} is HOST:PORT, not {text!r}") from error
