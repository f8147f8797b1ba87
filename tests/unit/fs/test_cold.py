"""Opening cold objects: who waits for a restore asks for one first, however the last one ended."""

from __future__ import annotations

from typing import cast

import msgspec
import pytest
import trio

from fs.cold import Cold
from fs.connection import Connection
from meta.protocol.object import Attributes, ObjectRow
from meta.protocol.restore import Restore

OVER = Restore(1, "Standard", 1, 1)
LATER_US = 1 << 62


def cold(restore: Restore | None, seq: int) -> ObjectRow:
    attributes = Attributes()
    return ObjectRow(
        "k", 1, size=5, content="c", seq=seq, storage_class="GLACIER", attributes=restore.into(attributes) if restore else attributes
    )


class Store:
    """One object; a restore of it takes a minute. asked: rows of which one was asked for."""

    def __init__(self, row: ObjectRow) -> None:
        self.now = row
        self.asked: list[int] = []
        self.there_s = float("inf")

    async def row(self, bucket: str, key: str) -> ObjectRow:
        await trio.lowlevel.checkpoint()
        if trio.current_time() >= self.there_s:
            self.now = cold(Restore(1, "Standard", 1, LATER_US), self.now.seq + 1)
        return self.now

    async def restore(self, bucket: str, row: ObjectRow, wish: Restore) -> None:
        assert row.seq == self.now.seq, "what is asked about is the object as it is"
        self.asked.append(row.seq)
        self.now = cold(wish, row.seq + 1)
        self.there_s = trio.current_time() + 60


@pytest.mark.parametrize("known", [cold(None, 1), cold(OVER, 1), cold(OVER, 2)])
@pytest.mark.parametrize("now", [cold(None, 2), cold(OVER, 2)])
async def test_a_read_asks_for_a_restore_whatever_became_of_the_last(
    autojump_clock: trio.testing.MockClock, known: ObjectRow, now: ObjectRow
) -> None:
    store = Store(now)
    with trio.fail_after(600):
        row = await Cold(cast(Connection, store), "restore").readable("b", known)
    assert row == store.now
    assert store.asked == [2]


async def test_what_was_restored_since_it_was_opened_is_read_without_being_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(cold(Restore(1, "Standard", 1, LATER_US), 2))
    assert await Cold(cast(Connection, store), "error").readable("b", cold(None, 1)) == store.now


async def test_a_cold_object_is_an_error_where_nobody_wants_to_wait(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(cold(OVER, 2))
    with pytest.raises(OSError, match="Input/output"):
        await Cold(cast(Connection, store), "error").readable("b", store.now)
    assert not store.asked


async def test_a_restore_that_is_under_way_is_not_asked_for_again(autojump_clock: trio.testing.MockClock) -> None:
    store = Store(cold(msgspec.structs.replace(OVER, until_us=0), 2))
    store.there_s = trio.current_time() + 30
    await Cold(cast(Connection, store), "restore").readable("b", store.now)
    assert not store.asked
