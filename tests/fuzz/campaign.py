"""A bounded run of cases against a store: it fails on an internal error, a hang, a crash, a leak, and on harm to what nobody aimed at."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from tests.support.store import StoreProcess
from tests.support.wire import Reply, exchange

from .case import Case, CaseMaker
from .model import BUCKETS

HANG_S = 20.0
CHECK_EACH = 100
"""Cases between two looks at the canary, the log and what the process holds."""
WARM_CASES = 1_000
"""After so many its memory should have found its size."""
MEMORY_GROWTH_MAX = 96 << 20
FILES_GROWTH_MAX = 48
"""Descriptors beyond those at the beginning: databases of the buckets stay open."""
SETTLE_S = 5.0
CANARY = "canary"


class Found(AssertionError):
    """A case that the store did not stand; the message says how to repeat it."""


@dataclass(slots=True)
class Tally:
    """What was sent and how it was answered. silent: connections that ended without an answer."""

    cases: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    memory_bytes: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        answered = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        memory = f"{self.memory_bytes[0] >> 20} to {self.memory_bytes[-1] >> 20} MiB" if self.memory_bytes else "not measured"
        return (
            f"{self.cases} cases ({dict(self.kinds)}), answers {answered}, silent {dict(self.silent)}, slowest {self.slowest_s:.2f} s, "
            f"memory {memory}"
        )


class Campaign:
    """Sends cases to a running store.

    share         of a processor that store and fuzzer may use together, about
    connections   cases on their way at once; only with one does a seed give the same history each time
    """

    def __init__(self, store: StoreProcess, seed: str, *, share: float = 1.0, connections: int = 1) -> None:
        self._store = store
        self._seed = seed
        self._share = share
        self._connections = connections
        self._maker = CaseMaker(seed, store.credentials, f"127.0.0.1:{store.port}")
        self._files = 0
        self.tally = Tally()

    def prepare(self) -> None:
        """Buckets to aim at, one of them with versions, and the object that must stay as it is."""
        with self._store.client() as client:
            lock = [("x-amz-bucket-object-lock-enabled", "true")]
            assert client.call("PUT", BUCKETS[2], headers=lock).status == 200
            for bucket in (*BUCKETS[:2], CANARY):
                client.make_bucket(bucket)
            status = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
            assert client.call("PUT", BUCKETS[1], query=[("versioning", "")], body=status).status == 200
            assert client.put(CANARY, CANARY, b"alive").status == 200
        self._files = self._store.open_files()

    def run(self, *, cases: int = 0, until: float = 0.0, first: int = 0) -> Tally:
        """So many cases, or until a time of the monotonic clock. Raises: Found."""
        number, checked = first, first
        with ThreadPoolExecutor(self._connections) as pool:
            while (number < first + cases) if cases else (time.monotonic() < until):
                began = time.monotonic()
                batch = range(number, number + self._connections)
                number = batch.stop
                for _ in pool.map(self.one, batch):
                    pass
                if number >= checked + CHECK_EACH:
                    checked = number
                    self.check(number)
                if self._share < 1:
                    time.sleep((time.monotonic() - began) * (1 / self._share - 1))
        self.check(number)
        return self.tally

    def one(self, number: int) -> Reply:
        """Sends one case and looks at its answer. Raises: Found."""
        case = self._maker.make(number)
        reply = self._send(case)
        tally = self.tally
        tally.cases += 1
        tally.kinds[case.kind] += 1
        tally.slowest_s = max(tally.slowest_s, reply.seconds)
        status = reply.final
        if status:
            tally.statuses[status] += 1
            head, _, body = reply.data.rpartition(b"\r\n\r\n")
            self._maker.known.learn(status, body, head)
        else:
            tally.silent[case.kind] += 1
        if status == 500:
            self._found("an internal error", number, case, reply)
        if reply.seconds >= HANG_S and self._send(case).seconds >= HANG_S:  # a machine without a moment to spare answers the second time
            self._found(f"no answer for {HANG_S:g} s", number, case, reply)
        if not self._store.running:
            self._found("the store died", number, case, reply)
        return reply

    def _send(self, case: Case) -> Reply:
        return exchange(self._store.url, case.data, wait_s=HANG_S, shut=True, enough=1)

    def check(self, number: int) -> None:
        """What should hold whatever was sent. Raises: Found."""
        with self._store.client() as client:
            answer = client.get(CANARY, CANARY)
            for bucket in BUCKETS[:2]:  # a case may have deleted it
                client.make_bucket(bucket)
        complaints = self._store.complaints()
        if complaints:
            self._found("the log complains:\n" + "\n".join(complaints[:30]), number)
        if (answer.status, answer.body) != (200, b"alive"):
            self._found(f"the canary is gone: {answer}", number)
        self._check_leaks(number)

    def _check_leaks(self, number: int) -> None:
        tally = self.tally
        if tally.cases >= WARM_CASES or not tally.memory_bytes:
            tally.memory_bytes.append(self._store.resident_bytes())
        if tally.cases >= WARM_CASES:
            warm = tally.memory_bytes[min(1, len(tally.memory_bytes) - 1)]
            if tally.memory_bytes[-1] - warm > MEMORY_GROWTH_MAX:
                self._found(f"memory grew from {warm >> 20} to {tally.memory_bytes[-1] >> 20} MiB", number)
        deadline = time.monotonic() + SETTLE_S
        while (files := self._store.open_files()) > self._files + FILES_GROWTH_MAX:
            if time.monotonic() > deadline:
                self._found(f"open files grew from {self._files} to {files}", number)
            time.sleep(0.1)

    def _found(self, what: str, number: int, case: Case | None = None, reply: Reply | None = None) -> None:
        lines = [f"{what}, at case {number} of seed {self._seed}"]
        if case is not None:
            lines += [f"python -m tests.fuzz --seed {self._seed} --first {number} --cases 1", f"{case.kind}: {case.data[:3_000]!r}"]
        if reply is not None:
            lines.append(f"answer: {reply.data[:1_000]!r}")
        lines.append(self._store.log_tail(30))
        raise Found("\n".join(lines))
