"""The cold tier from end to end: `make demo-cold`, in a hurry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.colddemo import Demo, Plan
from tests.support.need import need_programs, need_root


@pytest.mark.root
def test_objects_are_frozen_by_a_rule_restored_read_and_cold_again_on_a_board_that_keeps_its_budget(scratch: Path, scale: float) -> None:
    need_root()
    need_programs("losetup", "mount", "mkfs.ext4", "e2fsck")
    told: list[str] = []
    plan = Plan(objects=int(16 * scale), restored=5, spin_up_s=0.3, day_s=5.0, patience_s=120.0)
    Demo(scratch, plan, told.append).run()
    assert told[-1].startswith("done")
