"""What a store with boards does for them in its background, for `Store.hire`."""

from __future__ import annotations

from functools import partial

from glacier.boards import Boards
from glacier.lifecycle.backfill import DUTY, KIND, FreezeTask
from glacier.strays import StraySweep
from store.store import Hired


def upkeep(boards: Boards) -> Hired:
    """Strays are looked for, and what has a cold class but no board yet gets one."""
    return Hired({KIND: partial(FreezeTask, boards=boards)}, {KIND: DUTY}, (partial(StraySweep, boards=boards),))
