"""One base: group commit, its entries, its files, and what failing disks and other processes do to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import apsw
import pytest
import trio

from meta import bucket, listing, pending, script, version, writer
from meta.base import Base
from meta.commit import Entry, Header, LocalCommit
from meta.connection import open_reader, open_writer
from meta.local import open_meta
from meta.protocol.bucket import BucketSettings
from meta.protocol.listing import ListRequest
from meta.protocol.object import NO_CONDITION, Condition, DeleteRequest, ObjectRow
from meta.transaction import CONTAINER, ContainerTransaction
from meta.writer import Request, Writer
from node.clock import FakeClock
from node.errors import BaseCorrupt, BaseNotFound, ConfigError, NotLeader, ObjectNotFound, VolumeFull
from tests.component.meta.conftest import KEY, keep, settings
from tests.support.disk import LoopDisk

BUCKET = BucketSettings("b", "a", "o", 1)


class Recorder:
    """A committer that keeps every entry, and refuses when told to."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.refuse = False

    def lead(self, base: str) -> int:
        return 7

    def agree(self, entry: Entry, commit: Callable[[], object]) -> None:
        if self.refuse:
            raise NotLeader("another leads")
        commit()
        self.entries.append(entry)

    def took(self, seconds: float) -> None:
        return


def puts(*names: str, size: int = 1) -> list[Request[ContainerTransaction]]:
    return [Request(version.put, (ObjectRow(name, size=size, content=name, layout=b"x" * 100), NO_CONDITION)) for name in names]


def make(path: Path, committer: LocalCommit | Recorder | None = None) -> Writer[ContainerTransaction]:
    made = Writer(path, CONTAINER, "base", committer or LocalCommit(), lambda: 1_000)
    assert made.work([Request(bucket.create, (BUCKET,))]) == [None]
    return made


def dump(db: apsw.Connection) -> list[object]:
    return [db.execute(f"SELECT * FROM {table}").fetchall() for table in CONTAINER.tables]


def keys(path: Path) -> list[str]:
    db = apsw.Connection(str(path))
    try:
        return [row[0] for row in db.execute("SELECT key FROM objects ORDER BY key")]
    finally:
        db.close()


def no_errors(results: Sequence[object]) -> bool:
    return not any(isinstance(result, Exception) for result in results)


def test_the_log_of_a_base_whose_removal_was_broken_off_is_not_taken_for_that_of_the_next(tmp_path: Path) -> None:
    path, log = tmp_path / "base.db", tmp_path / "base.db-wal"
    first = make(path)
    assert no_errors(first.work(puts("a", "b")))
    left = log.read_bytes()
    first.close()
    path.unlink()
    log.write_bytes(left)
    second = make(path)
    assert no_errors(second.work(puts("c")))
    assert keys(path) == ["c"]
    second.close()


def test_each_transaction_is_one_entry_that_makes_a_copy_equal(tmp_path: Path) -> None:
    recorder = Recorder()
    made = make(tmp_path / "base.db", recorder)
    assert no_errors(made.work(puts("a", "b", "c")))
    assert no_errors(made.work(puts("a")))
    assert [(entry.previous.index, entry.header) for entry in recorder.entries] == [
        (0, Header(7, 1)),
        (1, Header(7, 2)),
        (2, Header(7, 3)),
    ]
    copy = Writer(tmp_path / "copy.db", CONTAINER, "copy", LocalCommit(), lambda: 0)
    copy.work([Request(pending.deletions_done, ([],))])
    db = open_writer(tmp_path / "copy.db", create=False)
    for entry in recorder.entries:
        script.run(db, entry.script)
    original = open_writer(tmp_path / "base.db", create=False)
    assert dump(db) == dump(original)
    assert original.execute("SELECT entry, epoch, script FROM entries").fetchall() == [
        (entry.header.index, 7, entry.script) for entry in recorder.entries
    ]
    assert [(line.kind, line.key) for entry in recorder.entries for line in script.change_lines(entry.script)] == [
        ("settings", ""),
        ("put", "a"),
        ("put", "b"),
        ("put", "c"),
        ("put", "a"),
    ]
    with pytest.raises(BaseCorrupt):
        script.run(db, recorder.entries[-1].script.replace(b"key = ?", b"key < ?"))
    for connection in (db, original):
        connection.close()
    for each in (made, copy):
        each.close()


def test_a_refused_request_leaves_the_others_alone(tmp_path: Path) -> None:
    made = make(tmp_path / "base.db")
    requests = puts("a", "b", "c")
    requests[1] = Request(version.put, (ObjectRow("b"), Condition(if_match=("x",))))
    requests.append(Request(_fails_late, ()))
    first, second, third, fourth = made.work(requests)
    assert isinstance(second, ObjectNotFound)
    assert isinstance(fourth, ZeroDivisionError)
    assert no_errors([first, third])
    assert keys(tmp_path / "base.db") == ["a", "c"]
    (alone,) = made.work([Request(_fails_late, ())])
    assert isinstance(alone, ZeroDivisionError)
    counters = made.work([Request(lambda transaction: pending.counters, ())])
    assert no_errors(counters)
    made.close()
    assert keys(tmp_path / "base.db") == ["a", "c"]


def _fails_late(transaction: ContainerTransaction) -> None:
    version.put(transaction, ObjectRow("half", content="half", layout=b"half"), NO_CONDITION)
    raise ZeroDivisionError


def test_a_change_past_the_script_is_undone(tmp_path: Path) -> None:
    recorder = Recorder()
    made = make(tmp_path / "base.db", recorder)

    def goes_past(transaction: ContainerTransaction, *, before: bool) -> None:
        if not before:
            transaction.stale("a", -1)
        transaction.db.execute("DELETE FROM settings")
        if before:
            transaction.stale("a", -1)

    for request in (Request(partial(goes_past, before=before), ()) for before in (True, False)):
        with pytest.raises(AssertionError):
            made.work([*puts("b"), request])
    assert no_errors(made.work(puts("a")))
    assert len(recorder.entries) == 2
    made.close()
    assert keys(tmp_path / "base.db") == ["a"]


def test_what_changes_nothing_makes_no_entry(tmp_path: Path) -> None:
    recorder = Recorder()
    made = make(tmp_path / "base.db", recorder)
    made.work([Request(pending.deletions_done, ([1, 2],))])
    made.work([Request(version.put, (ObjectRow("b"), Condition(if_match=("x",))))])
    assert len(recorder.entries) == 1
    made.close()


def test_peers_that_refuse_undo_the_transaction(tmp_path: Path) -> None:
    recorder = Recorder()
    made = make(tmp_path / "base.db", recorder)
    recorder.refuse = True
    for result in made.work(puts("a", "b")):
        assert isinstance(result, NotLeader)
    recorder.refuse = False
    assert no_errors(made.work(puts("c")))
    assert [entry.header.index for entry in recorder.entries] == [1, 2]
    made.close()
    assert keys(tmp_path / "base.db") == ["c"]


def test_entries_are_bounded_by_number_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ENTRIES_MAX", 3)
    made = make(tmp_path / "base.db")

    def kept() -> list[int]:
        db = apsw.Connection(str(tmp_path / "base.db"))
        try:
            return [row[0] for row in db.execute("SELECT entry FROM entries ORDER BY entry")]
        finally:
            db.close()

    for name in "abcd":
        made.work(puts(name))
        assert len(kept()) <= 3
    assert kept() == [3, 4, 5]
    monkeypatch.setattr(writer, "ENTRIES_BYTES_MAX", 800)
    made.work(puts("e"))
    made.work(puts("f"))
    assert kept() == [7]
    made.work(puts(*(f"k{number}" for number in range(20))))
    assert kept() == [8]
    db = apsw.Connection(str(tmp_path / "base.db"))
    assert db.execute("SELECT script FROM entries").get is None, "too large to keep: peers that miss it get a snapshot"
    db.close()
    made.work(puts("f"))
    assert kept() == [8, 9]
    made.close()


@pytest.mark.parametrize("found", [1, 99])
def test_another_formats_base_is_left_alone(tmp_path: Path, found: int) -> None:
    make(tmp_path / "base.db").close()
    db = apsw.Connection(str(tmp_path / "base.db"))
    db.execute(f"PRAGMA user_version = {found}")
    db.close()
    (result,) = Writer(tmp_path / "base.db", CONTAINER, "base", LocalCommit(), lambda: 0).work(puts("a"))
    assert isinstance(result, ConfigError)


def test_a_damaged_base_is_told(tmp_path: Path) -> None:
    path = tmp_path / "base.db"
    made = make(path)
    made.work(puts(*(f"key{number:04d}" for number in range(500))))
    made.close()
    with path.open("r+b") as file:
        for page in range(2, path.stat().st_size // 8192):
            file.seek(page * 8192)
            file.write(b"\xff" * 100)
    (result,) = Writer(path, CONTAINER, "base", LocalCommit(), lambda: 0).work(puts("a"))
    assert isinstance(result, BaseCorrupt)
    path.write_bytes(b"not a database" * 1000)
    (result,) = Writer(path, CONTAINER, "base", LocalCommit(), lambda: 0).work(puts("a"))
    assert isinstance(result, BaseCorrupt)


async def test_the_log_is_copied_into_the_base_while_writes_go_on(tmp_path: Path) -> None:
    wished: list[Base[ContainerTransaction]] = []
    base = Base(tmp_path / "base.db", CONTAINER, "base", committer=LocalCommit(), now_us=lambda: 1, log_grown=wished.append)
    await base.write(bucket.create, BUCKET)
    count = 0
    while not wished:
        async with trio.open_nursery() as nursery:
            for _ in range(64):
                count += 1
                nursery.start_soon(base.write, version.put, ObjectRow(f"{count * 7919 % 10007}"), NO_CONDITION)
    log = tmp_path / "base.db-wal"
    before = log.stat().st_size
    assert wished == [base]
    await base.checkpoint()
    await base.write(version.put, ObjectRow("last"), NO_CONDITION)
    assert log.stat().st_size == before, "the log began anew"
    assert (tmp_path / "base.db").stat().st_size > before // 16
    await base.aclose()
    with pytest.raises(BaseNotFound):
        base.read(pending.counters)


async def test_few_bases_are_open_at_a_time(scratch: Path, clock: FakeClock) -> None:
    async with open_meta(scratch / "meta", key=KEY, clock=clock, bases_max=3) as meta:
        names = [f"bucket-{number}" for number in range(10)]
        for name in names:
            await meta.create_bucket(settings(name))
            await meta.container(name).put(ObjectRow("a", content="a", layout=b"a"))
        assert "open=3 " in repr(meta)
        for name in names:
            assert (await meta.container(name).get("a")).content == "a"
        assert "open=3 " in repr(meta)


async def test_unfinished_work_is_found_after_a_crash(scratch: Path, clock: FakeClock) -> None:
    async with open_meta(scratch / "meta", key=KEY, clock=clock) as meta:
        for name in ("clean", "dirty"):
            await meta.create_bucket(settings(name))
            await meta.container(name).put(ObjectRow("a", content="a", layout=b"a"))
        await keep(meta)
        await meta.container("dirty").put(ObjectRow("a", content="b", layout=b"b"))
        shutil.copytree(scratch / "meta", scratch / "crashed")
    for path in ("crashed", "meta"):
        async with open_meta(scratch / path, key=KEY, clock=clock) as meta:
            assert await meta.dirty_containers() == ["dirty"]


@pytest.mark.parametrize("step", ["assign", "create", "add_bucket"])
async def test_a_creation_cut_short_is_finished_by_the_next(
    scratch: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    owner = {
        "assign": "meta.directory.LocalDirectory",
        "create": "meta.container.LocalContainer",
        "add_bucket": "meta.accounts.LocalAccounts",
    }
    async with open_meta(scratch / "meta", key=KEY, clock=clock) as meta:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(f"{owner[step]}.{step}", cut)
            await meta.create_bucket(settings())
        await meta.create_bucket(settings())
        await meta.container("pictures").put(ObjectRow("a"))
        assert [entry.bucket for entry in await meta.accounts.buckets("ann")] == ["pictures"]


@pytest.mark.parametrize("step", ["directory.mark_removed", "accounts.remove_bucket", "registry.release"])
async def test_a_removal_cut_short_is_finished_by_the_next(
    scratch: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    part, method = step.split(".")
    async with open_meta(scratch / "meta", key=KEY, clock=clock) as meta:
        await meta.create_bucket(settings())
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(getattr(meta, part), method, cut)
            await meta.remove_bucket("pictures")
        await meta.remove_bucket("pictures")
        await meta.create_bucket(settings(account="bob"))
        assert await meta.accounts.buckets("ann") == []


@pytest.mark.parametrize("step", ["directory.mark_removed", "accounts.remove_bucket", "registry.release"])
async def test_a_removal_cut_short_is_finished_after_the_next_start(
    step: str, scratch: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_meta(scratch / "meta", key=KEY, clock=clock) as meta:
        await meta.create_bucket(settings())

        async def die(*_: object) -> None:
            raise VolumeFull("killed here")

        owner, name = step.split(".")
        monkeypatch.setattr(getattr(meta, owner), name, die)
        with pytest.raises(VolumeFull):
            await meta.remove_bucket("pictures")
    monkeypatch.undo()
    async with open_meta(scratch / "meta", key=KEY, clock=clock) as meta:
        await keep(meta)
        assert await meta.dirty_containers() == []
        assert await meta.accounts.buckets("ann") == []
        await meta.create_bucket(settings(account="bob"))


async def test_a_removed_buckets_files_are_deleted(scratch: Path, clock: FakeClock) -> None:
    async with open_meta(scratch / "meta", key=KEY, clock=clock) as meta:
        await meta.create_bucket(settings())
        async with open_meta(scratch / "meta", key=KEY, clock=clock, read_only=True) as reading:
            assert (await reading.container("pictures").settings()).account == "ann"
            await meta.remove_bucket("pictures")
            await keep(meta)
            assert await meta.dirty_containers() == []
            assert list((scratch / "meta" / "container").rglob("*.db*")) == []
            await meta.create_bucket(settings(account="bob"))
            await meta.container("pictures").put(ObjectRow("a"))
            assert (await reading.container("pictures").settings()).account == "bob", "the new file is seen, not the old one"
            assert len((await reading.container("pictures").list(ListRequest())).rows) == 1


@pytest.mark.slow
@pytest.mark.root
async def test_a_full_disk_refuses_writes_and_nothing_else(scratch: Path, clock: FakeClock) -> None:
    with LoopDisk(scratch / "disk", size_bytes=32 << 20) as disk:
        async with open_meta(disk.root / "meta", key=KEY, clock=clock) as meta:
            await meta.create_bucket(settings())
            container = meta.container("pictures")
            disk.fill(leave_bytes=1 << 20)
            acknowledged = []
            with pytest.raises(VolumeFull):
                for number in range(10_000):
                    await container.put(ObjectRow(f"{number:05d}", content="c", layout=b"x" * 2_000))
                    acknowledged.append(f"{number:05d}")
            assert acknowledged
            disk.fill()
            for _ in range(3):
                with pytest.raises(VolumeFull):
                    await container.put(ObjectRow("one more", content="c", layout=b"x" * 2_000))
                assert (await container.get(acknowledged[-1])).content == "c"
            disk.release()
            await container.put(ObjectRow("zzz", content="c"))
            found = []
            page = await container.list(ListRequest())
            while page.rows:
                found += [row.key for row in page.rows]
                page = await container.list(ListRequest(after=found[-1]))
            assert found == [*acknowledged, "zzz"]
            (path,) = (disk.root / "meta" / "container").rglob("*.db")
            check = apsw.Connection(str(path))
            assert check.execute("PRAGMA integrity_check").get == "ok"
            check.close()


@pytest.mark.parametrize("rows_seen_max", [1, 3, 50, 20_000])
def test_a_folder_that_begins_with_deleted_keys_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_seen_max: int) -> None:
    monkeypatch.setattr(listing, "ROWS_SEEN_MAX", rows_seen_max)
    made = make(tmp_path / "base.db")
    made.work([Request(bucket.change_settings, ("Enabled", None, None))])
    gone = [f"{folder}/{number:03d}" for folder in ("b", "c", "d") for number in range(60)]
    assert no_errors(made.work([Request(version.delete, (DeleteRequest(key),)) for key in gone]))
    assert no_errors(made.work(puts("a", "b/030", "b/x", "d/x", "d/y", "e")))
    reader = open_reader(tmp_path / "base.db")
    for limit in (1, 2, 10):
        found, after = [], ""
        for _ in range(500):
            page = listing.list_page(reader, ListRequest(delimiter="/", after=after, limit=limit))
            found += [row.key for row in page.rows] + page.prefixes
            after = page.next_after
            if not page.truncated:
                break
        assert sorted(found) == ["a", "b/", "d/", "e"]
    reader.close()
    made.close()


def test_a_page_over_a_desert_comes_back_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "ROWS_SEEN_MAX", 50)
    made = make(tmp_path / "base.db")
    made.work([Request(bucket.change_settings, ("Enabled", None, None))])
    assert no_errors(made.work([Request(version.delete, (DeleteRequest(f"{number:04d}"),)) for number in range(200)]))
    assert no_errors(made.work(puts("0100", "9999")))
    reader = open_reader(tmp_path / "base.db")
    found, pages, after = [], 0, ""
    while True:
        page = listing.list_page(reader, ListRequest(after=after))
        pages += 1
        found += [row.key for row in page.rows]
        if not page.truncated:
            break
        assert page.next_after > after
        after = page.next_after
    assert found == ["0100", "9999"]
    assert 4 <= pages <= 6
    reader.close()
    made.close()
