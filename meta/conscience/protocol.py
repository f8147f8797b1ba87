"""What agents and conscience say to each other.

    POST /conscience/1/report      msgpack Report      answers Heard
    GET  /conscience/1/services                        answers Listing

Every call is proved (node/auth.py).
"""

from __future__ import annotations

import msgspec

API = b"/conscience/1/"
REPORT = API + b"report"
SERVICES = API + b"services"
KINDS = ("rawx", "meta", "gateway", "conscience", "freezer", "worker")
SERVICES_MAX = 100_000
REPORT_BYTES_MAX = 1 << 20
LISTING_BYTES_MAX = 64 << 20


class Registration(msgspec.Struct, frozen=True, omit_defaults=True):
    """One service as its own process tells it.

    id          for ever: a volume's id, else one made at the service's first start
    host        where it runs, for people;  address: "host:port" as others reach it;  location: dc.room.rack.host.disk
    statistics  percentages, 100 = idle, empty, quick, without errors of late: cpu, io, space, sync, trust; and latency_ms, of synced writes
    problem     why it can't serve, "" when it can
    metrics     where Prometheus' GET /metrics is answered, "host:port"; "" = nowhere
    worker      of a volume whose chunks may go to a board: the address of the worker that sees to it
    site        of a worker, and of a volume that has one: the data centre of the boards
    peer        of a meta service: its name among the peers that share bases
    log         where it tells the last lines of its log (node/logbook.py), "host:port"; "" = nowhere
    """

    id: str
    kind: str
    address: str
    host: str = ""
    location: str = ""
    slots: tuple[str, ...] = ()
    statistics: dict[str, float] = {}
    problem: str = ""
    draining: bool = False
    worker: str = ""
    peer: str = ""
    metrics: str = ""
    log: str = ""
    site: str = ""


class Report(msgspec.Struct, frozen=True):
    services: tuple[Registration, ...]


class Lock(msgspec.Struct, frozen=True, omit_defaults=True):
    """An operator's word against the expressions. None: not locked. gone: it is lost for good, nobody needs to wait for it."""

    place: int | None = None
    read: int | None = None
    gone: bool = False


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """A service as the conscience sees it.

    place, read   its scores for taking new things and for being read: 0 (avoid) to 100 (best)
    reason        why a score is 0, "" when none is
    silent_s      since its last report
    gone          an operator has given it up
    """

    registration: Registration
    place: int = 0
    read: int = 0
    reason: str = ""
    silent_s: float = 0.0
    locked: bool = False
    gone: bool = False

    @property
    def id(self) -> str:
        return self.registration.id


class Heard(msgspec.Struct, frozen=True):
    """now_us: the instance's date."""

    now_us: int


class Listing(msgspec.Struct, frozen=True):
    """age_s: since this instance began; a young one doesn't know all yet."""

    services: tuple[Service, ...]
    age_s: float
