"""What changed, in lines: only what changed, once, and at the first look only what is wrong."""

from __future__ import annotations

import msgspec

from tests.support.dashboard import BUSY, CLUSTER
from tui.journal import EVENTS_KEPT, Journal
from tui.snapshot import DiskState, ElectionView, JobView, Level, VolumeView


def texts(journal: Journal) -> list[str]:
    return [each.text for each in journal.events]


def test_the_first_look_tells_what_is_wrong_and_a_second_nothing_new() -> None:
    journal = Journal()
    for _ in range(2):
        journal.look(7)
        journal.services(CLUSTER.services)
        journal.elections(CLUSTER.elections)
        journal.jobs(CLUSTER.jobs)
        journal.boards(CLUSTER.boards[:1])
    assert texts(journal) == [
        "rawx dc1.r2.host2.disk1: locked by an operator",
        "conscience dc1.r3.host3: no word for 12 s",
        "meta dc1.r3.host3.meta: no word for 12 s",
        "rawx dc1.r3.host3.disk1: no word for 12 s",
        "gateway dc1.r3.host3: no word for 12 s",
        "board host1-a, disk 41: did not come up within 30 s",
    ]
    assert {each.at_us for each in journal.events} == {7}


def test_services_come_go_and_fall_silent() -> None:
    journal, (first, second, *_) = Journal(), CLUSTER.services
    journal.services([first])
    journal.services([first, second])
    journal.services([msgspec.structs.replace(first, placing=0, reason="its disk is full"), second])
    journal.services([first])
    assert texts(journal) == [
        "meta dc1.r1.host1.meta: serves",
        "conscience dc1.r1.host1: its disk is full",
        "service meta-1a4f is not known any more",
        "conscience dc1.r1.host1: serves again",
    ]


def test_leaders_jobs_volumes_and_disks_are_followed() -> None:
    journal = Journal()
    journal.elections([ElectionView("set-1", "a", 0, ())])
    journal.elections([ElectionView("set-1", "b", 0, ())])
    journal.elections([ElectionView("set-1", "", 0, ())])
    journal.jobs([])
    journal.jobs([JobView(10, "scrub-meta deep=1", "failed", "", message="no base")])
    journal.volumes([VolumeView("v", 1, 1, "sick", Level.BAD)])
    journal.volumes([VolumeView("v", 1, 1)])
    journal.boards(BUSY.boards)
    mended = [msgspec.structs.replace(disk, state=DiskState.OFF) for disk in BUSY.boards[0].disks]
    journal.boards([msgspec.structs.replace(BUSY.boards[0], disks=tuple(mended))])
    assert texts(journal) == [
        "b leads set-1 now",
        "nobody leads set-1",
        "job 10 (scrub-meta) is failed: no base",
        "volume v: sick",
        "volume v: healthy again",
        "board icebox-1, disk 41: did not come up within 30 s",
        "board icebox-1, disk 41 is well again",
    ]


def test_the_oldest_lines_go_first() -> None:
    journal = Journal()
    for number in range(EVENTS_KEPT + 5):
        journal.volumes([VolumeView("v", 1, 1, f"trouble {number}")])
    assert len(journal.events) == EVENTS_KEPT
    assert journal.events[0].text.endswith("trouble 5")
