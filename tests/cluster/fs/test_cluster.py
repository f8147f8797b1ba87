"""Mounts on several hosts of a cluster: they show each other's files, and go on while services and hosts are lost."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import SCALE
from tests.support.cluster import ClusterProcesses, Host
from tests.support.mount import MountProcess
from tests.support.need import need_fuse

BUCKET = "mounted"
FILE_BYTES = 200_000
FILES_MIN = 5
"""That must come about, on each mount, after each loss and each return."""
PATIENCE_S = 60.0
"""An election takes some seconds; the machine may be busy."""


@pytest.fixture(scope="module")
def mounts(shared_cluster: ClusterProcesses) -> Iterator[list[MountProcess]]:
    """Of the bucket, on the first two hosts."""
    need_fuse()
    with shared_cluster.client() as client:
        client.make_bucket(BUCKET)
    with ExitStack() as stack:
        yield [
            stack.enter_context(MountProcess(host, host.folder / "mnt", target=BUCKET, options=[f"patience={PATIENCE_S}"]))
            for host in shared_cluster.hosts[:2]
        ]


def test_what_one_host_closes_the_other_opens_and_s3_has(shared_cluster: ClusterProcesses, mounts: list[MountProcess]) -> None:
    one, other = (each.directory for each in mounts)
    (one / "d" / "e").mkdir(parents=True)
    for size in (0, 10, 300_000, 9 << 20):
        data = os.urandom(size)
        (one / "d" / "e" / f"f{size}").write_bytes(data)
        assert (other / "d" / "e" / f"f{size}").read_bytes() == data
        with shared_cluster.client() as client:
            assert client.get(BUCKET, f"d/e/f{size}").body == data
    with (other / "d" / "e" / "f10").open("ab") as file:
        file.write(b"more")
    assert (one / "d" / "e" / "f10").read_bytes()[10:] == b"more"
    with (other / "d" / "e" / f"f{9 << 20}").open("r+b") as file:
        file.seek(5 << 20)
        file.write(b"patched")
    with (one / "d" / "e" / f"f{9 << 20}").open("rb") as file:
        file.seek(5 << 20)
        assert file.read(7) == b"patched"
    os.rename(one / "d", one / "moved")
    assert sorted(os.listdir(other / "moved" / "e")) == ["f0", "f10", "f300000", f"f{9 << 20}"]
    os.unlink(other / "moved" / "e" / "f0")
    with pytest.raises(FileNotFoundError):
        (one / "moved" / "e" / "f0").read_bytes()
    with shared_cluster.client() as client:
        client.put(BUCKET, "moved/new", b"of S3")
        assert (one / "moved" / "new").read_bytes() == b"of S3"
    assert os.statvfs(one).f_bavail > 0


def test_a_file_that_one_host_closed_is_not_made_exclusively_by_another(mounts: list[MountProcess]) -> None:
    one, other = (each.directory for each in mounts)
    os.close(os.open(one / "lock", os.O_CREAT | os.O_EXCL))
    with pytest.raises(FileExistsError):
        os.open(other / "lock", os.O_CREAT | os.O_EXCL)
    os.unlink(other / "lock")


class Writer(threading.Thread):
    """Makes files in a folder, reads them back, rewrites, renames and removes some, and notes what must be there."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(name=name)
        self.folder, self.wanted = folder, dict[str, bytes]()
        self.done, self.error = 0, ""
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                self.step(self.done)
                self.done += 1
        except (OSError, AssertionError) as error:
            self.error = f"{self.name} step {self.done}: {error!r}"

    def step(self, number: int) -> None:
        name = f"{self.name}-{number}"
        data = os.urandom(FILE_BYTES)
        (self.folder / name).write_bytes(data)
        self.wanted[name] = data
        assert (self.folder / name).read_bytes() == data, f"{name} reads as something else"
        if number % 4 == 1:
            os.rename(self.folder / name, self.folder / f"{name}-moved")
            self.wanted[f"{name}-moved"] = self.wanted.pop(name)
        if number % 4 == 2:
            os.unlink(self.folder / name)
            del self.wanted[name]

    def wait_for(self, more: int) -> None:
        """Until it has done so many more. Raises: AssertionError."""
        until, deadline = self.done + more, time.monotonic() + 2 * PATIENCE_S
        while self.done < until:
            assert not self.error, self.error
            assert time.monotonic() < deadline, f"{self.name} hangs at step {self.done}"
            time.sleep(0.05)


@pytest.mark.skipif(SCALE <= 1, reason="a minute and more: FRAZIL_TEST_SCALE=2")
@pytest.mark.timeout(900)
def test_no_call_fails_while_services_and_another_host_are_lost(shared_cluster: ClusterProcesses, mounts: list[MountProcess]) -> None:
    """Each host leads some of the metadata; a host with a mount loses single services, the third all of them."""
    one, other = (each.directory for each in mounts)
    (one / "load").mkdir()
    writers = [Writer(each / "load", f"w{number}") for number, each in enumerate((one, other))]
    for writer in writers:
        writer.start()
    try:
        for kill, start in losses(shared_cluster):
            for act in (kill, start):
                act()
                for writer in writers:
                    writer.wait_for(FILES_MIN)
    finally:
        for writer in writers:
            writer.ended.set()
        for writer in writers:
            writer.join()
        shared_cluster.wait_settled()
    assert [writer.error for writer in writers] == ["", ""]
    wanted = {name: data for writer in writers for name, data in writer.wanted.items()}
    for folder in (one, other):
        assert {path.name: path.read_bytes() for path in (folder / "load").iterdir()} == wanted
    with shared_cluster.client() as client:
        assert {name: client.get(BUCKET, f"load/{name}").body for name in wanted} == wanted


def losses(cluster: ClusterProcesses) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """How something is lost, and how it comes back."""
    for role in ("gateway", "rawx", "meta"):
        service = cluster.hosts[0].service(role)
        yield service.kill, service.start
    host: Host = cluster.hosts[2]
    yield host.kill, host.start
