"""Cold classes whose boards are in certain data centres: their chunks are on the volumes that lead there, and on no other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
import pytest

from glacier.boards import Boards as RealBoards
from glacier.lifecycle.backfill import ROW_BYTES, WISH_BYTES, FreezeTask
from meta.protocol.object import Attributes, ObjectRow, Seen
from node.errors import NotEnoughServices
from store.embedded import follow_sites
from store.layout import Layout
from store.settings import load_settings, save_settings
from store.store import Store
from store.tally import Tally
from store.tier import HOT, TierState
from store.transition import transition
from tests.component.store.support import BUCKET, opened, put, read
from tests.component.store.test_scrub import by_metadata

SMALL, LARGE = b"ice" * 1_000, b"ice" * 200_000


def volumes_of(row: ObjectRow) -> set[str]:
    return {volume for volume, _ in Layout.parse(row.layout).places()}


async def reserve(store: Store, path: Path, count: int) -> set[str]:
    """GLACIER goes to "far", where the boards of so many volumes are; the others' are at "near"."""
    settings = load_settings(path)
    assert settings is not None
    settings = msgspec.structs.replace(settings, sites={"GLACIER": ("far",), "DEEP_ARCHIVE": ("nowhere",)})
    save_settings(path, settings)
    far = set(sorted(store.volumes)[:count])
    sites = {volume: "far" if volume in far else "near" for volume in store.volumes}

    async def told() -> dict[str, str]:
        return sites

    store.tier.sites = told  # type: ignore[method-assign]
    follow_sites(store._context, settings, sites)
    return far


async def test_small_and_large_objects_go_where_the_boards_are_and_those_of_other_classes_anywhere(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        far = await reserve(store, tmp_path, 4)
        anywhere = set[str]()
        for number in range(8):
            for data in (SMALL, LARGE):
                row = await put(store, f"k{number}-{len(data)}", data, storage_class="GLACIER")
                assert volumes_of(row) <= far
                assert await read(store, row) == data
                anywhere |= volumes_of(await put(store, f"s{number}-{len(data)}", data))
        assert anywhere > far


async def test_what_becomes_cold_moves_where_the_boards_are_also_by_a_copy_under_the_same_policy(tmp_path: Path) -> None:
    async with opened(tmp_path, 6, policy="TWOCOPIES") as store:
        far = await reserve(store, tmp_path, 2)
        for number in range(6):
            await put(store, f"k{number}", LARGE)
            row = await store.get_row(BUCKET, f"k{number}")
            copied = await store.copy_object(
                row, BUCKET, BUCKET, f"c{number}", attributes=Attributes(), owner="owner", storage_class="GLACIER"
            )
            moved = await transition(store._context, BUCKET, row, "GLACIER", Seen(row.seq))
            assert volumes_of(copied) <= far
            assert volumes_of(moved) <= far
            assert await read(store, moved) == await read(store, copied) == LARGE


async def test_a_chunk_that_is_lost_is_made_anew_where_the_boards_are(tmp_path: Path) -> None:
    async with opened(tmp_path, 9) as store:
        far = await reserve(store, tmp_path, 4)
        row = await put(store, "k", SMALL, storage_class="GLACIER")
        context = store._context
        assert context.draws(row, "THREECOPIES") == "GLACIER"
        drawn = await context.fleet.draw(1, 1, without=list(volumes_of(row)), policy=context.draws(row, "THREECOPIES"))
        assert set(drawn) <= far


async def test_while_no_board_of_the_site_is_known_nothing_is_put_elsewhere(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as store:
        await reserve(store, tmp_path, 3)
        with pytest.raises(NotEnoughServices):
            await put(store, "k", LARGE, storage_class="DEEP_ARCHIVE")
        await put(store, "k", LARGE, storage_class="GLACIER")


async def test_a_store_that_starts_knows_its_sites_before_its_boards_answer(tmp_path: Path) -> None:
    async with opened(tmp_path, 3) as store:
        await reserve(store, tmp_path, 3)
    async with opened(tmp_path, 3) as store:
        assert store._context.fleet.reserved == {"GLACIER": frozenset(), "DEEP_ARCHIVE": frozenset()}
        with pytest.raises(NotEnoughServices):
            await put(store, "k", LARGE, storage_class="GLACIER")
        await put(store, "k", LARGE)


class Boards:
    """As glacier.boards.Boards: everything is hot, and what is to be frozen is remembered."""

    workers = ("one",)

    def __init__(self) -> None:
        self.frozen: list[Layout] = []

    async def states(self, contents: Sequence[Layout]) -> list[TierState]:
        return [HOT] * len(contents)

    async def freeze(self, content: Layout) -> None:
        self.frozen.append(content)


async def test_what_was_cold_before_its_class_had_a_site_moves_there_before_it_is_frozen(tmp_path: Path) -> None:
    boards = Boards()
    async with opened(tmp_path, 9) as store:
        for number in range(6):
            await put(store, f"k{number}", LARGE if number % 2 else SMALL, storage_class="GLACIER")
        await put(store, "deep", LARGE, storage_class="DEEP_ARCHIVE")
        far = await reserve(store, tmp_path, 4)
        task, position = FreezeTask(store._context, Tally(), {}, boards=cast(RealBoards, boards)), ""
        while (following := (await task.step(position))[0]) is not None:
            position = following
        assert len(boards.frozen) == 6  # the other's boards are nowhere
        for content in boards.frozen:
            assert {volume for volume, _ in content.places()} <= far
        for number in range(6):
            row = await store.get_row(BUCKET, f"k{number}")
            assert volumes_of(row) <= far
            assert await read(store, row) == (LARGE if number % 2 else SMALL)


async def steps(store: Store, tally: Tally) -> list[int]:
    """What each step of a pass of the freeze job counted for."""
    task, position, counted = FreezeTask(store._context, tally, {}, boards=cast(RealBoards, Boards())), "", list[int]()
    while True:
        following, size = await task.step(position)
        counted.append(size)
        if following is None:
            return counted
        position = following


async def test_a_pass_counts_the_bytes_that_it_moves_and_takes_not_too_many_in_a_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glacier.lifecycle.backfill.STEP_BYTES", 2 * len(LARGE))
    async with opened(tmp_path, 9) as store:
        for number in range(5):
            await put(store, f"k{number}", LARGE, storage_class="GLACIER")
        await reserve(store, tmp_path, 4)
        tally = Tally()
        two = 2 * (len(LARGE) + WISH_BYTES)
        assert await steps(store, tally) == [two + 5 * ROW_BYTES, two + 3 * ROW_BYTES, two // 2 + ROW_BYTES]
        assert tally.counts == {"versions": 5, "planned": 5}
        assert await steps(store, Tally()) == [5 * (WISH_BYTES + ROW_BYTES)]  # all of them are where they belong


async def test_a_repair_stays_at_the_site_as_long_as_it_can_and_tells_when_it_must_leave_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path, 9) as store:
        far = await reserve(store, tmp_path, 4)
        row = await put(store, "k", SMALL, storage_class="GLACIER")
        assert len(volumes_of(row)) == 3
        lost = list(Layout.parse(row.layout).places())[:2]
        store._context.fleet.retire([volume for volume, _ in lost])
        for volume, chunk in lost:
            await store._context.fleet.volume(volume).delete([chunk])
        assert (await by_metadata(store)).counts["outcome:repaired"] == 2
        row = await store.get_row(BUCKET, "k")
        assert (len(volumes_of(row)), len(volumes_of(row) - far)) == (3, 1)  # one was left there for the two
        (told,) = [each for each in caplog.records if "elsewhere than at the sites of its pool" in each.message]
        assert told.levelname == "WARNING"
        assert await read(store, row) == SMALL
