"""What S3 clients wrote, read through a mount."""

from __future__ import annotations

import ctypes
import os
import platform
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mount import MountProcess
from tests.support.need import need_fuse
from tests.support.store import StoreProcess

LARGE = random.Random(7).randbytes((3 << 20) + 77)
GETDENTS64 = 217
"""On x86-64."""
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


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the number of the system call is that of x86-64")
def test_a_folder_that_is_emptied_while_it_is_read_in_small_pieces_is_read_to_its_end(mount: Path) -> None:
    folder = mount / "emptied"
    folder.mkdir()
    for number in range(60):
        (folder / str(number)).touch()
    descriptor, libc = os.open(folder, os.O_RDONLY), ctypes.CDLL(None)
    buffer, read = ctypes.create_string_buffer(256), 0
    try:
        while (size := libc.syscall(GETDENTS64, descriptor, buffer, len(buffer))) > 0:
            at = 0
            while at < size:
                length = int.from_bytes(buffer.raw[at + 16 : at + 18], "little")
                name = buffer.raw[at + 19 : at + length].partition(b"\0")[0].decode()
                if name not in (".", ".."):
                    (folder / name).unlink()
                    read += 1
                at += length
    finally:
        os.close(descriptor)
    assert read == 60
    folder.rmdir()


def test_who_opens_a_file_sees_the_bytes_of_now_though_another_has_those_of_before_open(mount: Path, shared_store: StoreProcess) -> None:
    with shared_store.client() as client:
        client.put("pictures", "held", b"before")
        with (mount / "held").open("rb") as holder:
            assert holder.read(3) == b"bef"
            client.put("pictures", "held", b"now")
            assert (mount / "held").read_bytes() == b"now"
            assert holder.read() == b"ore"
