"""Disks that are full, read-only or broken: a clear error, nothing lost, recovery by itself."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from node.http.client import IO_TIMEOUT_S
from tests.cluster.conftest import StoreMaker
from tests.support.client import Answer, Client
from tests.support.disk import MIB, FaultyImage, LoopDisk
from tests.support.load import Load, Mix, outcome_of
from tests.support.need import need_fuse, need_programs, need_root
from tests.support.oracle import ClientLog, Event, Kind, Outcome, judge, make_body
from tests.support.store import StoreProcess
from tests.support.strace import Strace
from tests.support.survey import read_all

BUCKET = "bucket"
RECOVER_S = 20.0
CLEAR_CODES = {"InsufficientStorage", "ServiceUnavailable", "SlowDown", "InternalError"}
pytestmark = [pytest.mark.root, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def _needs() -> None:
    need_root()
    need_programs("mkfs.ext4", "losetup", "strace")


def within(seconds: float, attempt: Callable[[], Answer]) -> float:
    """Repeats a request until it succeeds; the seconds it took."""
    began = time.monotonic()
    while True:
        answer = attempt()
        if answer.status < 300:
            return time.monotonic() - began
        assert time.monotonic() - began < seconds, f"still {answer} after {seconds} s"
        time.sleep(0.2)


class Journal:
    """Puts whose outcome is logged; what was refused must be a clear error."""

    def __init__(self, client: Client, log: ClientLog, name: str = "p") -> None:
        self._client = client
        self._name = name
        self._log = log
        self._serial = 0

    def put(self, key: str, size: int) -> Answer:
        self._serial += 1
        token = f"{self._name}{self._serial}"
        body = make_body(token, size)
        start = time.monotonic_ns()
        answer = self._client.put(BUCKET, key, body)
        self._log.add(Event(Kind.PUT, key, token, start, time.monotonic_ns(), outcome_of(answer)))
        return answer

    def delete(self, key: str) -> Answer:
        start = time.monotonic_ns()
        answer = self._client.delete(BUCKET, key)
        self._log.add(Event(Kind.DELETE, key, "", start, time.monotonic_ns(), outcome_of(answer)))
        return answer


@contextmanager
def opened(store: StoreProcess, log: ClientLog) -> Iterator[tuple[Client, Journal]]:
    with store.client() as client:
        client.make_bucket(BUCKET)
        yield client, Journal(client, log)


def assert_sound(store: StoreProcess, log: ClientLog) -> None:
    """Every key reads as the oracle allows."""
    with store.client() as client:
        found = read_all(client, BUCKET, log.keys(), log, "at the end")
    verdict = judge(log.events)
    print(verdict)
    assert verdict.sound, verdict.explain()
    assert not found, found[:10]


def assert_refused(answer: Answer) -> None:
    assert answer.status in (500, 503, 507), answer
    assert answer.code in CLEAR_CODES, answer
    assert answer.text("Message"), answer


def test_a_store_that_fills_its_disk(make_store: StoreMaker, log: ClientLog, scratch: Path) -> None:
    """It refuses what does not fit, keeps all it has, deletes still work and make room."""
    with LoopDisk(scratch / "disk", size_bytes=256 * MIB) as disk:
        store = make_store([disk.root / "store"])
        store.allowed.append("full|space|Full|ENOSPC|NotEnough")
        with opened(store, log) as (client, journal):
            refused = None
            for number in range(600):
                answer = journal.put(f"k{number}", (3_000_000, 100_000, 2_000)[number % 3])
                if answer.status != 200:
                    refused = answer
                    break
            assert refused is not None, "the disk never filled"
            assert_refused(refused)
            assert client.get(BUCKET, "k0").status == 200
            for number in range(12):
                assert journal.delete(f"k{number}").status == 204
            took = within(RECOVER_S, lambda: journal.put("again", 3_000_000))
            print(f"recovered in {took:.1f} s")
            assert_sound(store, log)
        store.stop()


@pytest.mark.parametrize("what", ["space", "inodes"])
def test_a_disk_that_others_fill(make_store: StoreMaker, log: ClientLog, scratch: Path, what: str) -> None:
    """Nothing is left at all, not even for metadata: writes are refused, reads go on, and it recovers when there is room again."""
    with LoopDisk(scratch / "disk", size_bytes=256 * MIB, inodes=8_192 if what == "inodes" else 0) as disk:
        store = make_store([disk.root / "store"])
        store.allowed.append("full|space|Full|ENOSPC|disk|NotEnough")
        with opened(store, log) as (client, journal):
            for number in range(30):
                assert journal.put(f"k{number}", (300_000, 2_000)[number % 2]).status == 200
            (disk.fill if what == "space" else disk.fill_inodes)()
            refused = 0
            for number in range(60):
                answer = journal.put(f"k{number}", 200_000 if what == "space" else 2_000)
                if answer.status != 200:
                    assert_refused(answer)
                    refused += 1
            assert refused > 20
            assert client.get(BUCKET, "k1").status == 200
            answer = journal.delete("k2")
            assert answer.status == 204 or outcome_of(answer) is Outcome.UNKNOWN
            disk.release()
            took = within(RECOVER_S, lambda: journal.put("again", 1_000_000))
            print(f"recovered in {took:.1f} s")
            assert_sound(store, log)
        store.restart()
        assert_sound(store, log)
        store.stop()


@contextmanager
def four_disks(scratch: Path, options: str = "defaults") -> Iterator[list[LoopDisk]]:
    """Of equal size, so that placement draws them equally."""
    with ExitStack() as stack:
        disks = [stack.enter_context(LoopDisk(scratch / f"disk{number}", size_bytes=192 * MIB)) for number in range(4)]
        for disk in disks:
            disk.unmount()
            disk.mount(options)
        yield disks


def test_one_full_disk_of_several(make_store: StoreMaker, log: ClientLog, scratch: Path) -> None:
    """Copies go to the disks with room; the full one is used again when it has room."""
    with four_disks(scratch) as disks:
        store = make_store([disk.root / "store" for disk in disks])
        store.allowed.append("full|space|Full|volume")
        with opened(store, log) as (_, journal):
            assert journal.put("before", 10_000).status == 200
            disks[3].fill()
            for number in range(20):
                assert journal.put(f"k{number}", (400_000, 2_000)[number % 2]).status == 200
            disks[3].release()
            wait_until_used(disks[3], journal)
            assert_sound(store, log)
        store.stop()


def wait_until_used(disk: LoopDisk, journal: Journal) -> None:
    """Until a new chunk lies on the disk; every write meanwhile succeeds."""
    end = time.monotonic() + RECOVER_S
    before = set(chunk_paths_under(disk.root))
    while set(chunk_paths_under(disk.root)) <= before:
        assert time.monotonic() < end, "the disk is not used again"
        assert journal.put("after", 2_000).status == 200
        time.sleep(0.1)


def chunk_paths_under(root: Path) -> Iterator[Path]:
    yield from (root / "store" / "volumes").glob("*/[0-9a-f][0-9a-f][0-9a-f]/*")


def test_one_read_only_disk_of_several(make_store: StoreMaker, log: ClientLog, scratch: Path) -> None:
    """ext4 stops all writes of one disk at an error: the others take them, and after its repair it is used again."""
    with four_disks(scratch, "errors=remount-ro") as disks:
        store = make_store([disk.root / "store" for disk in disks])
        store.allowed.append("read-only|Read-only|ReadOnly|volume|chunk")
        with opened(store, log) as (_, journal):
            for number in range(10):
                assert journal.put(f"k{number}", (400_000, 2_000)[number % 2]).status == 200
            disks[3].trigger_error()
            for number in range(20):
                assert journal.put(f"k{number}", (400_000, 2_000)[number % 2]).status == 200
            assert_sound(store, log)
        store.stop()
        disks[3].unmount()
        disks[3].repair_errors()
        disks[3].mount()
        store.start()
        with store.client() as client:
            wait_until_used(disks[3], Journal(client, log, name="q"))
        assert_sound(store, log)
        store.stop()


def test_a_whole_store_turns_read_only(make_store: StoreMaker, log: ClientLog, scratch: Path, seed: str) -> None:
    """ext4 stops all writes at an error: none is acknowledged any more, reads go on, and a repair brings everything back."""
    with LoopDisk(scratch / "disk", size_bytes=512 * MIB) as disk:
        disk.unmount()
        disk.mount("errors=remount-ro")
        store = make_store([disk.root / "store"])
        store.allowed.append("")
        with opened(store, log) as (client, journal):
            # The disk breaks between two loads: while ext4 stops, an fdatasync may return 0 for what it throws away.
            with Load(store.client, BUCKET, log, seed, name="before", mix=Mix(threads=4)) as load:
                load.wait_for(100, timeout_s=10)
            disk.trigger_error()
            with Load(store.client, BUCKET, log, seed, name="after", mix=Mix(threads=4)) as load:
                load.wait_for(300, timeout_s=2)
            assert store.running, "a read-only disk is no reason to die"
            answer = journal.put("refused", 1_000)
            assert_refused(answer)
            assert client.get(BUCKET, "nothing").status in (404, 500, 503)
        store.kill()
        log.crash()
        disk.unmount()
        disk.repair_errors()
        disk.mount()
        store.start()
        assert_sound(store, log)
        store.stop()


def test_unreadable_blocks_of_one_disk(make_store: StoreMaker, log: ClientLog, scratch: Path) -> None:
    """EIO on every read of what one disk holds of the objects: rebuilt on the fly from the others."""
    need_fuse()
    with FaultyImage(scratch, 256 * MIB) as faulty, LoopDisk(scratch / "disk", image=faulty.path) as disk:
        store = make_store([scratch / "a", scratch / "b", disk.root / "store"])
        store.allowed.append("volume|chunk|Input/output|EIO")
        with opened(store, log) as (client, journal):
            for number in range(12):
                assert journal.put(f"k{number}", (600_000, 100_000, 2_000)[number % 3]).status == 200
            chunks = list(chunk_paths_under(disk.root))
            assert len(chunks) > 6
            forget(disk.root)
            faulty.set(read="EIO")
            began = time.monotonic()
            for number in range(12):
                assert client.get(BUCKET, f"k{number}").status == 200
            assert time.monotonic() - began < IO_TIMEOUT_S, "each read waits for the bad disk"
            faulty.set()
            assert_sound(store, log)
        store.stop()


NEEDLE = b"the bytes that this disk forgets "
"""In every block of the bodies below, whatever their alignment."""


def scrubbed(store: StoreProcess) -> dict[str, int]:
    """What a deep scrub by metadata counts."""
    done = store.command("--json", "scrub", "meta", "--deep", check=False, timeout_s=120)
    assert done.returncode in (0, 6, 7), (done.returncode, done.stderr)
    progress: dict[str, int] = json.loads(done.stdout.splitlines()[-1])["progress"]
    return progress


def bodies_of(count: int) -> dict[str, bytes]:
    return {f"n{number}": (NEEDLE * (1 + (20_000, 400_000)[number % 2] // len(NEEDLE)))[number:] for number in range(count)}


@pytest.mark.parametrize("fault", ["dropped writes", "unreadable range"])
def test_what_one_disk_loses_is_served_found_and_repaired(make_store: StoreMaker, log: ClientLog, scratch: Path, fault: str) -> None:
    """Writes that it acknowledges and drops, or a range that it can't read: every read is right, the scrub finds and repairs all of it, and
    once the disk is well again so is everything on it."""
    need_fuse()
    with FaultyImage(scratch, 256 * MIB) as faulty, LoopDisk(scratch / "disk", image=faulty.path) as disk:
        store = make_store([scratch / "a", scratch / "b", disk.root / "store"])
        store.allowed.append("")
        bodies = bodies_of(12)
        with opened(store, log) as (client, _):
            if fault == "dropped writes":
                faulty.set(drop=NEEDLE)
            for key, body in bodies.items():
                assert client.put(BUCKET, key, body).status == 200
            hit = sum(NEEDLE in path.read_bytes() for path in chunk_paths_under(disk.root))
            assert hit > 3
            forget(disk.root)
            if fault == "dropped writes":
                faulty.set()
            else:
                faulty.set(read="EIO", needle=NEEDLE)
            for key, body in bodies.items():
                assert client.get(BUCKET, key).body == body
            first = scrubbed(store)
            faulty.set()
            assert not first.get("outcome:lost")
            aside = json.loads(store.command("--json", "quarantine", "list").stdout.splitlines()[-1])
            assert aside["chunks"] >= hit, (aside, first)  # some of it the reads had repaired before
            second = scrubbed(store)
            third = scrubbed(store) if any(name.startswith("problem:") for name in second) else second
            assert not [name for name in third if name.startswith("problem:")], third
            for key, body in bodies.items():
                assert client.get(BUCKET, key).body == body
        store.stop()


def forget(root: Path) -> None:
    """Drops cached pages of all files below, so that the next read goes to the disk."""
    os.sync()
    for path in root.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def test_a_disk_that_cannot_sync(make_store: StoreMaker, log: ClientLog, scratch: Path) -> None:
    """Writes and syncs of one disk of four fail: writes go on without it, nothing that was acknowledged needs it."""
    need_fuse()
    with FaultyImage(scratch, 256 * MIB) as faulty, LoopDisk(scratch / "disk", image=faulty.path) as disk:
        store = make_store([scratch / "a", scratch / "b", scratch / "c", disk.root / "store"])
        store.allowed.append("")
        with opened(store, log) as (_, journal):
            for number in range(6):
                assert journal.put(f"k{number}", (600_000, 2_000)[number % 2]).status == 200
            faulty.set(write="EIO", sync="EIO")
            for number in range(20):
                assert journal.put(f"k{number}", (600_000, 2_000)[number % 2]).status == 200
            assert_sound(store, log)
        store.kill()
        faulty.set()


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_a_failed_sync_is_never_acknowledged(make_store: StoreMaker, log: ClientLog, scratch: Path, error: str) -> None:
    """One volume, and its syncs fail: refused while they do, not acknowledged by a second try, and the store recovers by itself."""
    store = make_store()
    store.allowed.append("")
    sizes = (2_000, 1_500_000)
    with opened(store, log) as (_, journal):
        assert journal.put("key", sizes[0]).status == 200
        calls = ("fsync", "fdatasync", "syncfs", "sync_file_range")
        with Strace(store.pid, scratch / "trace", calls=calls, inject=f"{','.join(calls)}:error={error}") as trace:
            for number in range(8):
                assert_refused(journal.put(("key", f"new{number}")[number % 2], sizes[number // 2 % 2]))
        assert sum(trace.counts().values()) > 0, "nothing was synced at all"
        took = [within(2 * RECOVER_S, lambda size=size: journal.put("after", size)) for size in sizes]  # type: ignore[misc]
        print(f"recovered in {took[0]:.1f} s")
        assert_sound(store, log)
    store.kill()
    log.crash()
    store.start()
    assert_sound(store, log)


@pytest.mark.alone
def test_slow_disk_of_several_holds_no_reader(make_store: StoreMaker, log: ClientLog, scratch: Path, seed: str) -> None:
    """One disk of three answers each block after 50 ms: small reads of cached or other copies stay quick."""
    need_fuse()
    with FaultyImage(scratch, 256 * MIB) as faulty, LoopDisk(scratch / "disk", image=faulty.path) as disk:
        store = make_store([scratch / "a", scratch / "b", disk.root / "store"])
        store.allowed.append("slow|volume")
        rng = random.Random(seed)
        with opened(store, log) as (client, journal):
            for number in range(20):
                assert journal.put(f"k{number}", 2_000).status == 200
            forget(disk.root)
            faulty.set(delay_s=0.05)
            times = []
            for _ in range(60):
                began = time.monotonic()
                assert client.get(BUCKET, f"k{rng.randrange(20)}").status == 200
                times.append(time.monotonic() - began)
            faulty.set()
            assert sorted(times)[30] < 0.5
            assert_sound(store, log)
        store.stop()
