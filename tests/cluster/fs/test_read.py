"""What S3 clients wrote, read through a mount."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mount import MountProcess
from tests.support.need import need_fuse
from tests.support.store import StoreProcess

LARGE = random.Random(7).randbytes((3 << 20) + 77)
OBJECTS = {
    "a": b"beside",
    "a/b": b"below",
    "a/c/d": b"",
    "w//x": b"in a folder without a name",
    "dots/..": b"no way up",
    "long/" + "ä" * 200: b"by its digest",
    "large": LARGE,
}


@pytest.fixture(scope="module")
def mount(shared_store: StoreProcess) -> Iterator[Path]:
    need_fuse()
    with shared_store.client() as client:
        client.make_bucket("pictures")
        for key, data in OBJECTS.items():
            client.put("pictures", key, data)
    with MountProcess(shared_store, shared_store.scratch / "mnt") as process:
        yield process.directory / "pictures"


def files(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_every_object_is_a_file_with_its_bytes(mount: Path) -> None:
    found = files(mount)
    assert sorted(found.values()) == sorted(OBJECTS.values())
    assert found["a/b"] == b"below"
    assert found["a‛f"] == b"beside"
    assert found["w/‛e/x"] == b"in a folder without a name"
    assert found["dots/‛.."] == b"no way up"


def test_a_large_object_is_read_at_any_place(mount: Path, seed: str) -> None:
    chance = random.Random(seed)
    descriptor = os.open(mount / "large", os.O_RDONLY)
    try:
        for _ in range(50):
            start, size = chance.randrange(len(LARGE)), chance.choice([1, 5000, 1 << 20])
            assert os.pread(descriptor, size, start) == LARGE[start : start + size]
    finally:
        os.close(descriptor)


def test_a_new_object_shows_at_once_and_a_replaced_one_with_its_new_bytes(mount: Path, shared_store: StoreProcess) -> None:
    with shared_store.client() as client:
        for data in (b"first", b"the second, which is longer", b"3"):
            client.put("pictures", "changing", data)
            assert (mount / "changing").read_bytes() == data
        client.delete("pictures", "changing")
    with pytest.raises(FileNotFoundError):
        (mount / "changing").open()
