"""What `frazil status` says of a volume."""

from __future__ import annotations

import pytest

from cli.commands.status import _show_volume
from cli.output import Output
from rawx.protocol import VolumeStat


@pytest.mark.parametrize("retired", [False, True])
def test_a_volume_that_is_emptied_is_told_to_take_nothing_new(capsys: pytest.CaptureFixture[str], retired: bool) -> None:
    assert not _show_volume(Output(), VolumeStat("v", 100, 50, 9, retired=retired), "/d")
    assert ("healthy, takes nothing new (decommissioned)" in capsys.readouterr().out) == retired
