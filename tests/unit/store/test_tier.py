from __future__ import annotations

from store.layout import EMPTY
from store.tier import HOT, InPlace, Priority


async def test_without_boards_bytes_stay_and_a_thaw_is_done_at_once() -> None:
    tier = InPlace()
    await tier.freeze(EMPTY)
    await tier.thaw(EMPTY, Priority.BULK, 0)
    await tier.melt(EMPTY)
    assert await tier.states([EMPTY, EMPTY]) == [HOT, HOT]
    assert HOT.readable
