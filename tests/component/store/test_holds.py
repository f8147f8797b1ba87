"""A large object that one process reads keeps its chunks when another deletes it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from meta.protocol.object import DeleteRequest
from store.holds import HOLD_S_MAX, Holds
from store.layout import Draft, Layout
from store.policy import POLICIES
from store.workers import Deleter
from tests.component.store.support import BUCKET, chunk_files, opened, put


def layout_of(metachunks: int) -> Layout:
    draft = Draft()
    for number in range(metachunks):
        draft.add(POLICIES["SINGLE"], 10, [(0, "volume", bytes([number]) * 16, b"sum")])
    return draft.layout()


def test_what_is_held_is_told_to_others_until_it_is_released(tmp_path: Path) -> None:
    mine, other = Holds(tmp_path / "run" / "reading"), Holds(tmp_path / "run" / "reading")
    assert other.held() == set()
    first, second = mine.hold(layout_of(2)), mine.hold(layout_of(2))
    assert other.held() == {"00" * 16}
    mine.release(first)
    assert other.held() == {"00" * 16}
    mine.release(second)
    assert other.held() == set()


def test_contents_of_one_metachunk_are_not_told(tmp_path: Path) -> None:
    assert Holds(tmp_path).hold(layout_of(1)) == ""
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_holds_nothing(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        Holds(tmp_path).hold(layout_of(3))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    assert Holds(tmp_path).held() == set()
    assert not left.exists()


def test_what_another_process_of_the_same_number_seems_to_hold_ends_after_a_while(tmp_path: Path) -> None:
    Holds(tmp_path).hold(layout_of(3))
    (left,) = tmp_path.iterdir()
    os.utime(left, (0, left.stat().st_mtime - HOLD_S_MAX))
    assert Holds(tmp_path).held() == set()
    assert not left.exists()


def test_a_read_goes_on_where_nothing_can_be_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    holds = Holds(tmp_path / "file")
    assert holds.hold(layout_of(2)) == ""
    assert holds.held() == set()


@pytest.mark.slow
async def test_chunks_of_a_deleted_object_wait_for_the_readers_of_other_processes(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        row = await put(store, "k", bytes(65 << 20))
        layout = Layout.parse(row.layout)
        other = Holds(tmp_path / "run" / "reading")
        held = other.hold(layout)
        await store.delete_object(BUCKET, DeleteRequest("k"))
        deleter = Deleter(store._context)
        await deleter.work()
        assert len(chunk_files(tmp_path)) == 2
        other.release(held)
        await deleter._delete_all(BUCKET)
        assert chunk_files(tmp_path) == []
        with store._context.afterwork.reading(layout):
            assert other.held() == {layout.metachunks[0].chunks[0].name}
        assert other.held() == set()
