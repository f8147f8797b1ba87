"""A mounted bucket with a quota: df shows what is left, and the program that writes beyond it hears of it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.mount import MountProcess, sync
from tests.support.need import need_fuse
from tests.support.store import StoreProcess

LEFT_BYTES = 200_000


@pytest.fixture(scope="module", params=["safe", "fast"])
def mount(shared_store: StoreProcess, request: pytest.FixtureRequest) -> Iterator[MountProcess]:
    """Of one bucket, whose name is the target."""
    need_fuse()
    bucket = f"narrow-{request.param}"
    with shared_store.client() as client:
        client.make_bucket(bucket)
    with MountProcess(shared_store, shared_store.scratch / bucket, target=bucket, options=[f"profile={request.param}"]) as process:
        yield process


def quota(store: StoreProcess, *arguments: str) -> dict[str, int]:
    (line,) = store.command("--json", "bucket", "quota", *arguments).stdout.splitlines()
    told: dict[str, int] = json.loads(line)
    return told


def free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("size", [LEFT_BYTES + 1, 6 << 20], ids=["small", "large"])
def test_a_file_beyond_it_is_refused_by_fsync_and_the_object_stays(mount: MountProcess, shared_store: StoreProcess, size: int) -> None:
    bucket, path = mount.target, mount.directory / "file"
    write_synced(path, b"first")
    wide = free(mount.directory)
    used = quota(shared_store, bucket)["used"]
    assert quota(shared_store, bucket, str(used + LEFT_BYTES))["left"] == LEFT_BYTES
    assert free(mount.directory) <= LEFT_BYTES < wide
    for name in ("file", "new"):
        with pytest.raises(OSError) as refused:  # noqa: PT011 - which, the next line says
            write_synced(mount.directory / name, b"x" * (size + 5))
        assert refused.value.errno == errno.EDQUOT
        with suppress(OSError):  # a fast mount tries again after the close, and tells by one fsync, of whatever, that it was in vain
            sync(mount.directory)
        sync(mount.directory)
    with shared_store.client() as client:
        assert client.get(bucket, "file").body == b"first"
        assert client.get(bucket, "new").status == 404
    quota(shared_store, bucket, "none")
    write_synced(path, b"x" * size)
    with shared_store.client() as client:
        assert client.get(bucket, "file").body == b"x" * size
