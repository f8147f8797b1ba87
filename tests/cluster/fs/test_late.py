"""Closing a small file and removing one don't wait for the disk: all see it at once, and a crash leaves old or new, and what was synced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mount import MountProcess, sync
from tests.support.need import need_fuse
from tests.support.store import StoreProcess

FILES = 24
BUCKET = "late"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StoreProcess]:
    """With a second gateway process, which reads the metadata by itself."""
    need_fuse()
    with StoreProcess([tmp_path / "store"], tmp_path, volumes=1, options=["--workers", "2"]) as process:
        process.start()
        with process.client() as client:
            client.make_bucket(BUCKET)
        yield process


def body(word: str, number: int) -> bytes:
    return f"{word} {number} ".encode() * (1 + number * 37)


def test_s3_sees_at_once_what_was_closed_and_what_was_removed(store: StoreProcess) -> None:
    with MountProcess(store, store.scratch / "mnt", target=BUCKET) as mount, store.client() as one, store.client() as other:
        for number in range(FILES):
            (mount.directory / f"f{number}").write_bytes(body("new", number))
            assert one.get(BUCKET, f"f{number}").body == other.get(BUCKET, f"f{number}").body == body("new", number)
        for number in range(FILES):
            (mount.directory / f"g{number}").write_bytes(b"x")
        assert len(one.keys(BUCKET)) == 2 * FILES
        for number in range(0, FILES, 2):
            os.unlink(mount.directory / f"g{number}")
        assert len(other.keys(BUCKET)) == FILES * 3 // 2
        (mount.directory / "both").write_bytes(b"by the mount")
        one.put(BUCKET, "both", b"by S3, which came later")
        sync(mount.directory)
        assert other.get(BUCKET, "both").body == b"by S3, which came later"


@pytest.mark.parametrize("killed", ["mount", "store", "both"])
def test_a_crash_after_close_leaves_old_or_new_of_each_and_all_that_was_synced(store: StoreProcess, killed: str) -> None:
    mount = MountProcess(store, store.scratch / "mnt", target=BUCKET)
    mount.start()
    for number in range(FILES):
        (mount.directory / f"f{number}").write_bytes(body("old", number))
    sync(mount.directory)
    for number in range(FILES):
        (mount.directory / f"f{number}").write_bytes(body("new", number))
        if number % 6 == 0:
            sync(mount.directory / f"f{number}")
    if killed != "store":
        mount.kill()
    if killed != "mount":
        store.kill()
        store.start()
    if killed == "store":
        sync(mount.directory)  # the mount lives, and waits for the store: nothing is lost
    with store.client() as client:
        for number in range(FILES):
            found = client.get(BUCKET, f"f{number}").body
            new = found == body("new", number)
            assert new or found == body("old", number), number
            assert new or (number % 6 and killed != "store"), number
    if killed == "store":
        mount.unmount()
    else:
        mount.force()
