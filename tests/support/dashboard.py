"""A day in the life of a store, as a dashboard sees it: fixed values that fill every page."""

from __future__ import annotations

import msgspec

from glacier.worker.protocol import DiskStatus, QueuedJob, Status
from tui.cold import Meters, named, waiting_view
from tui.journal import Journal
from tui.snapshot import (
    BoardView,
    BucketView,
    DiskState,
    DiskView,
    ElectionView,
    EventView,
    HostView,
    JobView,
    Level,
    ServiceView,
    Snapshot,
    Traffic,
    VolumeView,
    WaitingView,
)

TIB = 1 << 40
GIB = 1 << 30
AT_US = 1_700_000_000_000_000
SPUN_UP, SPINNING, BROKEN = 3, 30, 41


def disk(number: int) -> DiskView:
    bus, used = number // 28, (number * 37 % 80) * TIB // 10
    match number:
        case 3:
            return DiskView(number, bus, DiskState.BUSY, 8 * TIB, used, doing="sends chunk 4f00… of first/film.mkv", cycles=17)
        case 30:
            return DiskView(number, bus, DiskState.SPINNING_UP, 8 * TIB, used, until_s=9.0, cycles=5)
        case 41:
            return DiskView(number, bus, DiskState.FAILED, 8 * TIB, used, doing="did not come up within 30 s", errors=3, cycles=9)
        case _:
            return DiskView(number, bus, DiskState.OFF, 8 * TIB, used, cycles=4)


BUSY = Snapshot(
    AT_US,
    "/srv/frazil",
    True,
    "http://127.0.0.1:3200",
    "FOURCOPIES small, EC63 large",
    volumes=(
        VolumeView("0a11", 4 * TIB, TIB),
        VolumeView("0b22", 4 * TIB, 2 * TIB),
        VolumeView("0c33", 4 * TIB, 100 * GIB, "nearly full", Level.WARNING),
        VolumeView("0d44", 4 * TIB, TIB, "Input/output error while syncing", Level.BAD),
    ),
    buckets=(
        BucketView("archive", "ana", 12_000, 9 * TIB, {"STANDARD": (2_000, TIB), "GLACIER": (10_000, 8 * TIB)}),
        BucketView("photos", "ben", 340_211, 700 * GIB, {"STANDARD": (340_211, 700 * GIB)}),
    ),
    jobs=(
        JobView(7, "rebuild-volume volume=0d44", "running", "4,100 chunks, 2.1 GiB"),
        JobView(6, "rebalance", "paused", "210 chunks, 1.0 GiB; 12 moved", 16 << 20),
        JobView(5, "scrub-meta", "failed", "9 chunks, 1.0 MiB", message="the base of bucket photos is corrupt"),
    ),
    boards=(BoardView("icebox-1", tuple(map(disk, range(56))), power_ons=12, watt_hours=181.5),),
    waiting=(
        WaitingView("a1", "thaw", "Expedited", "archive/film.mkv", 40 * GIB, 75, 225, "3", "running"),
        WaitingView("a2", "thaw", "Standard", "archive/2019.tar", 8 * GIB, 3_600, 7_200, "30", "waits for its disk"),
        WaitingView("a3", "freeze", "-", "archive/2021.tar", 2 * GIB, 90_000, -1),
    ),
    services=(
        ServiceView("rawx-1", "rawx", "a.1.r1.h1.d1", 87, 91),
        ServiceView("rawx-2", "rawx", "a.1.r1.h2.d1", 0, 0, reason="no word for 12 s"),
        ServiceView("meta-1", "meta", "a.1.r1.h1.d1", 0, 95, locked=True),
    ),
    elections=(
        ElectionView("0", "meta-1", 4_294_967_301, ("meta-1", "meta-2", "meta-3")),
        ElectionView("1", "", 0, ("meta-1", "meta-2")),
    ),
    events=(
        EventView(AT_US - 60_000_000, Level.GOOD, "job 7 (rebuild-volume) is running"),
        EventView(AT_US, Level.BAD, "volume 0d44: sick"),
    ),
    traffic=Traffic({"GetObject": 812.4, "PutObject": 31.0}, 0.4, 55e6, 0.0011, 0.021, 140 << 20, 1.22),
    findings=3,
    pending=12,
)


def _services() -> tuple[ServiceView, ...]:
    """Three hosts; the third one's are lost, a volume of the second is locked."""
    found = []
    for number in (1, 2, 3):
        host, away = f"dc1.r{number}.host{number}", number == 3
        reason = "no word for 12 s" if away else ""
        for kind, place in (("conscience", host), ("meta", f"{host}.meta"), ("rawx", f"{host}.disk1"), ("gateway", host)):
            locked = (kind, number) == ("rawx", 2)
            scores = (0, 0) if away else (0 if locked else 80 + number, 90)
            found.append(ServiceView(f"{kind}-{number}a4f", kind, place, *scores, locked, "locked" if locked else reason, host))
    return tuple(found)


CLUSTER = Snapshot(
    AT_US,
    "namespace frazil",
    True,
    "2 gateways",
    volumes=(
        VolumeView("host1.disk1 0a11cd", 4 * TIB, TIB, host="dc1.r1.host1"),
        VolumeView("host2.disk1 0b22ef", 4 * TIB, 2 * TIB, host="dc1.r2.host2"),
        VolumeView("host3.disk1 0c33ab", 0, 0, "no word for 12 s", Level.BAD, "dc1.r3.host3"),
    ),
    buckets=BUSY.buckets,
    jobs=BUSY.jobs,
    boards=(
        BoardView("host1-a", tuple(map(disk, range(56))), power_ons=12, watt_hours=181.5),
        BoardView("host2-a", tuple(disk(number) for number in range(56) if number not in (3, 30, 41)), power_ons=1),
        BoardView("host3-a", tuple(disk(number) for number in range(4, 28)), trouble="the freezer of bus 0 does not answer"),
    ),
    waiting=BUSY.waiting,
    services=_services(),
    elections=(
        ElectionView("caretaker", "gateway-1a4f", 0, ("gateway-1a4f", "gateway-2a4f")),
        ElectionView("set-1", "meta-1a4f", 4_294_967_301, ("meta-1a4f", "meta-2a4f", "meta-3a4f"), 12),
        ElectionView("set-2", "", 0, ("meta-2a4f", "meta-3a4f", "meta-1a4f")),
    ),
    events=(EventView(AT_US, Level.BAD, "rawx dc1.r3.host3.disk1: no word for 12 s"),),
    traffic=BUSY.traffic,
    hosts=(
        HostView("dc1.r1.host1", 4, 4, ("rawx", "meta", "gateway", "conscience"), 4 * TIB, TIB, 31.0),
        HostView("dc1.r2.host2", 4, 4, ("rawx", "meta", "gateway"), 4 * TIB, 2 * TIB, 12.0, "1 locked", Level.WARNING),
        HostView("dc1.r3.host3", 0, 4, ("rawx", "meta", "gateway"), 0, 0, 0.0, "nothing answers", Level.BAD),
    ),
    troubles=("the metadata does not answer",),
)
"""Three hosts, of which one is lost."""


def _disks(bus: int, changes: dict[int, dict[str, object]]) -> list[DiskStatus]:
    """Those of a bus as its worker tells them, all alike but for the changes."""
    found = []
    for number in range(bus * 28, bus * 28 + 28):
        quiet = DiskStatus(number, 8 * TIB, (number * 37 % 80) * TIB // 10, 1_000 * (number % 5), "", "", {}, cycles=4, powered_s=7_200)
        found.append(msgspec.structs.replace(quiet, **changes.get(number, {})))
    return found


def sick_board(changes: dict[int, dict[str, object]], doing: tuple[str, str], waiting: tuple[QueuedJob, ...] = ()) -> Snapshot:
    """A store with one board, some of whose disks are as the changes say, from what the two workers tell to what is shown.

    doing: of the two buses
    """
    statuses = [Status("icebox-1", bus, True, doing[bus], [], _disks(bus, changes), {}, {}, 31, 0, place="icebox-1.lan") for bus in (0, 1)]
    boards = Meters().boards(0.0, named(statuses))
    journal = Journal()
    journal.look(AT_US)
    journal.boards(boards)
    return msgspec.structs.replace(
        BUSY,
        volumes=BUSY.volumes[:2],
        jobs=(),
        services=(),
        elections=(),
        findings=0,
        boards=boards,
        waiting=tuple(waiting_view(statuses[job.disk // 28], job, AT_US) for job in waiting),
        events=tuple(journal.events),
    )


NOT_UP = sick_board(
    {
        3: {"powered": True, "state": "on", "doing": "standard", "waiting": {"standard": 2}},
        30: {
            "state": "failed",
            "problem": "disk 30 did not come up: no answer within 60 s",
            "rest_s": 560.0,
            "errors": 1,
            "cycles": 5,
            "waiting": {"standard": 1},
        },
        31: {"state": "rising", "ready_s": 9.0, "waiting": {"freeze": 12}},
    },
    ("standard on disk 3", "powering disk 31 on"),
    (
        QueuedJob(1, "standard", 3, "v1", "4f00a1b2c3d4e5f60718293a4b5c6d7e", 10 << 20, AT_US - 20_000_000),
        QueuedJob(2, "standard", 30, "v2", "5f00a1b2c3d4e5f60718293a4b5c6d7e", 10 << 20, AT_US - 90_000_000),
        QueuedJob(3, "freeze", 31, "v2", "6f00a1b2c3d4e5f60718293a4b5c6d7e", 10 << 20, AT_US - 9_000_000_000),
    ),
)
"""Disk 30 did not spin up: its thaw waits or comes from elsewhere, its freezes went to disk 31."""

BROKEN_AT_WORK = sick_board(
    {
        3: {
            "problem": "disk 3: reading chunk 4f00a1b2c3d4e5f60718293a4b5c6d7e: Input/output error",
            "rest_s": 600.0,
            "errors": 4,
            "cycles": 17,
            "last_error": "reading chunk 4f00a1b2c3d4e5f60718293a4b5c6d7e: Input/output error",
            "waiting": {"standard": 3},
        },
        4: {"note": "its file system is damaged: Inode 12 has illegal blocks."},
    },
    ("resting", "resting"),
    (
        QueuedJob(
            1,
            "standard",
            3,
            "v1",
            "4f00a1b2c3d4e5f60718293a4b5c6d7e",
            10 << 20,
            AT_US - 200_000_000,
            3,
            "disk 3: reading chunk 4f00a1b2c3d4e5f60718293a4b5c6d7e: Input/output error",
        ),
    ),
)
"""Disk 3 failed three jobs in a row; somebody has had the file system of disk 4 checked."""
