"""The oracle: what clients did and saw, written outside of the fault's reach, and the verdict whether a store may answer so.

Each write carries a token that is used once, and its body tells the token; so a read names the write it saw. A key is then a register,
and whether some linearization exists is decided pair by pair of its operations:

    start < end         an acknowledged write took effect between the two
    unknown             no answer, or a 5xx: it took effect between its start and the end of that life of the store, or never
    failed              a 4xx: it must never be seen
    after a cut         what ended after a power cut began tells nothing: a machine without power answers nobody. It matters, for while
                        Linux shuts a file system down, an fdatasync may return 0 though its journal is thrown away (with a plain loop
                        of fdatasync: in 3 of 60 cuts of ext4 and 4 of 60 of XFS)

A read that returns write W is wrong when W began after the read ended; stale when some other write V took effect certainly after W and
certainly before the read. V is certain when it was acknowledged, or when another read saw it. A stale read is a resurrection when V was a
delete, and else a loss of V. A read of nothing is a loss when some certain write W ended before it and no delete can stand between.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path

BODY_BYTES_MIN = 64
_MAGIC = b"frazil-test "
NEVER_NS = 1 << 62


class Outcome(StrEnum):
    ACKED = "acked"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    PUT = "put"
    DELETE = "delete"
    READ = "read"
    CRASH = "crash"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Event:
    """One operation as its client saw it. Times: monotonic nanoseconds. `token`: what a put wrote or a read returned, "" for nothing.
    `fault`: "torn" or "wrong" for a read whose body is no write's."""

    kind: Kind
    key: str
    token: str
    start_ns: int
    end_ns: int
    outcome: Outcome = Outcome.ACKED
    fault: str = ""
    detail: str = ""


def make_body(token: str, size: int) -> bytes:
    """The one body of `size` bytes (64 at least) that carries `token`."""
    head = _MAGIC + f"{token} {size}\n".encode()
    assert size >= max(BODY_BYTES_MIN, len(head)), "too small to carry a token"
    return head + hashlib.shake_128(token.encode()).digest(size - len(head))


def identify(body: bytes) -> tuple[str, str]:
    """(token, "") of a whole body; (token or "", "torn" or "wrong") of any other."""
    head, _, _ = body[:256].partition(b"\n")
    words = head.split(b" ")
    if len(words) != 3 or not head.startswith(_MAGIC) or not words[2].isdigit():
        return "", "wrong"
    token, size = words[1].decode(errors="replace"), int(words[2])
    if len(body) != size or make_body(token, size) != body:
        return token, "torn"
    return token, ""


class ClientLog:
    """Events of all clients of a run, in memory and in a file of JSON Lines. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()
        self.events: list[Event] = []

    def add(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)
            self._file.write(json.dumps(asdict(event)) + "\n")

    def crash(self) -> None:
        """The store was ended just now: no write sent before can still take effect."""
        now = time.monotonic_ns()
        self.add(Event(Kind.CRASH, "", "", now, now))

    def cut(self) -> None:
        """The power begins to fail just now: until the `crash` that follows, answers are no promise."""
        now = time.monotonic_ns()
        self.add(Event(Kind.CUT, "", "", now, now))

    def keys(self) -> list[str]:
        with self._lock:
            return sorted({event.key for event in self.events if event.key})

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Verdict:
    """Counts of what was done; findings by kind, each a sentence."""

    acked: int = 0
    failed: int = 0
    unknown: int = 0
    reads: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    resurrected: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not (self.lost or self.wrong or self.resurrected or self.torn)

    def __repr__(self) -> str:
        bad = " ".join(f"{name}={len(getattr(self, name))}" for name in ("lost", "wrong", "resurrected", "torn"))
        return f"<Verdict acked={self.acked} failed={self.failed} unknown={self.unknown} reads={self.reads} {bad}>"

    def explain(self, limit: int = 10) -> str:
        lines = [f"{name}: {text}" for name in ("lost", "wrong", "resurrected", "torn") for text in getattr(self, name)[:limit]]
        return "\n".join([repr(self), *lines])


@dataclass(frozen=True, slots=True)
class _Write:
    event: Event
    end_ns: int
    certain: bool


def judge(events: Iterable[Event]) -> Verdict:
    """The verdict on a history. Order of `events` does not matter."""
    verdict = Verdict()
    by_key: dict[str, list[Event]] = defaultdict(list)
    history = sorted(events, key=lambda event: event.start_ns)
    crashes = [event.start_ns for event in history if event.kind is Kind.CRASH]
    dark = [(cut.start_ns, _after(crashes, cut.start_ns)) for cut in history if cut.kind is Kind.CUT]
    for event in history:
        if event.kind in (Kind.CRASH, Kind.CUT):
            continue
        if event.outcome is Outcome.ACKED and any(event.start_ns < crash and event.end_ns > cut for cut, crash in dark):
            event = replace(event, outcome=Outcome.UNKNOWN)
        by_key[event.key].append(event)
    for key in sorted(by_key):
        _judge_key(key, by_key[key], crashes, verdict)
    return verdict


def _after(crashes: list[int], moment_ns: int) -> int:
    """The first crash at that time or later."""
    return next((crash for crash in crashes if crash >= moment_ns), NEVER_NS)


def _judge_key(key: str, events: list[Event], crashes: list[int], verdict: Verdict) -> None:
    reads = [event for event in events if event.kind is Kind.READ and event.outcome is Outcome.ACKED]
    verdict.reads += len(reads)
    first_seen: dict[str, int] = {}
    for read in reads:
        if read.token and not read.fault:
            first_seen[read.token] = min(read.end_ns, first_seen.get(read.token, NEVER_NS))
    writes: list[_Write] = []
    failed: set[str] = set()
    for event in events:
        if event.kind is Kind.READ:
            continue
        if event.outcome is Outcome.FAILED:
            verdict.failed += 1
            failed.add(event.token)
            continue
        writes.append(_settle(event, crashes, first_seen.get(event.token, NEVER_NS) if event.token else NEVER_NS))
        if event.outcome is Outcome.ACKED:
            verdict.acked += 1
        else:
            verdict.unknown += 1
    by_token = {write.event.token: write for write in writes if write.event.kind is Kind.PUT}
    for read in reads:
        where = f"{key!r} {read.detail}".rstrip()
        if read.fault:
            (verdict.torn if read.fault == "torn" else verdict.wrong).append(f"{where}: {read.fault} body, token {read.token!r}")
        elif not read.token:
            _judge_absence(where, read, writes, verdict)
        elif read.token in failed:
            verdict.wrong.append(f"{where}: shows {read.token}, which was refused")
        elif read.token not in by_token:
            verdict.wrong.append(f"{where}: shows {read.token}, which no one wrote there")
        else:
            _judge_value(where, read, by_token[read.token], writes, verdict)


def _settle(event: Event, crashes: list[int], seen_ns: int) -> _Write:
    """A write with the latest time at which it can have taken effect, and whether it surely did."""
    if event.outcome is Outcome.ACKED:
        return _Write(event, min(event.end_ns, seen_ns), True)
    return _Write(event, min(_after(crashes, event.start_ns), seen_ns), seen_ns < NEVER_NS)


def _judge_value(where: str, read: Event, write: _Write, writes: list[_Write], verdict: Verdict) -> None:
    if write.event.start_ns > read.end_ns:
        verdict.wrong.append(f"{where}: shows {read.token} before it was written")
        return
    for other in writes:
        if other is not write and other.certain and write.end_ns < other.event.start_ns and other.end_ns < read.start_ns:
            if other.event.kind is Kind.DELETE:
                verdict.resurrected.append(f"{where}: shows {read.token}, which was deleted after")
            else:
                verdict.lost.append(f"{where}: shows {read.token}, not {other.event.token}, which was acknowledged after")
            return


def _judge_absence(where: str, read: Event, writes: list[_Write], verdict: Verdict) -> None:
    for write in writes:
        if write.event.kind is Kind.PUT and write.certain and write.end_ns < read.start_ns:
            between = (
                w for w in writes if w.event.kind is Kind.DELETE and w.end_ns > write.event.start_ns and w.event.start_ns < read.end_ns
            )
            if next(between, None) is None:
                verdict.lost.append(f"{where}: shows nothing, not {write.event.token}, which was acknowledged")
                return
