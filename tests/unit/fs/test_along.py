"""A put that goes along with a file that is written: the object is the file as it was saved, whatever was done to it meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fs.along
import fs.file
from fs.attribute import Defaults, file_stat
from fs.connection import Connection
from fs.file import File
from fs.shared import Shared
from fs.spool import SpoolFolder
from meta.protocol.object import Attributes, ObjectRow
from node.errors import Unavailable
from store.source import Source
from tests.unit.fs.test_recovery import Store, inode_of

SLAB = 50
BEGIN, LAG, PIECE = 100, 20, 10


class Slabs(Store):
    """Takes a put's bytes a slab at a time, and counts puts that were begun and that were made."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = self.taken = 0
        self.failing = 0

    async def put(
        self,
        bucket: str,
        key: str,
        source: Callable[[], Source],
        attributes: Attributes,
        *,
        describe: Callable[[Attributes], Attributes] | None = None,
        **_: object,
    ) -> ObjectRow:
        self.begun += 1
        made, data, slab = source(), bytearray(), memoryview(bytearray(SLAB))
        while count := await made.fill(slab):
            if self.failing:
                self.failing -= 1
                raise Unavailable("no volume")
            data += slab[:count]
            self.taken = len(data)
            if count < SLAB:
                break
        return self.keep(key, bytes(data), describe(attributes) if describe is not None else attributes)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fs.file, "BEGIN_BYTES", BEGIN)
    monkeypatch.setattr(fs.along, "LAG_BYTES", LAG)
    monkeypatch.setattr(fs.along, "PIECE_BYTES", PIECE)


@pytest.fixture
async def shared(tmp_path: Path, nursery: trio.Nursery) -> Shared:
    spools = SpoolFolder(tmp_path)
    assert await spools.open()
    return Shared(cast(Connection, Slabs()), spools, nursery)


def store_of(shared: Shared) -> Slabs:
    return cast(Slabs, shared.connection)


def new_file(shared: Shared, key: str = "k") -> File:
    return File(shared, inode_of(key), None, file_stat(ObjectRow(key), Defaults()))


async def write_in_order(file: File, data: bytes, step: int = 30) -> None:
    for start in range(file.stat.size, file.stat.size + len(data), step):
        await file.write(start, data[: min(step, len(data))])
        data = data[step:]
        await trio.testing.wait_all_tasks_blocked()


async def test_most_of_a_file_is_in_the_store_before_it_is_saved(shared: Shared) -> None:
    store, file, data = store_of(shared), new_file(shared), random.Random(1).randbytes(1_000)
    await write_in_order(file, data)
    assert store.taken >= len(data) - LAG - PIECE - SLAB - 30
    await file.restate(lambda stat: stat, lambda metadata: {**metadata, "said": "late"})
    await file.save()
    assert store.data("k") == data
    assert store.rows["k"].attributes.metadata["said"] == "late"
    assert (store.begun, shared.alongs) == (1, 0)


async def test_writing_once_more_what_was_taken_stores_the_file_whole(shared: Shared) -> None:
    store, file, data = store_of(shared), new_file(shared), bytearray(random.Random(2).randbytes(1_000))
    await write_in_order(file, bytes(data))
    data[:4] = b"head"
    await file.write(0, b"head")
    assert (shared.alongs, store.rows) == (0, {})
    await write_in_order(file, bytes(300))
    await file.save()
    assert store.data("k") == bytes(data) + bytes(300)
    assert store.begun == 2


async def test_a_page_at_the_end_may_be_written_again(shared: Shared) -> None:
    store, file, data = store_of(shared), new_file(shared), random.Random(3).randbytes(1_000)
    for stop in range(30, 1_000, 30):
        await file.write(max(stop - 30 - LAG // 2, 0), data[max(stop - 30 - LAG // 2, 0) : stop])
        await trio.testing.wait_all_tasks_blocked()
    await file.save()
    assert store.data("k") == data[:990]
    assert store.begun == 1


async def test_a_file_that_got_another_name_is_stored_under_that(shared: Shared) -> None:
    store, file = store_of(shared), new_file(shared)
    await write_in_order(file, bytes(500))
    file._inode.part = "other"
    await file.save()
    assert set(store.rows) == {"other"}


async def test_a_writer_that_pauses_is_not_waited_for(shared: Shared, autojump_clock: trio.testing.MockClock) -> None:
    store, file, data = store_of(shared), new_file(shared), random.Random(4).randbytes(1_000)
    await write_in_order(file, data[:500])
    await trio.sleep(fs.along.IDLE_S + 1)
    await write_in_order(file, data[500:])
    await file.save()
    assert store.data("k") == data
    assert store.begun == 2


async def test_a_put_that_fails_costs_nothing_but_time(shared: Shared) -> None:
    store, file, data = store_of(shared), new_file(shared), random.Random(5).randbytes(1_000)
    store.failing = 1
    await write_in_order(file, data)
    await file.save()
    assert store.data("k") == data


async def test_a_file_that_is_gone_leaves_nothing(shared: Shared) -> None:
    store, file = store_of(shared), new_file(shared)
    await write_in_order(file, bytes(500))
    file._inode.gone = True
    await file.save()
    await file.aclose()
    assert (shared.alongs, store.rows) == (0, {})


async def test_so_many_at_once_and_no_more(shared: Shared) -> None:
    store, files = store_of(shared), [new_file(shared, f"k{number}") for number in range(fs.file.ALONG_MAX + 2)]
    for file in files:
        await write_in_order(file, bytes(500))
    assert shared.alongs == store.begun == fs.file.ALONG_MAX
    for file in files:
        await file.save()
    assert {len(data) for data in store.bytes.values()} == {500}
    assert shared.alongs == 0


async def test_files_that_stay_open_keep_no_place(shared: Shared, autojump_clock: trio.testing.MockClock) -> None:
    store, logs = store_of(shared), [new_file(shared, f"log{number}") for number in range(fs.file.ALONG_MAX)]
    for file in logs:
        await write_in_order(file, bytes(500))
    await trio.sleep(fs.along.IDLE_S + 1)
    file = new_file(shared)
    await write_in_order(file, bytes(500))
    assert store.begun == fs.file.ALONG_MAX + 1
    for each in (file, *logs):
        await each.save()
    assert {len(data) for data in store.bytes.values()} == {500}
    assert shared.alongs == 0


async def test_what_is_written_to_a_file_without_a_name_does_not_go_along(shared: Shared) -> None:
    store, before, after = store_of(shared), new_file(shared, "before"), new_file(shared, "after")
    before._inode.gone = True
    await write_in_order(before, bytes(500))
    assert store.begun == 0
    await write_in_order(after, bytes(500))
    after._inode.gone = True
    await write_in_order(after, bytes(500))
    assert (store.begun, shared.alongs) == (1, 0)


Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["go on", "go on", "go on", "write", "cut", "save", "look"]), st.integers(0, 400), st.integers(1, 200)),
    max_size=40,
)


@given(steps=STEPS, seed=st.integers(0, 1 << 30))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_saved_is_what_was_written(tmp_path: Path, steps: list[Step], seed: int) -> None:
    async def play() -> None:
        chance, model = random.Random(seed), bytearray()
        spools = SpoolFolder(tmp_path)
        async with trio.open_nursery() as nursery:
            shared = Shared(cast(Connection, Slabs()), spools, nursery)
            file = new_file(shared)
            for kind, place, size in steps:
                await one(file, model, chance, kind, place, size)
            await file.save()
            if model:
                assert store_of(shared).data("k") == model
            await file.aclose()
            assert shared.alongs == 0

    trio.run(play)


async def one(file: File, model: bytearray, chance: random.Random, kind: str, place: int, size: int) -> None:
    if kind in ("go on", "write"):
        start, data = len(model) if kind == "go on" else place, chance.randbytes(size)
        await file.write(start, data)
        model.extend(bytes(max(start - len(model), 0)))
        model[start : start + size] = data
    elif kind == "cut":
        await file.truncate(place)
        model[:] = model[:place] + bytes(max(place - len(model), 0))
    elif kind == "save":
        await file.save()
    else:
        assert await file.read(0, len(model)) == model
    if chance.random() < 0.7:
        await trio.testing.wait_all_tasks_blocked()
