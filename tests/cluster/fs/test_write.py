"""Files written through a mount, and the objects that S3 clients see."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.mount import MountProcess
from tests.support.need import need_fuse
from tests.support.store import StoreProcess


@pytest.fixture(scope="module", params=["safe", "fast"])
def mount(shared_store: StoreProcess, request: pytest.FixtureRequest) -> Iterator[Path]:
    need_fuse()
    bucket = f"work-{request.param}"
    with shared_store.client() as client:
        client.make_bucket(bucket)
    with MountProcess(shared_store, shared_store.scratch / bucket, options=[f"profile={request.param}"]) as process:
        yield process.directory / bucket


def settle(mount: Path) -> None:
    """What a fast mount does behind is done when a folder's fsync returns."""
    descriptor = os.open(mount, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def eventually(holds: Callable[[], bool], within_s: float = 3.0) -> None:
    """A fast mount hears of others' changes a few times a second."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_closed_file_is_an_object(mount: Path, shared_store: StoreProcess) -> None:
    (mount / "folder").mkdir()
    (mount / "folder" / "a.txt").write_bytes(b"hello")
    settle(mount)
    with shared_store.client() as client:
        answer = client.get(mount.name, "folder/a.txt")
    assert answer.body == b"hello"
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-amz-meta-mode"] == str(0o100644)


@pytest.mark.parametrize("patched", [False, True])
def test_a_large_file_is_one_object_though_it_goes_to_the_store_while_it_is_written(
    mount: Path, shared_store: StoreProcess, patched: bool, seed: str
) -> None:
    data = bytearray(random.Random(seed).randbytes(12 << 20))
    with (mount / "large").open("wb", buffering=0) as file:
        for start in range(0, len(data), 700_000):
            file.write(data[start : start + 700_000])
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # has the kernel write, so that it is read again
        if patched:
            data[:5] = b"total"
            os.pwrite(file.fileno(), b"total", 0)
        assert (mount / "large").read_bytes() == data
    with shared_store.client() as client:
        answer = client.get(mount.name, "large")
        assert answer.body == data
        assert answer.headers["etag"].strip('"') == hashlib.md5(data, usedforsecurity=False).hexdigest()


def test_random_writes_come_to_the_same_as_in_memory(mount: Path, shared_store: StoreProcess, seed: str) -> None:
    chance, model, path = random.Random(seed), bytearray(), mount / "random"
    for _ in range(6):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            for _ in range(12):
                if chance.random() < 0.2:
                    size = chance.randrange(3 << 20)
                    os.ftruncate(descriptor, size)
                    model[size:] = bytes(max(size - len(model), 0))
                else:
                    start, data = chance.randrange(2 << 20), chance.randbytes(chance.choice([1, 4096, 300_000]))
                    os.pwrite(descriptor, data, start)
                    model.extend(bytes(max(start + len(data) - len(model), 0)))
                    model[start : start + len(data)] = data
                place = chance.randrange(len(model) + 1)
                assert os.pread(descriptor, 1000, place) == model[place : place + 1000]
        finally:
            os.close(descriptor)
        settle(mount)
        with shared_store.client() as client:
            assert client.get(mount.name, "random").body == model
    assert path.read_bytes() == model


def test_an_unlinked_file_stays_for_who_has_it_open(mount: Path, shared_store: StoreProcess) -> None:
    path = mount / "open"
    path.write_bytes(b"stored")
    with path.open("r+b") as file:
        path.unlink()
        file.write(b"S")
        file.seek(0)
        assert file.read() == b"Stored"
    assert not path.exists()
    settle(mount)
    with shared_store.client() as client:
        assert client.get(mount.name, "open").status == 404


def test_a_folder_is_renamed_with_open_files_in_it(mount: Path, shared_store: StoreProcess) -> None:
    (mount / "one").mkdir()
    (mount / "one" / "kept").write_bytes(b"kept")
    with (mount / "one" / "new").open("wb") as file:
        file.write(b"begun")
        (mount / "one").rename(mount / "two")
        file.write(b" and ended")
    settle(mount)
    with shared_store.client() as client:
        assert sorted(client.keys(mount.name, prefix="two/")) == ["two/", "two/kept", "two/new"]
        assert client.keys(mount.name, prefix="one/") == []
        assert client.get(mount.name, "two/new").body == b"begun and ended"


def test_attributes_survive_a_remount(shared_store: StoreProcess, mount: Path) -> None:
    need_fuse()
    with MountProcess(shared_store, shared_store.scratch / "first", target=mount.name) as process:
        path = process.directory / "attributes"
        path.write_bytes(b"x")
        os.chown(path, 12, 34)
        path.chmod(0o4751)
        os.utime(path, ns=(5_000_000_007, 6_000_000_008))
        os.setxattr(path, "user.colour", b"blue")
        (process.directory / "link").symlink_to("attributes")
    with MountProcess(shared_store, shared_store.scratch / "second", target=mount.name) as process:
        path = process.directory / "link"
        status = path.stat()
        assert (status.st_mode, status.st_uid, status.st_gid) == (0o104751, 12, 34)
        assert (status.st_atime_ns, status.st_mtime_ns) == (5_000_000_007, 6_000_000_008)
        assert os.getxattr(path, "user.colour") == b"blue"


def test_two_mounts_see_what_the_other_closed(shared_store: StoreProcess, mount: Path) -> None:
    with MountProcess(shared_store, shared_store.scratch / "other", target=mount.name) as process:
        for text in ("one", "the other", "3"):
            (mount / "common").write_text(text)
            settle(mount)
            assert (process.directory / "common").read_text() == text
            (process.directory / "common").write_text(text * 2)
            eventually(lambda text=text: (mount / "common").read_text() == text * 2)


def test_a_tree_is_copied_compared_and_removed(mount: Path) -> None:
    source = Path(__file__).parents[3] / "node"
    shutil.copytree(source, mount / "tree", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["diff", "-r", "-x", "__pycache__", source, mount / "tree"], check=True)
    shutil.rmtree(mount / "tree")
    assert not (mount / "tree").exists()


def test_a_bucket_may_be_set_to_what_it_is_but_not_to_something_else(mount: Path) -> None:
    """As `cp -a` and `rsync -a` do at their end."""
    was = mount.stat()
    os.chmod(mount, was.st_mode & 0o7777)
    os.chown(mount, was.st_uid, was.st_gid)
    os.utime(mount, ns=(was.st_atime_ns, time.time_ns() + 10**9))
    assert mount.stat().st_mtime_ns > was.st_mtime_ns
    for refused in (lambda: os.chmod(mount, 0o700), lambda: os.chown(mount, 7, 7), lambda: os.setxattr(mount, "user.a", b"1")):
        with pytest.raises(PermissionError):
            refused()
