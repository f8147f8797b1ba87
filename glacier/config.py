"""The configuration of a freezer, one TOML file; glacier/freezer.toml is the commented sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from glacier.freezer import Pace
from glacier.power import Budget, Layout
from node.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DiskConfig:
    """A disk's place on the board; loop devices need the number only."""

    number: int
    line: str = ""
    device: Path = Path()
    label: str = ""


@dataclass(frozen=True, slots=True)
class BusConfig:
    """listen: HOST:PORT or unix:PATH for this bus."""

    listen: str
    disks: tuple[DiskConfig, ...]


@dataclass(frozen=True, slots=True)
class GpioConfig:
    chip: str = "/dev/gpiochip0"
    active_low: bool = False
    rescan: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class LoopConfig:
    directory: Path = Path("/var/lib/frazil/board")
    disk_bytes: int = 1 << 30

    def __post_init__(self) -> None:
        if self.disk_bytes < 8 << 20:
            raise ValueError("disk_bytes is at least 8388608: less holds no file system with a journal")


@dataclass(frozen=True, slots=True)
class FreezerConfig:
    """See glacier/freezer.toml for what each means."""

    name: str = "board"
    namespace: str = ""
    key: Path = Path("/etc/frazil/secret.key")
    state: Path = Path("/var/lib/frazil/freezer")
    mounts: Path = Path("/run/frazil/freezer")
    hardware: Literal["gpio", "loop"] = "gpio"
    bus_powered_max: int = 1
    board_powered_max: int = 2
    spin_up_s: float = 15.0
    start_s_max: float = 60.0
    tls_cert: str = ""
    tls_key: str = ""
    metrics: str = ""
    gpio: GpioConfig = field(default_factory=GpioConfig)
    loop: LoopConfig = field(default_factory=LoopConfig)
    buses: tuple[BusConfig, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.spin_up_s < self.start_s_max:
            raise ValueError("spin_up_s is less than start_s_max, after which a disk has failed")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key go together")
        self.budget  # noqa: B018 - refuses impossible ones

    @property
    def budget(self) -> Budget:
        return Budget(self.bus_powered_max, self.board_powered_max)

    @property
    def pace(self) -> Pace:
        return Pace(self.spin_up_s, self.start_s_max)

    @property
    def layout(self) -> Layout:
        """Raises: ConfigError."""
        if not self.buses:
            raise ConfigError("no bus is configured: add a [[buses]] table with listen and disks")
        try:
            return Layout(self.name, tuple(tuple(disk.number for disk in bus.disks) for bus in self.buses))
        except ValueError as error:
            raise ConfigError(f"buses: {error}") from error

    def check(self) -> None:
        """What only a freezer that is to serve needs. Raises: ConfigError."""
        if not self.namespace:
            raise ConfigError("namespace is not set; it stands in store.json of the store")
        disks = [disk for bus in self.buses for disk in bus.disks]
        if self.hardware == "gpio":
            for disk in disks:
                if not disk.line or disk.device == Path():
                    raise ConfigError(f"disk {disk.number} needs a line and a device")
            lines = [disk.line for disk in disks]
            if len(set(lines)) != len(lines):
                raise ConfigError("two disks have the same power line")
