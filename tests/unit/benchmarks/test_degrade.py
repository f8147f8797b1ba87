"""Which volumes are taken away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.degrade import take_away
from benchmarks.load import LoadFailed


def chunk(volume: Path, key: str, position: int) -> None:
    folder = volume / "abc"
    folder.mkdir(parents=True)
    (folder / "abc0").touch()
    (folder / "abc0.record").write_text(json.dumps({"bucket": "b", "key": key, "position": position, "content": "c", "v": 1}))


def test_the_first_data_chunks_go(tmp_path: Path) -> None:
    store = tmp_path / "store"
    for index, position in enumerate((4, 2, 0, 1, 3), start=1):
        chunk(store / "volumes" / str(index), "k", position)
    take_away(store, "b", "k", 3)
    assert sorted(path.name for path in (store / "volumes").iterdir()) == ["1", "5"]
    assert sorted(path.name for path in (tmp_path / "store-away").iterdir()) == ["2", "3", "4"]


def test_an_object_stored_otherwise_is_refused(tmp_path: Path) -> None:
    chunk(tmp_path / "volumes" / "1", "k", 0)
    with pytest.raises(LoadFailed, match="1 volumes hold"):
        take_away(tmp_path, "b", "k", 3)
