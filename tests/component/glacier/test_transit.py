"""Restores against a model: whatever clients ask and however time passes, no bytes are promised that sleep, and every wish comes true."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glacier.lifecycle import transit
from glacier.lifecycle.calendar import REAL
from glacier.lifecycle.news import Silent
from glacier.lifecycle.transit import Transit
from meta.local import open_meta
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import Change, DeleteRequest, ObjectRow
from meta.protocol.restore import COLD_CLASSES, is_readable, restore_of
from node.auth import NamespaceKey
from node.clock import FakeClock
from s3.errors import S3Error
from s3.restore import TIERS, Wish, restored
from store.afterwork import Afterwork
from store.layout import Draft, Layout
from store.policy import SINGLE
from store.tier import Priority
from tests.support.sleeper import Sleeper, name_of

KEYS = ("a", "b", "c")
DAY_S = 24 * 3600
MIDNIGHT_US = DAY_S * 1_000_000

steps = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.sampled_from(("STANDARD", "GLACIER", "DEEP_ARCHIVE"))),
        st.tuples(st.just("move"), st.sampled_from(KEYS), st.sampled_from(("GLACIER", "DEEP_ARCHIVE"))),
        st.tuples(st.just("delete"), st.sampled_from(KEYS)),
        st.tuples(st.just("tag"), st.sampled_from(KEYS)),
        st.tuples(st.just("restore"), st.sampled_from(KEYS), st.integers(1, 3), st.sampled_from(TIERS)),
        st.tuples(st.just("restore"), st.sampled_from(KEYS), st.integers(1, 3), st.sampled_from(TIERS)),
        st.tuples(st.just("wait"), st.sampled_from((1, 3_600, DAY_S, 2 * DAY_S))),
        st.tuples(st.just("wake")),
        st.tuples(st.just("work")),
        st.tuples(st.just("work")),
        st.tuples(st.just("kill")),
    ),
    max_size=40,
)


@dataclass
class Known:
    """What a client knows of an object. state: "" , "ongoing", or when the copy goes."""

    storage_class: str
    state: str | int = ""
    days: int = 0
    tier: str = ""


class World:
    """Objects in a real container, a tier in memory, and what must be so."""

    def __init__(self, meta: Any, clock: FakeClock) -> None:
        self.clock, self.tier = clock, Sleeper()
        self.container = meta.container("b")
        self.context: Any = SimpleNamespace(
            meta=meta, container=meta.container, afterwork=Afterwork(), clock=clock, tier=self.tier, classes={}
        )
        self.known: dict[str, Known] = {}
        self.restart()

    def restart(self) -> None:
        self.transit = Transit(self.context, calendar=REAL, herald=Silent())

    async def do(self, step: tuple[Any, ...]) -> None:
        name, *rest = step
        if name == "put":
            await self.put(*rest)
        elif name == "wait":
            self.clock.advance(rest[0])
            self.tier.doze(self.clock.now_us())
        elif name == "wake":
            self.tier.wake()
        elif name == "work":
            self.context.afterwork.look_for_cold("b")
            await self.transit.work()
        elif name == "kill":
            self.restart()
        elif rest[0] in self.known:
            await getattr(self, name)(*rest)

    async def put(self, key: str, storage_class: str) -> None:
        draft = Draft()
        draft.add(SINGLE, 10, [(0, "00" * 8, os.urandom(16), bytes(16))])
        row = ObjectRow(key, size=10, content=os.urandom(16).hex(), layout=draft.layout().encode(), storage_class=storage_class)
        await self.container.put(row)
        self.known[key] = Known(storage_class)

    async def move(self, key: str, storage_class: str) -> None:
        await self.container.change(Change(key, storage_class=storage_class))
        self.known[key].storage_class = storage_class

    async def delete(self, key: str) -> None:
        await self.container.delete(DeleteRequest(key))
        del self.known[key]

    async def tag(self, key: str) -> None:
        await self.container.change(Change(key, tags={"t": str(self.clock.now_us())}))

    async def restore(self, key: str, days: int, tier: Any) -> None:
        """As the handler does it; what it answers is what the client expected."""
        known, row, now_us = self.known[key], await self.container.get(key), self.clock.now_us()
        self.settle(known, row)
        expected: int | str = 202
        if known.storage_class not in COLD_CLASSES:
            expected = "InvalidObjectState"
        elif known.storage_class == "DEEP_ARCHIVE" and tier == "Expedited":
            expected = "InvalidArgument"
        elif known.state == "ongoing" and TIERS.index(tier) >= TIERS.index(known.tier):  # type: ignore[arg-type]
            expected = "RestoreAlreadyInProgress"
        elif isinstance(known.state, int):
            expected = 200
        try:
            restore, status = restored(row, Wish(days, tier), now_us, REAL)
        except S3Error as error:
            assert error.code == expected
            return
        assert status == expected
        if status == 200:
            await self.tier.thaw(Layout.parse(row.layout), Priority.EXPEDITED, restore.until_us)
            known.state = (now_us // MIDNIGHT_US + days + 1) * MIDNIGHT_US
        elif known.state == "ongoing":
            known.tier = tier
        else:
            known.state, known.days, known.tier = "ongoing", days, tier
        await self.container.change(Change(key, restored=msgspec.to_builtins(restore), expect_seq=row.seq))

    def settle(self, known: Known, row: ObjectRow) -> None:
        """What time and the engine have made of a restore by now."""
        restore = restore_of(row.attributes)
        if known.state == "ongoing" and restore is not None and not restore.ongoing:
            now_us = self.clock.now_us()
            assert restore.until_us % MIDNIGHT_US == 0
            assert restore.until_us <= (now_us // MIDNIGHT_US + known.days + 1) * MIDNIGHT_US
            known.state = restore.until_us
        if isinstance(known.state, int) and known.state <= self.clock.now_us():
            known.state = ""

    async def check(self) -> None:
        for key, known in self.known.items():
            row = await self.container.get(key)
            self.settle(known, row)
            assert row.storage_class == known.storage_class
            readable = is_readable(row, self.clock.now_us())
            assert readable == (known.storage_class not in COLD_CLASSES or isinstance(known.state, int))
            (state,) = await self.tier.states([Layout.parse(row.layout)])
            assert state.readable or not readable, "bytes were promised that sleep"

    async def finish(self) -> None:
        """With a tier that does what it is asked, every wish comes true, and nothing is left to do."""
        for _ in range(4):
            self.tier.wake()
            await self.do(("work",))
        await self.check()
        for key, known in self.known.items():
            assert known.state != "ongoing"
            name = name_of(Layout.parse((await self.container.get(key)).layout))
            if known.storage_class not in COLD_CLASSES:
                assert name not in self.tier.frozen
            elif known.state == "":
                assert (name in self.tier.frozen, name in self.tier.awake) == (True, False)
        assert await self.container.cold_due(self.clock.now_us(), 10) == []


@pytest.mark.slow
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
async def test_restores_keep_what_they_promise(history: list[tuple[Any, ...]]) -> None:
    clock = FakeClock()
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="frazil-transit-") as folder:
        async with open_meta(Path(folder), key=NamespaceKey(bytes(32)), clock=clock) as meta:
            await meta.create_bucket(BucketSettings("b", "a", "o", 1))
            world = World(meta, clock)
            for step in history:
                await world.do(step)
                await world.check()
            await world.finish()


async def test_of_many_restores_under_way_each_look_takes_some_and_a_new_one_is_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transit, "TURN_ROWS", 20)
    monkeypatch.setattr(transit, "PAGE_ROWS", 10)
    looked: list[int] = []

    async def carry(self: Transit, bucket: str, page: list[Any]) -> Any:
        looked.append(len(page))
        return await whole(self, bucket, page)

    whole = Transit._carry
    monkeypatch.setattr(Transit, "_carry", carry)
    clock = FakeClock()
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="frazil-transit-") as folder:
        async with open_meta(Path(folder), key=NamespaceKey(bytes(32)), clock=clock) as meta:
            await meta.create_bucket(BucketSettings("b", "a", "o", 1))
            world = World(meta, clock)
            keys = [f"k{number:03}" for number in range(90)]
            for key in [*keys, "a"]:
                await world.put(key, "GLACIER")
            await world.do(("work",))
            for key in keys:
                clock.advance(1)
                await world.do(("restore", key, 1, "Bulk"))
                await world.do(("work",))
            assert len(world.tier.asked) == len(keys)
            looked.clear()
            clock.advance(1)
            await world.do(("restore", "a", 1, "Expedited"))
            await world.do(("work",))
            assert len(world.tier.asked) == len(keys) + 1
            assert sum(looked) <= 20 + 10
            for _ in range(6):
                await world.do(("work",))
            world.tier.wake()
            for _ in range(6):
                await world.do(("work",))
            await world.finish()
