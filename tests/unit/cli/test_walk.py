"""Local folders in the order of a listing, and two sides merged."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.compare import Verdict, by_time, merge
from cli.walk import Item, walk_folder

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = ["a", "a.b", "a/b", "a/b.c", "a-b/x", "a0", "b/c/d", "ä", "z"]


def _no_failure(path: str, error: OSError) -> None:
    pytest.fail(f"{path}: {error}")


def test_a_folder_is_walked_in_the_order_of_keys(tmp_path: Path) -> None:
    for name in ["a.b", "a/b", "a/b.c", "a-b/x", "a0", "b/c/d", "ä", "z"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = [item.name for item in walk_folder(str(tmp_path), pytest.fail, _no_failure)]
    assert found == sorted(found, key=os.fsencode)
    assert len(found) == 8


def test_what_is_no_file_is_passed_over_with_a_word(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    warnings: list[str] = []
    assert [item.name for item in walk_folder(str(tmp_path), warnings.append, _no_failure)] == ["file", "link"]
    assert len(warnings) == 3


def test_what_can_not_be_read_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    failed: list[str] = []
    assert list(walk_folder(str(tmp_path), pytest.fail, lambda path, _: failed.append(os.path.basename(path)))) == []
    assert failed == ["closed", "loop"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(walk_folder(str(tmp_path / "none"), pytest.fail, _no_failure))


async def _stream(names: Iterable[str]) -> AsyncIterator[Item]:
    for name in names:
        yield Item(name, 1, EPOCH)


@given(st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
async def test_a_merge_pairs_what_has_one_name(left: set[str], right: set[str]) -> None:
    pairs = merge(_stream(sorted(left, key=os.fsencode)), _stream(sorted(right, key=os.fsencode)))
    found = [(source.name if source else None, target.name if target else None) async for source, target in pairs]
    expected = [(name if name in left else None, name if name in right else None) for name in sorted(left | right, key=os.fsencode)]
    assert found == expected


def test_times_are_compared_to_the_second_and_the_same_second_tells_nothing() -> None:
    def at(seconds: float) -> Item:
        return Item("x", 1, EPOCH + timedelta(seconds=seconds))

    assert by_time(at(2.0), at(1.9)) is Verdict.CHANGED
    assert by_time(at(1.9), at(1.0)) is Verdict.LOOK
    assert by_time(at(1.9), at(2.0)) is Verdict.SAME
