"""The one file of a node: what runs on this host, and where the rest of the namespace is found. packaging/node.toml shows every key."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from glacier.lifecycle.calendar import DAY_US, Calendar
from node.config import load
from node.errors import ConfigError
from s3.call import DOMAINS, REGION
from store.cluster import READING_S
from store.location import LEVELS, PART_CHARACTERS_MAX

ROLES = ("conscience", "meta", "freezer", "rawx", "worker", "gateway")
ZOOKEEPER_PORT = 2181


@dataclass(frozen=True, slots=True)
class RawxConfig:
    """volumes: folders, one per disk; the first is served at `port`, each further one at the next port."""

    volumes: tuple[Path, ...] = ()
    port: int = 6200
    slots: tuple[str, ...] = ()
    metrics: str = ""


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


@dataclass(frozen=True, slots=True)
class MetaConfig:
    """directory: of the bases; "" = STATE/meta. replicas: hosts that have each base, and that a new namespace waits for."""

    run: bool = False
    replicas: int = 3
    directory: str = ""
    port: int = 6100
    metrics: str = ""


@dataclass(frozen=True, slots=True)
class ConscienceConfig:
    run: bool = False
    port: int = 6000
    metrics: str = ""


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
        if self.lifecycle_day_s <= 0:
            raise ValueError("lifecycle_day_s is positive")
        if self.reading_s < 0:
            raise ValueError("reading_s is not negative")

    @property
    def calendar(self) -> Calendar:
        return Calendar(int(self.lifecycle_day_s * 1e6))


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """location  dc.room.rack.host, or only its end; "" = this host's name
    address   as the other hosts reach this one; "" = by the interface that leads to ZooKeeper
    listen    what conscience, meta and rawx are bound to; "" = all addresses of this host
    state     folder for what the node keeps for itself
    """

    namespace: str = "frazil"
    zookeeper: tuple[str, ...] = ("127.0.0.1:2181",)
    key: Path = Path("/var/lib/frazil/secret.key")
    state: Path = Path("/var/lib/frazil")
    location: str = ""
    address: str = ""
    listen: str = ""
    conscience: ConscienceConfig = field(default_factory=ConscienceConfig)
    meta: MetaConfig = field(default_factory=MetaConfig)
    freezer: FreezerRole = field(default_factory=FreezerRole)
    rawx: RawxConfig = field(default_factory=RawxConfig)
    worker: WorkerRole = field(default_factory=WorkerRole)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)

    def __post_init__(self) -> None:
        if not self.zookeeper:
            raise ValueError("zookeeper names no server")
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
        return ",".join(each if ":" in each else f"{each}:{ZOOKEEPER_PORT}" for each in self.zookeeper)

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
    return replace(
        config,
        key=base / config.key,
        state=base / config.state,
        freezer=replace(config.freezer, boards=tuple(base / board for board in config.freezer.boards)),
        worker=replace(config.worker, buses=tuple(base / bus for bus in config.worker.buses)),
        rawx=replace(config.rawx, volumes=tuple(base / volume for volume in config.rawx.volumes)),
        meta=replace(config.meta, directory=str(base / config.meta.directory) if config.meta.directory else ""),
    )


def host_port(text: str, what: str) -> tuple[str, int]:
    """Raises: ConfigError."""
    try:
        split = urlsplit(f"//{text}")
        if split.port is None or split.path:
            raise ValueError("no port")
        return split.hostname or "", split.port
    except ValueError as error:
        raise ConfigError(f"{what} is HOST:PORT, not {text!r}") from error
