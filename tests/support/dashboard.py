"""A day in the life of a store, as a dashboard sees it: fixed values that fill every page."""

from __future__ import annotations

from tui.snapshot import (
    BoardView,
    BucketView,
    DiskState,
    DiskView,
    ElectionView,
    EventView,
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
    boards=(BoardView("icebox-1", tuple(map(disk, range(56))), power_ons_hour=12, watt_hours=181.5),),
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
