"""Files written through a mount, and the objects that S3 clients see."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mount import MountProcess
from tests.support.need import need_fuse
from tests.support.store import StoreProcess


@pytest.fixture(scope="module")
def mount(shared_store: StoreProcess) -> Iterator[Path]:
    need_fuse()
    with shared_store.client() as client:
        client.make_bucket("work")
    with MountProcess(shared_store, shared_store.scratch / "mnt") as process:
        yield process.directory / "work"


def test_a_closed_file_is_an_object(mount: Path, shared_store: StoreProcess) -> None:
    (mount / "folder").mkdir()
    (mount / "folder" / "a.txt").write_bytes(b"hello")
    with shared_store.client() as client:
        answer = client.get("work", "folder/a.txt")
    assert answer.body == b"hello"
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-amz-meta-mode"] == str(0o100644)


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
        with shared_store.client() as client:
            assert client.get("work", "random").body == model
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
    with shared_store.client() as client:
        assert client.get("work", "open").status == 404


def test_a_folder_is_renamed_with_open_files_in_it(mount: Path, shared_store: StoreProcess) -> None:
    (mount / "one").mkdir()
    (mount / "one" / "kept").write_bytes(b"kept")
    with (mount / "one" / "new").open("wb") as file:
        file.write(b"begun")
        (mount / "one").rename(mount / "two")
        file.write(b" and ended")
    with shared_store.client() as client:
        assert sorted(client.keys("work", prefix="two/")) == ["two/", "two/kept", "two/new"]
        assert client.keys("work", prefix="one/") == []
        assert client.get("work", "two/new").body == b"begun and ended"


def test_attributes_survive_a_remount(shared_store: StoreProcess) -> None:
    need_fuse()
    with MountProcess(shared_store, shared_store.scratch / "first", target="work") as process:
        path = process.directory / "attributes"
        path.write_bytes(b"x")
        os.chown(path, 12, 34)
        path.chmod(0o4751)
        os.utime(path, ns=(5_000_000_007, 6_000_000_008))
        os.setxattr(path, "user.colour", b"blue")
        (process.directory / "link").symlink_to("attributes")
    with MountProcess(shared_store, shared_store.scratch / "second", target="work") as process:
        path = process.directory / "link"
        status = path.stat()
        assert (status.st_mode, status.st_uid, status.st_gid) == (0o104751, 12, 34)
        assert (status.st_atime_ns, status.st_mtime_ns) == (5_000_000_007, 6_000_000_008)
        assert os.getxattr(path, "user.colour") == b"blue"


def test_two_mounts_see_what_the_other_closed(shared_store: StoreProcess, mount: Path) -> None:
    with MountProcess(shared_store, shared_store.scratch / "other", target="work") as process:
        for text in ("one", "the other", "3"):
            (mount / "common").write_text(text)
            assert (process.directory / "common").read_text() == text
            (process.directory / "common").write_text(text * 2)
            assert (mount / "common").read_text() == text * 2


def test_a_tree_is_copied_compared_and_removed(mount: Path) -> None:
    source = Path(__file__).parents[3] / "node"
    shutil.copytree(source, mount / "tree", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["diff", "-r", "-x", "__pycache__", source, mount / "tree"], check=True)
    shutil.rmtree(mount / "tree")
    assert not (mount / "tree").exists()
