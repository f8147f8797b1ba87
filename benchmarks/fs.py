"""`make bench-fs`: the mount beside pyfuse3's own limit, s3fs and rclone, on one store in one run.

Prints a table and writes benchmarks/out/fs.json. See README.md.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import trio

from benchmarks import figure, report
from benchmarks.__main__ import OUT, workplace
from benchmarks.bucket import Bucket
from benchmarks.figure import Record
from benchmarks.load import LoadFailed
from benchmarks.memory import resident_mib
from benchmarks.mounting import Mount, frazil_mount, installed, rclone_mount, s3fs_mount, zeros_mount
from benchmarks.serving import Server, ServerFailed, frazil
from benchmarks.zeros import FILE, FULL
from meta.protocol.bucket import BucketSettings
from meta.protocol.object import Attributes
from store.embedded import StoreOptions, open_store

BUCKET = "frazil-bench-fs"
SMALL_BYTES = 4096
BLOCK_BYTES = 1 << 20
LISTED_BYTES = 16
PEER_FILES_MAX = 2_000
"""s3fs and rclone ask for each file: more would take minutes and tell the same rate."""
PEERS = ("s3fs", "rclone")
QUICK = {"mib": 256, "files": 1_000, "listed": 10_000}
UNITS = {"read": "MiB/s", "write": "MiB/s", "rss": "MiB"}
REFERENCES = {"read": "zeros-read", "write": "process-put"}
CEILING = "zeros"
"""The contender that keeps nothing: what it reaches stands beside each figure that it has."""
FIGURES = ("write", "create", "stat", "read-4k", "read", "list", "rename", "unlink", "rss")

Opening = Callable[[Server, str, Path], AbstractContextManager[Mount]]
OPENINGS: dict[str, Opening] = {"mount": frazil_mount, "s3fs": s3fs_mount, "rclone": rclone_mount}


class Contest:
    """All values so far, by contender and figure."""

    def __init__(self, server: Server, directory: Path, options: argparse.Namespace) -> None:
        self._server, self._directory, self._options = server, directory, options
        self._bucket = Bucket(server.host, server.credentials, BUCKET)
        self._turn = 0
        self.values: dict[str, float] = {}
        self.failures: dict[str, str] = {}

    def prepare(self) -> None:
        """What all of them read: put by S3, so that none has it in a cache of its own."""
        self._bucket.create()
        self._bucket.put("large", os.urandom(BLOCK_BYTES) * self._options.mib)
        self._bucket.fill([f"small/{number:06}" for number in range(self._options.files)], SMALL_BYTES)

    def limit(self) -> None:
        """pyfuse3's own, and the store's own in one process."""
        with self._mounted("zeros", zeros_mount) as mount:
            self.values["zeros-read"] = read_rate(mount.path / FILE.decode(), self._options.mib)
            self.values["zeros-write"] = write_rate(mount.path / FILE.decode(), self._options.mib)
            small = [f"{number:06}" for number in range(self._options.files)]
            self.values["zeros-create"] = per_second(create, mount.path / "new", small)
            self.values["zeros-stat"] = per_second(stat_all, mount.path / FULL.decode(), small)
        self.values["process-put"] = trio.run(put_rate, self._directory / "in-process", self._options.mib)

    def play(self, name: str) -> None:
        """Every figure of one contender; a fresh mount before whatever must be cold. A figure that fails ends its part."""
        files = self._options.files if name == "mount" else min(self._options.files, PEER_FILES_MAX)
        listed = self._options.listed if name == "mount" else min(self._options.listed, PEER_FILES_MAX)
        small = [f"{number:06}" for number in range(files)]
        self._bucket.fill([f"{name}-listed/{number:06}" for number in range(listed)], LISTED_BYTES)
        self._bucket.fill([f"{name}-gone/{number}" for number in small], SMALL_BYTES)
        opening = OPENINGS[name]
        with self._mounted(name, opening) as mount:
            self._take(name, "write", lambda: write_rate(mount.path / f"{name}-large", self._options.mib))
            self._take(name, "create", lambda: per_second(create, mount.path / f"{name}-new", small))
        with self._mounted(name, opening) as mount:
            self._take(name, "stat", lambda: per_second(stat_all, mount.path / "small", small))
            self._take(name, "read-4k", lambda: per_second(read_all, mount.path / "small", small))
            self._take(name, "read", lambda: read_rate(mount.path / "large", self._options.mib))
        with self._mounted(name, opening) as mount:
            self._take(name, "list", lambda: list_rate(mount.path / f"{name}-listed", listed))
            self._take(name, "rename", lambda: rename_rate(mount.path, f"{name}-listed", listed))
            self._take(name, "unlink", lambda: per_second(unlink_all, mount.path / f"{name}-gone", small))
            self._take(name, "rss", lambda: resident_mib(mount.pid))

    def records(self, peers: Sequence[str]) -> Iterator[Record]:
        for kind in FIGURES:
            name, unit = f"mount-{kind}", UNITS.get(kind, "per s")
            if name in self.failures:
                yield figure.failed(name, unit, self.failures[name])
            elif name in self.values:
                beside = tuple(f"{peer}-{kind}" for peer in (CEILING, *peers))
                yield figure.record(name, self.values[name], unit, reference=REFERENCES.get(kind), references=self.values, beside=beside)
        for name, value in self.values.items():
            if not name.startswith("mount-"):
                yield figure.record(name, value, UNITS.get(name.partition("-")[2], "MiB/s" if name == "process-put" else "per s"))
        for name, reason in self.failures.items():
            if not name.startswith("mount-"):
                yield figure.failed(name, "", reason)

    def _mounted(self, name: str, opening: Opening) -> AbstractContextManager[Mount]:
        self._turn += 1
        return opening(self._server, BUCKET, self._directory / f"{name}-{self._turn}")

    def _take(self, name: str, kind: str, measure: Callable[[], float]) -> None:
        subprocess.run(["sync", "--file-system", str(self._directory)], check=True)
        try:
            value = self.values[f"{name}-{kind}"] = measure()
        except (OSError, subprocess.SubprocessError) as error:
            self.failures[f"{name}-{kind}"] = str(error)
            print(f"{name} {kind}: {error}", file=sys.stderr)
            return
        print(f"{name} {kind}: {report.number(value)} {UNITS.get(kind, 'per s')}", file=sys.stderr, flush=True)


def read_rate(path: Path, mib: int) -> float:
    """MiB/s of reading so much from the file's begin, a MiB at a time. Raises: OSError when it is shorter."""
    view, began = memoryview(bytearray(BLOCK_BYTES)), time.perf_counter()
    with path.open("rb", buffering=0) as file:
        for _ in range(mib):
            if file.readinto(view) != BLOCK_BYTES:
                raise OSError(f"{path} ended early")
    return mib / (time.perf_counter() - began)


def write_rate(path: Path, mib: int) -> float:
    """MiB/s of writing and one fsync."""
    block, began = os.urandom(BLOCK_BYTES), time.perf_counter()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        for _ in range(mib):
            os.write(descriptor, block)
        os.fsync(descriptor)
        return mib / (time.perf_counter() - began)
    finally:
        os.close(descriptor)


class Blocks:
    """So many MiB as a store.source.Source."""

    def __init__(self, mib: int) -> None:
        self.length: int | None = mib * BLOCK_BYTES
        self.digests: frozenset[str] = frozenset()
        self._left, self._block = mib * BLOCK_BYTES, os.urandom(BLOCK_BYTES)

    async def fill(self, buffer: memoryview) -> int:
        filled = 0
        while filled < len(buffer) and self._left:
            count = min(len(buffer) - filled, self._left, BLOCK_BYTES)
            buffer[filled : filled + count] = self._block[:count]
            filled, self._left = filled + count, self._left - count
        return filled

    def complete(self, digests: dict[str, bytes]) -> dict[str, str]:
        return {}


async def put_rate(path: Path, mib: int) -> float:
    """MiB/s of one PUT to a store in this process, durable at its end."""
    async with open_store(StoreOptions((path,), 1)) as store:
        await store.meta.create_bucket(BucketSettings(BUCKET, "bench", "bench", 1))
        began = time.perf_counter()
        await store.put_object(BUCKET, "large", Blocks(mib), attributes=Attributes(), owner="bench")
        return mib / (time.perf_counter() - began)


def per_second(work: Callable[[Path, Sequence[str]], None], folder: Path, names: Sequence[str]) -> float:
    began = time.perf_counter()
    work(folder, names)
    return len(names) / (time.perf_counter() - began)


def create(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir()
    data = os.urandom(SMALL_BYTES)
    for name in names:
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(descriptor, data)
        os.close(descriptor)


def stat_all(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if os.stat(folder / name).st_size != SMALL_BYTES:
            raise OSError(f"{name} has another size")


def read_all(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if len((folder / name).read_bytes()) != SMALL_BYTES:
            raise OSError(f"{name} has another size")


def unlink_all(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        os.unlink(folder / name)


def list_rate(folder: Path, count: int) -> float:
    """Entries per second of `ls -l`."""
    began = time.perf_counter()
    done = subprocess.run(["ls", "-l", str(folder)], capture_output=True, check=True, timeout=600)
    seconds = time.perf_counter() - began
    lines = done.stdout.count(b"\n")
    if lines != count + 1:
        raise OSError(f"ls told of {lines - 1} entries instead of {count}")
    return count / seconds


def rename_rate(top: Path, folder: str, count: int) -> float:
    """Files per second of renaming the folder that holds them."""
    began = time.perf_counter()
    os.rename(top / folder, top / f"{folder}-moved")
    return count / (time.perf_counter() - began)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fs", description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the large file")
    parser.add_argument("--files", type=int, default=10_000, help="small files that are made, looked at and removed")
    parser.add_argument("--listed", type=int, default=100_000, help="files in the folder that is listed and renamed")
    parser.add_argument("--only", default="mount,s3fs,rclone", metavar="NAMES", help="mounts to measure, comma-separated")
    parser.add_argument("--quick", action="store_true", help=", ".join(f"--{name} {value}" for name, value in QUICK.items()))
    parser.add_argument("--dir", type=Path, default=OUT, help="where the stores are made: the disk to measure")
    parser.add_argument("--json", type=Path, default=OUT / "fs.json")
    return parser


def main() -> int:
    options = arguments().parse_args()
    if options.quick:
        vars(options).update(QUICK)
    wanted = options.only.split(",")
    peers = [name for name in installed(PEERS) if name in wanted]
    records: list[Record] = []
    try:
        with workplace(options.dir) as directory, frazil(directory / "store") as server:
            contest = Contest(server, directory, options)
            try:
                contest.prepare()
                contest.limit()
                for name in ["mount"] * ("mount" in wanted) + peers:
                    contest.play(name)
            finally:
                records = list(contest.records(peers))
    except (LoadFailed, ServerFailed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        if records:
            report.write_json(options.json, records)
            print(report.table(records), flush=True)
    return 1 if any(record.failed for record in records) else 0


if __name__ == "__main__":
    sys.exit(main())
