"""What doctor says of cold disks."""

from __future__ import annotations

import msgspec

from cli.boards import board_findings
from glacier.worker.protocol import DiskStatus, Status

DISKS = [DiskStatus(number, 100, 10, 1, "", "", {}) for number in range(4)]
BUS = Status("icebox", 0, True, "resting", [], DISKS, {}, {}, 3, 0)


def levels(status: Status) -> list[tuple[str, str, str]]:
    return [(finding.level, finding.subject, finding.text) for finding in board_findings([status])]


def test_a_bus_with_which_all_is_well_is_one_line() -> None:
    assert levels(BUS) == [("ok", "bus icebox/0", "4 disks, none has trouble")]


def test_each_trouble_is_named_with_its_next_step() -> None:
    dead = msgspec.structs.replace(DISKS[2], problem="no answer within 60 s", rest_s=540.0)
    bus = msgspec.structs.replace(BUS, connected=False, disks=[*DISKS[:2], dead, DISKS[3]], lost=1)
    assert levels(bus) == [
        ("failure", "bus icebox/0", "the freezer does not answer"),
        ("warning", "bus icebox/0, disk 2", "no answer within 60 s, tried again in 9 min"),
        ("warning", "bus icebox/0", "1 chunk lost"),
    ]
    assert all(finding.hint for finding in board_findings([bus]))
