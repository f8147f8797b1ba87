"""A mount that is killed: what was synced is there, what was not is wholly there or not at all, and the next mount stores what it can."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.support.mount import MountProcess
from tests.support.need import need_fuse
from tests.support.store import StoreProcess

LARGE = random.Random(5).randbytes(3 << 20)


@pytest.fixture
def mount(shared_store: StoreProcess, request: pytest.FixtureRequest) -> MountProcess:
    need_fuse()
    with shared_store.client() as client:
        client.make_bucket("crashing")
    return MountProcess(shared_store, shared_store.scratch / "crashing", target="crashing", options=["nowriteback"])


def write(path: Path, data: bytes) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    assert os.pwrite(descriptor, data, 0) == len(data)
    return descriptor


def test_a_killed_mount_loses_nothing_that_was_synced_and_the_next_stores_what_was_written(
    mount: MountProcess, shared_store: StoreProcess
) -> None:
    mount.start()
    synced = write(mount.directory / "synced", LARGE)
    os.fsync(synced)
    os.pwrite(synced, b"begun", 0)
    new = write(mount.directory / "new", LARGE)
    os.ftruncate(new, 1 << 20)
    os.pwrite(new, b"behind a hole", 2 << 20)
    cut = write(mount.directory / "replaced", LARGE)
    with shared_store.client() as client:
        client.put("crashing", "replaced", b"by another client")
    mount.kill()
    for descriptor in (synced, new, cut):
        with pytest.raises(OSError, match="not connected"):
            os.close(descriptor)
    with shared_store.client() as client:
        assert client.get("crashing", "synced").body == LARGE
        assert client.get("crashing", "new").status == 404
    with mount:
        expected = LARGE[: 1 << 20] + bytes(1 << 20) + b"behind a hole"
        assert (mount.directory / "new").read_bytes() == expected
        assert (mount.directory / "synced").read_bytes() == LARGE
        assert (mount.directory / "replaced").read_bytes() == b"by another client"
    with shared_store.client() as client:
        assert client.get("crashing", "new").body == expected
    kept = list((shared_store.directories[0] / "mounts").glob("*/kept/*.data"))
    assert [path.read_bytes() for path in kept] == [LARGE]


def test_a_dead_mount_point_is_taken_away_by_the_next_mount(mount: MountProcess) -> None:
    mount.start()
    assert mount.process is not None
    mount.process.kill()
    mount.process.wait()
    with pytest.raises(OSError, match="not connected"):
        os.listdir(mount.directory)
    with mount:
        assert "synced" in os.listdir(mount.directory)


@pytest.mark.parametrize("options", [["profile=fast", "nowriteback"], ["profile=fast"]], ids=["written", "held_by_the_kernel"])
def test_a_mount_that_is_told_to_end_stores_what_was_written(shared_store: StoreProcess, mount: MountProcess, options: list[str]) -> None:
    mount.options = options
    mount.start()
    for number in range(20):
        (mount.directory / f"quick{number}").write_bytes(b"%d" % number)
    file = (mount.directory / "open").open("wb", buffering=0)
    assert file.write(LARGE) == len(LARGE)
    assert mount.stop() == 0
    with pytest.raises(OSError, match="not connected"):
        file.close()
    with shared_store.client() as client:
        assert client.get("crashing", "open").body == LARGE
        assert [client.get("crashing", f"quick{number}").body for number in range(20)] == [b"%d" % number for number in range(20)]
