"""What is known of one disk."""

from __future__ import annotations

import pytest

from glacier.drive import REST_S, Drive, Notes
from node.errors import DiskFailed


def test_a_disk_that_did_not_come_up_is_not_tried_for_a_while_whatever_becomes_of_the_clock() -> None:
    drive = Drive(1, 0, Notes())
    now_us = 10**15
    drive.failed("no answer", now_us)
    with pytest.raises(DiskFailed, match="tried again in 600 s"):
        drive.admit_start(now_us)
    assert drive.report(now_us).rest_ms == REST_S * 1000
    drive.admit_start(now_us + round(REST_S * 1e6))
    a_day_before = now_us - 86_400 * 10**6
    drive.admit_start(a_day_before)
    assert drive.report(a_day_before).rest_ms == 0
