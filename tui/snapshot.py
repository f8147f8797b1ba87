"""What the dashboard shows, at one moment: plain values, whoever gathered them."""

from __future__ import annotations

from enum import Enum

import msgspec


class Level(Enum):
    """How much something wants to be looked at."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


class VolumeView(msgspec.Struct, frozen=True):
    """trouble: why it wants to be looked at, "" when healthy; host: whose it is, in a cluster."""

    name: str
    bytes_total: int
    bytes_free: int
    trouble: str = ""
    level: Level = Level.GOOD
    host: str = ""


class HostView(msgspec.Struct, frozen=True):
    """usable: of its services; kinds: of which there are some; busy: percentage of its processors; note: what wants to be looked at."""

    name: str
    usable: int
    services: int
    kinds: tuple[str, ...] = ()
    bytes_total: int = 0
    bytes_free: int = 0
    busy: float = 0.0
    note: str = ""
    level: Level = Level.GOOD


class BucketView(msgspec.Struct, frozen=True):
    """classes: {storage class: (versions, bytes)}."""

    name: str
    account: str
    versions: int
    bytes: int
    classes: dict[str, tuple[int, int]] = {}


class JobView(msgspec.Struct, frozen=True):
    """progress: for people; pace: bytes per second at most, 0 = as fast as it goes."""

    id: int
    what: str
    state: str
    progress: str
    pace: int = 0
    message: str = ""


class DiskState(Enum):
    """Of a disk on a board, as one sees it."""

    OFF = "off"
    SPINNING_UP = "spinning up"
    ON = "on"
    BUSY = "busy"
    FAILED = "failed"
    ABSENT = "absent"


class DiskView(msgspec.Struct, frozen=True):
    """until_s: seconds until it is up; doing: what it does now, or what is wrong; errors, cycles, powered_s: since it was put in;
    note: what came of what an operator asked of it."""

    number: int
    bus: int
    state: DiskState
    bytes_total: int = 0
    bytes_used: int = 0
    until_s: float = 0.0
    doing: str = ""
    errors: int = 0
    cycles: int = 0
    powered_s: int = 0
    note: str = ""


class BusView(msgspec.Struct, frozen=True):
    """doing: its worker's words; site: the data centre, "" = here; rate_bytes: per second at most, 0 = as fast as it goes."""

    number: int
    doing: str = ""
    site: str = ""
    rate_bytes: float = 0.0


class BoardView(msgspec.Struct, frozen=True):
    """name: unique, boards of one name are NAME@PLACE; trouble: what is wrong.

    power_ons, watt_hours: since the dashboard was opened, energy estimated
    """

    name: str
    disks: tuple[DiskView, ...]
    power_ons: int = 0
    watt_hours: float = 0.0
    trouble: str = ""
    buses: tuple[BusView, ...] = ()


class WaitingView(msgspec.Struct, frozen=True):
    """A job of the cold tier that waits or runs. age_s: since it was asked for; due_s: seconds until it should be done, -1 = unknown."""

    id: str
    kind: str
    priority: str
    subject: str
    bytes: int
    age_s: float
    due_s: float = -1.0
    disk: str = ""
    state: str = ""


class ServiceView(msgspec.Struct, frozen=True):
    """scores: for placing and for reading, 0 to 100; reason: why it is 0; host: where it runs."""

    name: str
    kind: str
    location: str
    placing: int
    reading: int
    locked: bool = False
    reason: str = ""
    host: str = ""


class ElectionView(msgspec.Struct, frozen=True):
    """epoch: 0 = not known."""

    shard: str
    leader: str
    epoch: int
    peers: tuple[str, ...]
    lag: int = 0


class EventView(msgspec.Struct, frozen=True):
    """Something worth a line: when, how bad, what."""

    at_us: int
    level: Level
    text: str


class Traffic(msgspec.Struct, frozen=True):
    """Of the last interval. requests: per second by operation; slow_s: what 99 of 100 requests stay below, 0 = none came."""

    requests: dict[str, float] = {}
    errors: float = 0.0
    sent_bytes: float = 0.0
    usual_s: float = 0.0
    slow_s: float = 0.0
    memory_bytes: int = 0
    processors: float = 0.0


class Snapshot(msgspec.Struct, frozen=True):
    """pending: chunks to delete and the like; findings: damaged chunks that wait for repair; hosts: of a cluster; troubles: what could not
    be asked."""

    at_us: int
    name: str
    running: bool
    url: str = ""
    policy: str = ""
    volumes: tuple[VolumeView, ...] = ()
    buckets: tuple[BucketView, ...] = ()
    jobs: tuple[JobView, ...] = ()
    boards: tuple[BoardView, ...] = ()
    waiting: tuple[WaitingView, ...] = ()
    services: tuple[ServiceView, ...] = ()
    elections: tuple[ElectionView, ...] = ()
    events: tuple[EventView, ...] = ()
    traffic: Traffic = Traffic()
    findings: int = 0
    pending: int = 0
    hosts: tuple[HostView, ...] = ()
    troubles: tuple[str, ...] = ()


def alerts(snapshot: Snapshot) -> list[tuple[Level, str]]:
    """What wants to be looked at, the worst first; each says what, where, and what to do."""
    found: list[tuple[Level, str]] = [(Level.WARNING, words) for words in snapshot.troubles]
    if not snapshot.running:
        words = "no gateway serves; see Services" if snapshot.hosts else "the store does not run; start it with `frazil up`"
        found.append((Level.BAD, words))
    away = {host.name for host in snapshot.hosts if not host.usable}
    found += [(Level.BAD, f"host {name}: none of its services answers") for name in sorted(away)]
    found += [
        (volume.level, f"volume {volume.name}: {volume.trouble}")
        for volume in snapshot.volumes
        if volume.trouble and volume.host not in away
    ]
    for board in snapshot.boards:
        if board.trouble:
            found.append((Level.BAD, f"board {board.name}: {board.trouble}"))
        for disk in board.disks:
            if disk.state is DiskState.FAILED:
                found.append((Level.BAD, f"board {board.name}, disk {disk.number}: {disk.doing or 'did not come up'}"))
    found += [
        (Level.BAD if service.reading == 0 else Level.WARNING, f"{service.kind} {service.name}: {service.reason or 'score 0'}")
        for service in snapshot.services
        if service.placing == 0 and not service.locked and service.host not in away and not (snapshot.hosts and service.kind == "rawx")
    ]
    found += [(Level.WARNING, f"{service.kind} {service.name} is locked by an operator") for service in snapshot.services if service.locked]
    found += [(Level.WARNING, f"shard {each.shard} has no leader") for each in snapshot.elections if not each.leader]
    found += [(Level.BAD, f"job {job.id} ({job.what}) failed: {job.message}") for job in snapshot.jobs if job.state == "failed"]
    if snapshot.findings:
        found.append((Level.WARNING, f"{snapshot.findings:,} damaged chunks wait for repair; `frazil job list` shows what is at it"))
    return sorted(found, key=lambda each: each[0] is not Level.BAD)
