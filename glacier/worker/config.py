"""The configuration of a worker, one TOML file; glacier/worker/worker.toml is the commented sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from glacier.backlog import Kind
from glacier.pace import RATE_BYTES_MIN, Rate
from glacier.schedule import DAY_S, DEFAULT_TERMS, HOUR_S, Rates, Scheduler, Terms
from glacier.worker.core import DISK_BYTES, VERIFY_DAYS, Options
from node.errors import ConfigError

_DEFAULTS = {kind: DEFAULT_TERMS[kind] for kind in (Kind.EXPEDITED, Kind.STANDARD, Kind.BULK, Kind.FREEZE, Kind.DELETE)}


@dataclass(frozen=True, slots=True)
class Wait:
    """See glacier.schedule: how long jobs of a kind wait for company, make no other disk be left, and wait at all."""

    hold_s: float
    patience_s: float
    bound_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.hold_s <= self.patience_s <= self.bound_s:
            raise ValueError("hold_s, patience_s and bound_s grow in this order")


def _wait(kind: Kind) -> Wait:
    terms = _DEFAULTS[kind]
    return Wait(terms.hold_s, terms.patience_s, terms.bound_s)


@dataclass(frozen=True, slots=True)
class Waits:
    expedited: Wait = field(default_factory=lambda: _wait(Kind.EXPEDITED))
    standard: Wait = field(default_factory=lambda: _wait(Kind.STANDARD))
    bulk: Wait = field(default_factory=lambda: _wait(Kind.BULK))
    freeze: Wait = field(default_factory=lambda: _wait(Kind.FREEZE))
    delete: Wait = field(default_factory=lambda: _wait(Kind.DELETE))


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """See glacier/worker/worker.toml for what each means."""

    listen: str = "unix:/run/frazil/worker.sock"
    ledger: Path = Path("/var/lib/frazil/worker.db")
    freezer: str = "127.0.0.1:3310"
    bus: int = 0
    tls_cert: str = ""
    site: str = ""
    rate_bytes: float = 0.0
    namespace: str = ""
    key: Path = Path("/etc/frazil/secret.key")
    volumes: tuple[Path, ...] = ()
    hot_hours: float = 24.0
    verify_days: float = VERIFY_DAYS
    together: int = 1
    disk_bytes: int = DISK_BYTES
    freeze_batch_bytes: float = DEFAULT_TERMS[Kind.FREEZE].batch_bytes
    least_s: float = 60.0
    idle_s: float = 60.0
    spin_up_s: float = 15.0
    metrics: str = ""
    waits: Waits = field(default_factory=Waits)

    def __post_init__(self) -> None:
        if self.together < 1 or self.hot_hours < 0 or self.verify_days <= 0:
            raise ValueError("together is at least 1, hot_hours is not negative, verify_days is positive")
        if self.rate_bytes and self.rate_bytes < RATE_BYTES_MIN:
            raise ValueError(f"rate_bytes is 0 for no limit, or at least {RATE_BYTES_MIN}")

    def check(self) -> None:
        """What only a worker that is to run needs. Raises: ConfigError."""
        if not self.namespace:
            raise ConfigError("namespace is not set; it stands in store.json of the store")
        if not self.volumes:
            raise ConfigError("no volumes are given: the folders whose chunks go to this bus")
        if not self.listen.startswith("unix:") and not self.listen.rpartition(":")[2].isdecimal():
            raise ConfigError(f"listen is {self.listen!r}; a worker listens on unix:PATH or HOST:PORT")

    @property
    def options(self) -> Options:
        verify_s = self.verify_days * DAY_S
        terms = {kind: Terms(wait.hold_s, wait.patience_s, wait.bound_s) for kind, wait in self._waits().items()}
        freeze = terms[Kind.FREEZE]
        terms[Kind.FREEZE] = Terms(freeze.hold_s, freeze.patience_s, freeze.bound_s, self.freeze_batch_bytes)
        terms[Kind.VERIFY] = Terms(verify_s / 4, verify_s / 4, verify_s / 2)
        scheduler = Scheduler(terms, Rates(spin_up_s=self.spin_up_s), self.least_s, self.idle_s)
        return Options(
            self.hot_hours * HOUR_S,
            verify_s,
            self.together,
            self.disk_bytes,
            scheduler=scheduler,
            site=self.site,
            rate=Rate(self.rate_bytes),
        )

    def _waits(self) -> dict[Kind, Wait]:
        waits = self.waits
        return {
            Kind.EXPEDITED: waits.expedited,
            Kind.STANDARD: waits.standard,
            Kind.BULK: waits.bulk,
            Kind.FREEZE: waits.freeze,
            Kind.DELETE: waits.delete,
        }
