"""The figures of one running server: prepares what each needs, measures it, and leaves the store as it was but for small objects."""

from __future__ import annotations

import hashlib
import mmap
import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

from benchmarks.bucket import Bucket
from benchmarks.load import Load, LoadFailed, LoadResult
from benchmarks.memory import MIB, cpu_seconds, resident_mib
from benchmarks.reference import listed_key
from benchmarks.serving import Server, ServerFailed
from benchmarks.transfer import Connection, heads, transfer

BUCKET = "frazil-bench"
KIB = 1024
SIZES = {"4k": 4 * KIB, "128k": 128 * KIB, "64m": 64 * MIB}
SMALL = ("4k", "128k")
LARGE = "64m"
LARGE_OBJECTS = 4
"""Different large objects that the GETs take turns on."""
LARGE_ROUNDS_MIN = 2
"""Objects per connection, so that the last, ragged round weighs half at most; one where there are too many connections for two."""
LARGE_BYTES_MAX = 4 << 30
"""A figure writes no more than this, whatever the rate."""
KEYS_GOT = {"4k": 1000, "128k": 200}
KEYS_PER_SECOND = 4000
"""Fresh keys prepared per second of a PUT figure; a faster server goes round and overwrites."""
DELETES_PER_SECOND = 1000
LISTED_BODY_BYTES = 16
LIST_BUCKET_PAGES = 100
READY_TIMEOUT_S = 60.0
CLIENTS_AT_ONCE = 200
CLIENT_OBJECT_BYTES = 8 * MIB
GROWTH_REQUESTS = 10_000
GROWTH_KEYS = 500
SETTLE_S = 1.0
SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Measurement:
    value: float
    unit: str
    p50_us: int | None = None
    p99_us: int | None = None
    server_cpu_us: float | None = None


@dataclass(slots=True)
class Suite:
    """Figures of `server`; each public method is one, blocks until it is measured, and raises LoadFailed when an answer was wrong."""

    server: Server
    seconds: int = 5
    listed_keys: int = 100_000
    large_gib: float = 5.0
    large_stored: bool = False
    """The large objects are there already, from before a restart of the same store."""
    bucket: Bucket = field(init=False)
    listed: Bucket = field(init=False)
    _ready: set[str] = field(init=False, default_factory=set)
    _serial: int = field(init=False, default=0)
    _loaded: tuple[Measurement, Measurement] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.bucket = Bucket(self.server.host, self.server.credentials, BUCKET)
        self.listed = Bucket(self.server.host, self.server.credentials, "frazil-bench-list")
        if self.large_stored:
            self._ready.add(LARGE)

    def open(self) -> None:
        """Waits until the server takes a bucket (some listen before they can) and sees a small and a large body come back equal."""
        limit = time.monotonic() + READY_TIMEOUT_S
        while True:
            try:
                self.bucket.create()
                break
            except LoadFailed as error:
                if "BucketAlreadyOwnedByYou" in str(error):
                    break
                if time.monotonic() > limit:
                    raise ServerFailed(str(error)) from error
                time.sleep(0.2)
        for size in (0, 1, *SIZES.values()):
            body = os.urandom(size)
            self.bucket.put("check", body)
            if self.bucket.get("check") != body:
                raise LoadFailed(f"{size} bytes came back changed")
        self.bucket.delete(["check"])

    def close(self) -> None:
        """Removes what was written. For servers whose directory isn't ours to delete."""
        if "list" in self._ready:
            self.listed.clear()
        self.bucket.clear()

    def small_put(self, size: str, connections: int) -> Measurement:
        keys = self._fresh(KEYS_PER_SECOND * self.seconds)
        targets = self.bucket.targets("PUT", keys)
        return self._load(Load("PUT", self.server.host, targets, connections, self.seconds, body_bytes=SIZES[size]))

    def small_get(self, size: str, connections: int) -> Measurement:
        return self._load(Load("GET", self.server.host, self.bucket.targets("GET", self._got(size)), connections, self.seconds))

    def head(self, connections: int) -> Measurement:
        targets = self.bucket.targets("HEAD", self._got("4k"))
        return self._timed(lambda: heads(self.server.host, targets, connections, self.seconds))

    def delete(self, connections: int) -> Measurement:
        keys = self._fresh(DELETES_PER_SECOND * self.seconds)
        self.bucket.fill(keys, SIZES["4k"])
        return self._load(Load("DELETE", self.server.host, self.bucket.targets("DELETE", keys), connections, 0, count=len(keys)))

    def large_put(self, connections: int) -> Measurement:
        """MiB/s of PUTs of 64 MiB; what was written is deleted again."""
        body = memoryview(os.urandom(SIZES[LARGE]))
        first = self._fresh(1)
        probe = transfer("PUT", self.server.host, self.bucket.targets("PUT", first), 1, body)
        count = self._rounds(probe.seconds, connections)
        keys = self._fresh(count)
        targets = self.bucket.targets("PUT", keys)
        try:
            return self._mib(self._timed(lambda: transfer("PUT", self.server.host, targets, connections, body)))
        finally:
            self.bucket.delete([*first, *keys])

    def large_get(self, connections: int, objects: int = LARGE_OBJECTS) -> Measurement:
        """MiB/s of GETs of cached 64 MiB objects, one of which is compared with what was stored before the clock runs."""
        self.prepare_large()
        keys = [f"large/{index}" for index in range(objects)]
        probe_s = self._verify_large(keys[0])
        count = self._rounds(probe_s, connections)
        targets = self.bucket.targets("GET", [keys[index % objects] for index in range(count)])
        return self._mib(self._timed(lambda: transfer("GET", self.server.host, targets, connections)))

    def list_page_ms(self, delimiter: str = "") -> Measurement:
        """Milliseconds per page of 1,000 entries, one connection, from all over the bucket."""
        measured = self._load(Load("GET", self.server.host, self._pages(delimiter), 1, self.seconds))
        return Measurement(1000 / measured.value, "ms", measured.p50_us, measured.p99_us, measured.server_cpu_us)

    def list_keys_per_s(self, connections: int) -> Measurement:
        measured = self._load(Load("GET", self.server.host, self._pages(""), connections, self.seconds))
        per_page = min(1000, self.listed_keys)
        return Measurement(measured.value * per_page, "keys/s", measured.p50_us, measured.p99_us, measured.server_cpu_us)

    def resident(self) -> Measurement:
        time.sleep(SETTLE_S)
        return Measurement(resident_mib(self.server.pid), "MiB")

    def resident_loaded(self) -> tuple[Measurement, Measurement]:
        """Resident memory after 200 concurrent 8 MiB PUTs and one object of `large_gib` in and out; and the peak meanwhile. Done once."""
        if self._loaded is None:
            self._loaded = self._load_memory()
        return self._loaded

    def _load_memory(self) -> tuple[Measurement, Measurement]:
        body = memoryview(os.urandom(CLIENT_OBJECT_BYTES))
        keys = self._fresh(CLIENTS_AT_ONCE)
        with Peak(self.server.pid) as peak:
            transfer("PUT", self.server.host, self.bucket.targets("PUT", keys), CLIENTS_AT_ONCE, body)
            # Pages of an anonymous mapping that nobody wrote are all the one zero page: 5 GiB to send, nothing to hold.
            private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            with mmap.mmap(-1, int(self.large_gib * 1024) * MIB, flags=private) as zeros, memoryview(zeros) as whole:
                transfer("PUT", self.server.host, self.bucket.targets("PUT", ["huge"]), 1, whole)
            transfer("GET", self.server.host, self.bucket.targets("GET", ["huge"]), 1)
            time.sleep(SETTLE_S)
        after = resident_mib(self.server.pid)
        self.bucket.delete([*keys, "huge"])
        return Measurement(after, "MiB"), Measurement(peak.mib, "MiB")

    def growth(self) -> Measurement:
        """MiB by which resident memory is higher after 10,000 further requests, PUT and GET by turns, of a store already warm."""
        keys = [f"growth/{index}" for index in range(GROWTH_KEYS)]
        puts, gets = self.bucket.targets("PUT", keys), self.bucket.targets("GET", keys)

        def requests(total: int) -> None:
            half = total // 2
            Load("PUT", self.server.host, puts, 16, 0, body_bytes=SIZES["4k"], count=half).run()
            Load("GET", self.server.host, gets, 16, 0, count=half).run()

        requests(GROWTH_REQUESTS // 2)
        time.sleep(SETTLE_S)
        before = resident_mib(self.server.pid)
        requests(GROWTH_REQUESTS)
        time.sleep(SETTLE_S)
        return Measurement(resident_mib(self.server.pid) - before, "MiB")

    def _fresh(self, count: int) -> list[str]:
        self._serial += 1
        return [f"new/{self._serial:03d}/{index:07d}" for index in range(count)]

    def _got(self, size: str) -> list[str]:
        keys = [f"got/{size}/{index:04d}" for index in range(KEYS_GOT[size])]
        if size not in self._ready:
            self.bucket.fill(keys, SIZES[size])
            self._ready.add(size)
        return keys

    def prepare_large(self) -> None:
        """Stores the objects that the large GETs read, unless they are there."""
        if LARGE in self._ready:
            return
        for index in range(LARGE_OBJECTS):
            transfer("PUT", self.server.host, self.bucket.targets("PUT", [f"large/{index}"]), 1, memoryview(large_body(index)))
        self._ready.add(LARGE)

    def _verify_large(self, key: str) -> float:
        """Seconds of one GET; raises LoadFailed when the bytes differ."""
        digest = hashlib.sha256()
        target = self.bucket.targets("GET", [key])[0]
        with closing(Connection(self.server.host)) as line:
            line.exchange("GET", target, sink=digest.update)
            if digest.digest() != hashlib.sha256(large_body(int(key.rpartition("/")[2]))).digest():
                raise LoadFailed(f"{key} came back changed")
            started = time.perf_counter()
            line.exchange("GET", target)
            return time.perf_counter() - started

    def _rounds(self, one_s: float, connections: int) -> int:
        """Requests that fill the time at the rate of one connection, a whole number per connection, bounded by bytes."""
        per_connection = round(self.seconds / one_s / connections)
        most = max(LARGE_BYTES_MAX // (SIZES[LARGE] * connections), 1)
        return connections * min(max(LARGE_ROUNDS_MIN, per_connection), most)

    def _pages(self, delimiter: str) -> list[str]:
        if "list" not in self._ready:
            self._fill_listed()
            self._ready.add("list")
        query = {"max-keys": "1000", **({"delimiter": delimiter} if delimiter else {})}
        step = 1 if self.listed_keys <= 1000 else max((self.listed_keys - 1000) // LIST_BUCKET_PAGES, 1)
        if delimiter:
            return [self.listed.list_target(**query)]
        starts = range(0, max(self.listed_keys - 1000, 1), step)
        return [self.listed.list_target(**query, **{"start-after": listed_key(start)}) for start in starts]

    def _fill_listed(self) -> None:
        self.listed.create()
        keys = [listed_key(index) for index in range(self.listed_keys)]
        self.listed.fill(keys, LISTED_BODY_BYTES)
        found = self.listed.keys()
        if found != keys:
            raise LoadFailed(f"the bucket lists {len(found)} keys, {len(keys)} were put, or in another order")

    def _load(self, load: Load) -> Measurement:
        return self._timed(load.run)

    def _timed(self, run: Callable[[], LoadResult]) -> Measurement:
        """Requests per second of one run, after what earlier figures left unwritten is on disk."""
        if self.server.directory:
            # The one file system: sync(2) would wait for every other on the machine too.
            subprocess.run(["sync", "--file-system", str(self.server.directory)], check=True)
        before = cpu_seconds(self.server.pid) if self.server.pid else 0.0
        result = run()
        spent = cpu_seconds(self.server.pid) - before if self.server.pid else 0.0
        return Measurement(
            result.rate, "per s", result.p50_us or None, result.p99_us or None, spent / result.requests * 1e6 if self.server.pid else None
        )

    @staticmethod
    def _mib(measured: Measurement) -> Measurement:
        return Measurement(measured.value * SIZES[LARGE] / MIB, "MiB/s", server_cpu_us=measured.server_cpu_us)


class Peak:
    """Samples a server's resident memory beside a load."""

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_S):
            self.mib = max(self.mib, resident_mib(self._pid))


def large_body(index: int) -> bytes:
    """The same bytes for the same index in every run, no two objects alike, no block repeated."""
    return hashlib.shake_128(b"frazil large object %d" % index).digest(SIZES[LARGE])
