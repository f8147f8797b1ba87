"""What `frazil freezer` says when the freezer refuses."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cli.commands.freezer import _switch_off
from cli.exit import Exit, Hinted
from node.errors import Busy, DiskFailed, FrazilError


class Refusing:
    def __init__(self, error: FrazilError) -> None:
        self._error = error

    async def power_off(self, disk: int) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "hint", "code"),
    [
        (Busy("disk 3 is used by 2 transfers"), "frazil glacier power off 3", Exit.TEMPORARY),
        (DiskFailed("disk 3 can't be switched off: it has power still"), "frazil freezer power clean", Exit.FAILED),
    ],
)
async def test_a_disk_that_is_not_switched_off_says_what_to_do(error: FrazilError, hint: str, code: Exit) -> None:
    with pytest.raises(Hinted, match="disk 3") as refused:
        await _switch_off(cast(Any, None), cast(Any, Refusing(error)), 3)
    assert hint in refused.value.hint
    assert refused.value.exit == code
