"""Boards and queue from what workers tell."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from glacier.worker.protocol import DiskStatus, QueuedJob, Status
from tui.cold import Meters, disk_view, named, waiting_view
from tui.snapshot import DiskState
from tui.text import bytes_of

IDLE = DiskStatus(3, 1000, 250, 2, "", "", {})
BUS = Status("icebox", 0, True, "resting", ["v"], [IDLE], {}, {}, 5, 0)


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, DiskState.OFF, ""),
        ({"state": "rising", "ready_s": 9.0}, DiskState.SPINNING_UP, ""),
        ({"powered": True, "state": "on"}, DiskState.ON, ""),
        ({"powered": True, "state": "on", "errors": 1, "last_error": "EIO"}, DiskState.ON, "last error: EIO"),
        ({"powered": True, "state": "on", "doing": "freeze", "waiting": {"freeze": 2}}, DiskState.BUSY, "freeze, 2 freeze wait"),
        (
            {"state": "failed", "problem": "it did not come up", "rest_s": 600.0},
            DiskState.FAILED,
            "it did not come up, tried again in 10 min",
        ),
        ({"problem": "it is lost"}, DiskState.FAILED, "it is lost"),
        ({"closed": "emptying"}, DiskState.OFF, "emptying"),
    ],
)
def test_what_a_disk_does_is_told(changes: dict[str, Any], state: DiskState, words: str) -> None:
    view = disk_view(BUS, msgspec.structs.replace(IDLE, cycles=7, powered_s=90, **changes))
    assert (view.number, view.bus, view.state, view.doing) == (3, 0, state, words)
    assert (view.bytes_total, view.bytes_used, view.cycles, view.powered_s) == (1000, 250, 7, 90)
    assert view.until_s == changes.get("ready_s", 0.0)


def test_buses_of_one_board_are_one_board() -> None:
    other = msgspec.structs.replace(BUS, bus=1, disks=[msgspec.structs.replace(IDLE, disk=1)], connected=False, doing="no answer")
    (board,) = Meters().boards(0.0, [BUS, other])
    assert [disk.number for disk in board.disks] == [1, 3]
    assert "bus 1 does not answer" in board.trouble


def test_boards_of_one_name_in_several_places_are_told_apart() -> None:
    near, far = (msgspec.structs.replace(BUS, place=place) for place in ("host1", "host2"))
    other = msgspec.structs.replace(BUS, board="frost", place="host2")
    assert [each.board for each in named([near, far, other])] == ["icebox@host1", "icebox@host2", "frost"]
    boards = Meters().boards(0.0, named([near, far, other]))
    assert [(board.name, len(board.disks)) for board in boards] == [("frost", 1), ("icebox@host1", 1), ("icebox@host2", 1)]
    assert named([near, msgspec.structs.replace(near, bus=1)]) == [near, msgspec.structs.replace(near, bus=1)]


@pytest.mark.parametrize(("text", "size"), [("0", 0), ("64k", 65536), (" 10 MiB ", 10 << 20), ("1GB", 1 << 30)])
def test_bytes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert bytes_of(text) == size


@pytest.mark.parametrize("text", ["", "-1", "ten", "1.5M", "1e6", "9" * 13])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number of bytes"):
        bytes_of(text)


def test_power_ons_and_energy_add_up_from_the_first_look_on() -> None:
    meters = Meters()
    on = [msgspec.structs.replace(IDLE, powered=True, state="on")]
    for at_s, power_ons in ((0.0, 5), (1800.0, 9), (3600.0, 9), (5400.0, 12)):
        (board,) = meters.boards(at_s, [msgspec.structs.replace(BUS, disks=on, power_ons=power_ons)])
    assert board.power_ons == 7
    assert board.watt_hours == pytest.approx(9.0)


def test_a_waiting_job_says_what_holds_it_up() -> None:
    job = QueuedJob(7, "expedited", 3, "v", "chunk", 10, 1_000_000)
    view = waiting_view(BUS, job, 61_000_000)
    assert (view.kind, view.priority, view.age_s, view.disk, view.state) == ("thaw", "Expedited", 60.0, "icebox/3", "waits")
    assert [waiting_view(BUS, msgspec.structs.replace(job, wait_s=wait_s), 0).due_s for wait_s in (-1.0, 0.0, 70.0)] == [-1.0, 1.0, 70.0]
    failed = waiting_view(BUS, msgspec.structs.replace(job, kind="freeze", tries=2, problem="checksum"), 0)
    assert (failed.kind, failed.priority, failed.state) == ("freeze", "-", "failed 2 times: checksum")
