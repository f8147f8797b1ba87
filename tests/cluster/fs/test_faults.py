"""What happens to a mount and what is written to it: kill -9, SIGSTOP, a store that goes and comes, a spool that is full."""

from __future__ import annotations

import contextlib
import errno
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from tests.support.mount import MountProcess, sync
from tests.support.need import need_fuse
from tests.support.store import StoreProcess

WRITERS = 3
LOAD_S = 0.7
HANG_S = 60.0
"""Nothing may take longer, whatever has failed."""
PATIENCE_S = 2
SPOOL_KIB = 2_048
_numbers = itertools.count(1)
BROKEN = (
    errno.EIO,
    errno.ENOTCONN,
    errno.ECONNABORTED,
    errno.EAGAIN,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EBADF,
    errno.ENODEV,
    errno.ESTALE,
)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    need_fuse()
    path = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def one_store(root: Path) -> Iterator[StoreProcess]:
    with StoreProcess([root / "store"], root, volumes=1) as process:
        process.start()
        yield process


@pytest.fixture
def store(one_store: StoreProcess) -> StoreProcess:
    """It runs, whatever the test before did with it."""
    if not one_store.running:
        one_store.start()
    return one_store


@pytest.fixture
def bucket(store: StoreProcess) -> str:
    """Of this test alone."""
    name = f"faults-{next(_numbers)}"
    with store.client() as client:
        client.make_bucket(name)
    return name


@dataclass
class Writer:
    """Rewrites a file of its own, whole or in part, with a sync after each round.

    synced: as of the last fsync that succeeded; later: states that were on their way since, any of which, or a mixture of unsynced writes
    into them, may be found
    """

    path: Path
    rng: random.Random
    synced: bytes | None = None
    later: bytes | None = None
    rounds: int = 0
    errors: list[OSError] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                self.once()
        except OSError as error:
            self.errors.append(error)

    def once(self) -> None:
        """One new content, told by its first bytes, in a new file that takes the old one's place, or in place."""
        self.rounds += 1
        body = f"{self.rounds:08}".encode() + self.rng.randbytes(self.rng.choice((10, 4_000, 300_000)))
        self.later = body
        fresh = self.path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            os.write(descriptor, body)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(fresh, self.path)
        self.synced, self.later = body, None

    def check(self, data: bytes | None) -> None:
        """What was synced and renamed is there, or what was under way then, wholly."""
        allowed = [self.synced] if self.later is None else [self.synced, self.later]
        assert data in allowed, f"{self.path.name}: {None if data is None else data[:8]!r} after {self.rounds} rounds"


class Load:
    """Writers at work, until the context ends; then all must come back in bounded time, and the list that was given holds them.

    In a process of their own: whoever starts a process closes, in it, the files that are open here, and each close waits until what was
    written is stored. A store started by who writes to its mount would wait for itself.
    """

    def __init__(self, top: Path, seed: str) -> None:
        self.writers: list[Writer] = []
        spawning = multiprocessing.get_context("spawn")
        self._pipe, there = spawning.Pipe()
        self._process = spawning.Process(target=_write, args=(there, top, seed), daemon=True)

    def __enter__(self) -> list[Writer]:
        self._process.start()
        assert self._pipe.poll(HANG_S), "the writers don't begin"
        self._pipe.recv()
        return self.writers

    def __exit__(self, *_: object) -> None:
        self._pipe.send("stop")
        try:
            assert self._pipe.poll(HANG_S), "a call hangs"
            self.writers += self._pipe.recv()
        finally:
            self._process.kill()
            self._process.join()


def _write(pipe: Connection, top: Path, seed: str) -> None:
    writers = [Writer(top / f"w{number}", random.Random(f"{seed}{number}")) for number in range(WRITERS)]
    stop = threading.Event()
    threads = [threading.Thread(target=writer.run, args=(stop,), daemon=True) for writer in writers]
    for thread in threads:
        thread.start()
    pipe.send("begun")
    pipe.recv()
    stop.set()
    for thread in threads:
        thread.join()
    pipe.send(writers)


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.timeout(600)
def test_a_killed_mount_loses_nothing_that_was_synced_and_tears_nothing(
    store: StoreProcess, root: Path, bucket: str, seed: str, rounds: int
) -> None:
    mount = MountProcess(store, root / "mnt")
    for attempt in range(max(rounds // 10, 1)):
        mount.start()
        with Load(mount.directory / bucket, f"{seed}{attempt}") as writers:
            time.sleep(random.Random(f"{seed}{attempt}").random() * LOAD_S)
            mount.kill()
        for writer in writers:  # ENOENT: below the mount there is nothing
            assert all(error.errno in (*BROKEN, errno.ENOENT) for error in writer.errors), list(map(str, writer.errors))
        mount.start()
        try:
            for writer in writers:
                writer.check(content(writer.path))
            with store.client() as client:
                for writer in writers:
                    if writer.synced is not None:
                        writer.check(client.get(bucket, writer.path.name).body)
            shutil.rmtree(mount.directory / bucket, ignore_errors=True)
        finally:
            mount.unmount()


@pytest.mark.timeout(600)
def test_bytes_that_were_written_and_not_synced_come_back_with_the_next_mount_or_not_at_all(
    store: StoreProcess, root: Path, bucket: str
) -> None:
    mount = MountProcess(store, root / "mnt")
    mount.start()
    path = mount.directory / bucket / "f"
    path.write_bytes(b"old" * 100_000)
    descriptor = os.open(path, os.O_RDWR)
    os.pwrite(descriptor, b"NEW", 150_000)
    os.kill(mount.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.close(descriptor)
    mount.kill()
    mount.start()
    try:
        data = path.read_bytes()
        assert data in (b"old" * 100_000, b"old" * 50_000 + b"NEW" + b"old" * 49_999)
    finally:
        mount.unmount()


@pytest.mark.timeout(600)
def test_a_stopped_mount_stops_nobody_else_and_goes_on(store: StoreProcess, root: Path, bucket: str, seed: str) -> None:
    with MountProcess(store, root / "mnt") as mount:
        with Load(mount.directory / bucket, seed) as writers:
            time.sleep(LOAD_S)
            os.kill(mount.pid, signal.SIGSTOP)
            try:
                with store.client() as client:
                    for number in range(20):
                        assert client.put(bucket, f"s3-{number}", b"meanwhile").status == 200
                    assert client.get(bucket, "s3-3").body == b"meanwhile"
            finally:
                os.kill(mount.pid, signal.SIGCONT)
            time.sleep(0.3)
        for writer in writers:
            assert not writer.errors
            writer.check(content(writer.path))
        assert (mount.directory / bucket / "s3-19").read_bytes() == b"meanwhile"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kill", [False, True])
def test_a_store_that_is_restarted_under_the_mount_loses_nothing_that_was_synced(
    store: StoreProcess, root: Path, bucket: str, seed: str, *, kill: bool
) -> None:
    with MountProcess(store, root / "mnt") as mount:
        with Load(mount.directory / bucket, seed) as writers:
            time.sleep(LOAD_S)
            if kill:
                store.kill()
            else:
                store.stop()
            time.sleep(0.5)
            store.start()
            time.sleep(LOAD_S)
        for writer in writers:
            assert all(error.errno in BROKEN for error in writer.errors), list(map(str, writer.errors))
            writer.check(content(writer.path))
        for writer in writers:
            writer.once()
            writer.check(content(writer.path))
        with store.client() as client:
            for writer in writers:
                assert client.get(bucket, writer.path.name).body == writer.synced


def store_anew(path: Path) -> None:
    """Raises: OSError of fsync or of close."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(descriptor, b"lost?")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.timeout(600)
def test_while_the_store_is_away_calls_end_with_an_error_in_bounded_time_and_work_again_when_it_is_back(
    store: StoreProcess, root: Path, bucket: str
) -> None:
    with MountProcess(store, root / "mnt", options=[f"patience={PATIENCE_S}"]) as mount:
        top = mount.directory / bucket
        (top / "d").mkdir()
        (top / "f").write_bytes(b"before")
        sync(top)
        store.stop()
        began = time.monotonic()
        calls: list[Callable[[], object]] = [
            lambda: store_anew(top / "g"),
            lambda: os.rename(top / "f", top / "moved"),
            lambda: os.rename(top / "d", top / "e"),
            lambda: os.unlink(top / "f"),
            lambda: os.mkdir(top / "new"),
            lambda: os.rmdir(top / "d"),
            lambda: os.chmod(top / "f", 0o600),
            lambda: os.symlink("f", top / "link"),
        ]
        for number, call in enumerate(calls):
            with pytest.raises(OSError) as refused:  # noqa: PT011 - which one is asserted below
                call()
            assert refused.value.errno in BROKEN, (number, str(refused.value))
        assert time.monotonic() - began < 2 * PATIENCE_S, "each waited by itself"
        assert (top / "f").read_bytes() == b"before"
        assert sorted(os.listdir(top)) == ["d", "f"]
        store.start()
        for name in ("g", "h"):
            (top / name).write_bytes(b"after")
        for call in calls[1:]:
            with contextlib.suppress(FileNotFoundError):
                call()
        assert sorted(os.listdir(top)) == ["e", "g", "h", "link", "moved", "new"]
        with store.client() as client:
            assert client.get(bucket, "g").body == client.get(bucket, "h").body == b"after"
            assert client.get(bucket, "moved").body == b"before"


@pytest.mark.timeout(600)
def test_a_full_spool_is_enospc_or_stored_and_what_was_synced_stays(store: StoreProcess, root: Path, bucket: str) -> None:
    spool = root / "spool"
    spool.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SPOOL_KIB}k", "tmpfs", spool], check=True)
    try:
        with MountProcess(store, root / "mnt", options=[f"spool={spool}"]) as mount:
            path = mount.directory / bucket / "f"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            refused = None
            body = bytearray()
            try:
                os.write(descriptor, b"synced")
                os.fsync(descriptor)
                body += b"synced"
                for number in range(4 * SPOOL_KIB // 64):
                    piece = bytes([number % 251]) * 65_536
                    os.pwrite(descriptor, piece, len(body))
                    body += piece
                os.fsync(descriptor)
            except OSError as error:
                refused = error
            finally:
                try:
                    os.close(descriptor)
                except OSError as error:
                    refused = refused or error
            data = path.read_bytes()
            if refused is None:
                assert data == body
            else:
                assert refused.errno in (errno.ENOSPC, errno.EIO)
                assert data.startswith(b"synced")
                assert body.startswith(data[:6])
            small = mount.directory / bucket / "small"
            small.write_bytes(b"still works")
            with store.client() as client:
                assert client.get(bucket, "small").body == b"still works"
    finally:
        subprocess.run(["umount", "-l", spool], check=False)
