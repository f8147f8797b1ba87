"""A container against a model of a few dictionaries: any history gives the same answers and sums, and loses no content."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meta import append, bucket, listing, pending, rename, script, upload, version
from meta.commit import Entry, LocalCommit
from meta.connection import open_reader, open_writer
from meta.protocol.bucket import BucketSettings
from meta.protocol.listing import ListRequest
from meta.protocol.object import NO_CONDITION, Append, Change, Condition, DeleteRequest, ObjectRow, Seen
from meta.protocol.restore import COLD_CLASSES
from meta.protocol.upload import Complete, PartRow, UploadRow
from meta.transaction import CONTAINER, read_sums
from meta.writer import Request, Writer
from node.errors import AlreadyExists, InvalidArgument, ObjectNotFound, PreconditionFailed, Superseded

KEYS = ("a", "a/a", "a/b", "a/b/a", "a//b", "a\U0010ffff", "b", "b/", "é", "\U0010ffff")
PREFIXES = ("", "a", "a/", "a/b/", "a//", "b", "b/", "c/", "\U0010ffff")
keys = st.sampled_from(KEYS)
prefixes = st.sampled_from(PREFIXES)
sizes = st.integers(0, 5)
classes = st.sampled_from(("STANDARD", "STANDARD_IA", "GLACIER", "DEEP_ARCHIVE"))


@dataclass
class Version:
    number: int
    null: bool
    marker: bool
    size: int
    contents: tuple[str, ...]
    storage_class: str = "STANDARD"


@dataclass
class Model:
    """keys: versions, newest first."""

    versioning: str = ""
    keys: dict[str, list[Version]] = field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[int, tuple[str, int]]]] = field(default_factory=dict)
    pending: set[tuple[str, ...]] = field(default_factory=set)

    def drop(self, gone: Version) -> None:
        if gone.contents:
            self.pending.add(gone.contents)

    def add(self, key: str, new: Version) -> None:
        versions = self.keys.setdefault(key, [])
        if new.null:
            for old in [old for old in versions if old.null]:
                versions.remove(old)
                self.drop(old)
        versions.insert(0, new)

    def remove(self, key: str, gone: Version) -> None:
        self.keys[key].remove(gone)
        if not self.keys[key]:
            del self.keys[key]

    def current(self, key: str) -> Version | None:
        versions = self.keys.get(key)
        return versions[0] if versions and not versions[0].marker else None

    def page(self, request: ListRequest) -> tuple[list[tuple[str, int]], list[str], bool]:
        """By definition: everything in order, cut at the begin, rolled up, cut at the end."""
        shown: list[tuple[str, int] | str] = []
        for key in sorted(self.keys, key=str.encode):
            for found in self.keys[key]:
                if not request.versions and (found is not self.keys[key][0] or found.marker):
                    continue
                if not key.startswith(request.prefix):
                    continue
                at = key.find(request.delimiter, len(request.prefix)) if request.delimiter else -1
                if at >= 0:
                    common = key[: at + len(request.delimiter)]
                    if common.encode() > request.after.encode() and common not in shown:
                        shown.append(common)
                elif key.encode() > request.after.encode() or (
                    key == request.after and request.versions and request.after_version is not None and found.number < request.after_version
                ):
                    shown.append((key, found.number))
        page = shown[: request.limit]
        rows = [item for item in page if isinstance(item, tuple)]
        return rows, [item for item in page if isinstance(item, str)], 0 < request.limit < len(shown)


class Follower:
    """A committer that runs every script on a base of its own, as a peer would."""

    def __init__(self, path: Path) -> None:
        made = Writer(path, CONTAINER, "base", LocalCommit(), lambda: 0)
        made.work([Request(pending.deletions_done, ([],))])
        made.close()
        self.db = open_writer(path, create=False)

    def lead(self, base: str) -> int:
        return 1

    def agree(self, entry: Entry, commit: Callable[[], object]) -> None:
        commit()
        script.run(self.db, entry.script)

    def took(self, seconds: float) -> None:
        return


class ContainerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="frazil-model-", dir="/dev/shm"))
        self.now = 1_000_000
        self.follower = Follower(self.folder / "peer.db")
        self.writer = Writer(self.folder / "base.db", CONTAINER, "base", self.follower, lambda: self.now)
        self.model = Model()
        self.contents = (f"content-{number:06d}" for number in itertools.count())

    @initialize()
    def begin(self) -> None:
        self.write(bucket.create, BucketSettings("b", "a", "o", 1))
        self.reader = open_reader(self.folder / "base.db")

    def teardown(self) -> None:
        self.reader.close()
        self.writer.close()
        self.follower.db.close()
        shutil.rmtree(self.folder)

    def write(self, function: Any, *arguments: Any) -> Any:
        (result,) = self.writer.work([Request(function, arguments)])
        if isinstance(result, Exception):
            raise result
        return result

    def row(self, key: str, size: int, storage_class: str = "STANDARD") -> ObjectRow:
        content = next(self.contents)
        return ObjectRow(key, size=size, etag=content, content=content, layout=content.encode(), storage_class=storage_class)

    # Requests

    @rule(key=keys, size=sizes, jump=st.integers(-5, 5), storage_class=classes)
    def put(self, key: str, size: int, jump: int, storage_class: str) -> None:
        self.now += jump
        row = self.row(key, size, storage_class)
        result = self.write(version.put, row, NO_CONDITION)
        assert result.null == (self.model.versioning != "Enabled")
        assert all(result.version > old.number for old in self.model.keys.get(key, []))
        self.model.add(key, Version(result.version, result.null, False, size, (row.content,), storage_class))

    @rule(key=keys, which=st.integers(0, 3), storage_class=classes, late=st.booleans())
    def change_class(self, key: str, which: int, storage_class: str, late: bool) -> None:
        versions = self.model.keys.get(key, [])
        if which >= len(versions) or versions[which].marker:
            return
        found = versions[which]
        newer = tuple(each.number for each in versions[:which])
        seen = Seen(version.get(self.reader, key, found.number).seq, newer or ((found.number + 1,) if late else ()), alone=late)
        wish = Change(key, found.number, storage_class=storage_class, seen=seen)
        if late and (len(versions) > 1 or not newer):
            with pytest.raises(Superseded):
                self.write(version.change, wish)
            return
        self.write(version.change, wish)
        found.storage_class = storage_class

    @rule(keys=st.lists(keys, min_size=2, max_size=5), bad=st.integers(0, 4))
    def put_a_batch_of_which_one_is_refused(self, keys: list[str], bad: int) -> None:
        rows = [self.row(key, 1) for key in keys]
        conditions = [Condition(if_match=("nothing",)) if at == bad else NO_CONDITION for at in range(len(rows))]
        results = self.writer.work([Request(version.put, pair) for pair in zip(rows, conditions, strict=True)])
        for at, (row, result) in enumerate(zip(rows, results, strict=True)):
            if at == bad:
                assert isinstance(result, ObjectNotFound | PreconditionFailed)
            else:
                self.model.add(row.key, Version(result.version, result.null, False, 1, (row.content,)))

    @rule(key=keys, which=st.one_of(st.none(), st.integers(0, 3)))
    def delete(self, key: str, which: int | None) -> None:
        versions = self.model.keys.get(key, [])
        if which is None:
            result = self.write(version.delete, DeleteRequest(key))
            if self.model.versioning:
                assert result.made_marker
                self.model.add(key, Version(result.version, result.null, True, 0, ()))
                return
            gone = versions[0] if versions else None
        elif which < len(versions):
            gone = versions[which]
            number = 0 if gone.null else gone.number
            result = self.write(version.delete, DeleteRequest(key, version=number))
        else:
            gone = None
            result = self.write(version.delete, DeleteRequest(key, version=99))
        assert result.version == (gone.number if gone else 0)
        if gone is not None:
            assert result.was_marker == gone.marker
            self.model.remove(key, gone)
            self.model.drop(gone)

    @rule(state=st.sampled_from(("Enabled", "Suspended")))
    def switch_versioning(self, state: str) -> None:
        self.write(bucket.change_settings, state, None, None)
        self.model.versioning = state

    @rule(key=keys, size=sizes, late=st.booleans())
    def append(self, key: str, size: int, late: bool) -> None:
        found = self.model.current(key)
        if found is None:
            with pytest.raises(Superseded):
                self.write(append.append, Append(self.row(key, size), ("c",), 0, True))
            return
        in_place = found.null and self.model.versioning != "Enabled"
        new, copy = self.row(key, found.size + size), next(self.contents)
        contents = (new.content,) if in_place else (copy, new.content)
        request = Append(new, contents, version.get(self.reader, key, None).seq - late, in_place)
        if late:
            with pytest.raises(Superseded):
                self.write(append.append, request)
            return
        result = self.write(append.append, request)
        if in_place:
            self.model.remove(key, found)
            contents = (*(found.contents[1:] or found.contents), new.content)
        null = self.model.versioning != "Enabled"
        self.model.add(key, Version(result.version, null, False, new.size, (new.content, *contents)))

    @rule(source=keys, to=keys)
    def rename(self, source: str, to: str) -> None:
        found = self.model.current(source)
        if found is None:
            with pytest.raises(ObjectNotFound):
                self.write(rename.rename, source, to, NO_CONDITION, NO_CONDITION)
            return
        self._moved(source, to, self.write(rename.rename, source, to, NO_CONDITION, NO_CONDITION).version)

    def _moved(self, source: str, target: str, number: int) -> None:
        if source == target:
            return
        found = self.model.keys[source][0]
        self.model.remove(source, found)
        if source in self.model.keys:
            known = {old.number for old in self.model.keys[source]}
            rows = listing.list_page(self.reader, ListRequest(versions=True)).rows
            (marker,) = (row for row in rows if row.key == source and row.marker and row.version not in known)
            self.model.keys[source].insert(0, Version(marker.version, marker.null, True, 0, ()))
        null = self.model.versioning != "Enabled"
        self.model.add(target, Version(number, null, False, found.size, found.contents, found.storage_class))

    @rule(source=prefixes, to=prefixes, replace=st.booleans())
    def rename_prefix(self, source: str, to: str, replace: bool) -> None:
        names = [key for key in self.model.keys if key.startswith(source) and self.model.current(key)]
        targets = {name: to + name[len(source) :] for name in names}
        taken = [new for new in targets.values() if new not in names and self.model.current(new)]
        try:
            count = self.write(rename.rename_prefix, source, to, replace)
        except InvalidArgument:
            assert source == to or not all(targets.values())
            return
        except AlreadyExists:
            assert taken
            assert not replace
            return
        assert replace or not taken
        assert count == len(names)
        todo = list(names)
        while todo:  # a target that is itself to be moved goes first
            name = next(name for name in todo if targets[name] not in todo)
            todo.remove(name)
            content = self.model.keys[name][0].contents[0]
            moved = [
                row
                for row in listing.list_page(self.reader, ListRequest(versions=True)).rows
                if row.key == targets[name] and row.etag in (content, f"mp-{content}")
            ]
            self._moved(name, targets[name], moved[0].version)

    @rule(key=keys)
    def begin_upload(self, key: str) -> None:
        name = next(self.contents)
        self.write(upload.create, UploadRow(name, key))
        self.model.uploads[name] = (key, {})

    @precondition(lambda self: self.model.uploads)
    @rule(data=st.data(), number=st.integers(1, 3), size=sizes)
    def put_part(self, data: st.DataObject, number: int, size: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.uploads)))
        key, parts = self.model.uploads[name]
        content = next(self.contents)
        self.write(upload.put_part, key, name, PartRow(number, size, content, content, content.encode()))
        if number in parts:
            self.model.pending.add((parts[number][0],))
        parts[number] = (content, size)

    @precondition(lambda self: self.model.uploads)
    @rule(data=st.data(), abort=st.booleans())
    def end_upload(self, data: st.DataObject, abort: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.uploads)))
        key, parts = self.model.uploads.pop(name)
        used = {number: parts[number] for number in parts if not abort and data.draw(st.booleans())}
        if abort:
            self.write(upload.abort, key, name)
        else:
            whole = next(self.contents)
            size = sum(size for _, size in used.values())
            row = ObjectRow(key, size=size, etag=f"mp-{whole}", content=whole, layout=whole.encode())
            request = Complete(name, row, tuple((number, content) for number, (content, _) in sorted(used.items())))
            result = self.write(upload.complete, request)
            contents = (whole, *(content for content, _ in (used[number] for number in sorted(used))))
            self.model.add(key, Version(result.version, result.null, False, size, contents))
            assert self.write(upload.complete, request).version == result.version
        for number, (content, _) in parts.items():
            if number not in used:
                self.model.pending.add((content,))

    @rule(share=st.integers(1, 3))
    def finish_deletions(self, share: int) -> None:
        done = pending.deletions(self.reader, share, 0)
        found = {row[0]: row[1:] for row in self.reader.execute("SELECT id, content, parts FROM deletions")}
        self.write(pending.deletions_done, [dropped.id for dropped in done])
        for dropped in done:
            content, parts = found[dropped.id]
            self.model.pending.discard((content, *filter(None, parts.split(","))))

    @rule(
        prefix=prefixes,
        delimiter=st.sampled_from(("", "/", "//", "a", "\U0010ffff")),
        after=st.one_of(st.just(""), keys),
        limit=st.integers(0, 6),
        versions=st.booleans(),
        newest=st.integers(0, 3),
    )
    def list(self, prefix: str, delimiter: str, after: str, limit: int, versions: bool, newest: int) -> None:
        there = self.model.keys.get(after, [])
        after_version = there[newest].number if versions and newest < len(there) else None
        request = ListRequest(prefix, delimiter, after, after_version, limit, versions)
        page = listing.list_page(self.reader, request)
        assert ([(row.key, row.version) for row in page.rows], page.prefixes, page.truncated) == self.model.page(request)

    @rule(prefix=prefixes, delimiter=st.sampled_from(("", "/", "a")), limit=st.integers(1, 3), versions=st.booleans())
    def list_all_pages(self, prefix: str, delimiter: str, limit: int, versions: bool) -> None:
        whole = self.model.page(ListRequest(prefix, delimiter, limit=10_000, versions=versions))
        rows: list[tuple[str, int]] = []
        commons: list[str] = []
        after, after_version = "", None
        for _ in range(1_000):
            page = listing.list_page(self.reader, ListRequest(prefix, delimiter, after, after_version, limit, versions))
            assert len(page.rows) + len(page.prefixes) <= limit
            for row in page.rows:
                assert row.latest == (row.version == self.model.keys[row.key][0].number)
            rows += [(row.key, row.version) for row in page.rows]
            commons += page.prefixes
            after, after_version = page.next_after, page.next_version
            if not page.truncated:
                break
        assert (rows, commons) == whole[:2]

    # What always holds

    @invariant()
    def a_peer_that_runs_the_scripts_is_equal(self) -> None:
        for table in CONTAINER.tables:
            assert self.follower.db.execute(f"SELECT * FROM {table}").fetchall() == self.reader.execute(f"SELECT * FROM {table}").fetchall()

    @invariant()
    def every_version_is_there(self) -> None:
        page = listing.list_page(self.reader, ListRequest(versions=True))
        found = [(row.key, row.version, row.null, row.marker, row.size) for row in page.rows]
        expected = [
            (key, version.number, version.null, version.marker, version.size)
            for key in sorted(self.model.keys, key=str.encode)
            for version in self.model.keys[key]
        ]
        assert found == expected

    @invariant()
    def sums_are_exact(self) -> None:
        counters = pending.counters(self.reader)
        versions = [version for versions in self.model.keys.values() for version in versions]
        objects = [version for version in versions if not version.marker]
        classes: dict[str, tuple[int, int]] = {}
        for each in objects:
            number, size = classes.get(each.storage_class, (0, 0))
            classes[each.storage_class] = (number + 1, size + each.size)
        assert counters.classes == classes
        assert counters.markers == len(versions) - len(objects)
        assert counters.uploads == len(self.model.uploads)
        assert counters.upload_bytes == sum(size for _, parts in self.model.uploads.values() for _, size in parts.values())
        older = read_sums(self.reader).get("older", [0])[0]
        assert older == len(versions) - len(self.model.keys)

    @invariant()
    def every_cold_version_is_due(self) -> None:
        found = [(key, -age) for key, age in self.reader.execute("SELECT key, age FROM cold ORDER BY key, age")]
        assert found == [
            (key, each.number)
            for key in sorted(self.model.keys, key=str.encode)
            for each in self.model.keys[key]
            if each.storage_class in COLD_CLASSES
        ]

    @invariant()
    def every_content_is_in_one_place(self) -> None:
        """Contents of the table's rows are the model's; deletions are what the model dropped; `knows` finds them all."""
        stored = set()
        for content, parts in self.reader.execute("SELECT content, parts FROM deletions"):
            stored.add((content, *filter(None, parts.split(","))))
        assert stored == self.model.pending
        for key, versions in self.model.keys.items():
            for version_ in versions:
                for content in version_.contents:
                    assert pending.knows(self.reader, key, content)
        for name, (key, parts) in self.model.uploads.items():
            page = upload.list_parts(self.reader, key, name, 0, 10, True)
            assert [(part.part, part.content, part.size) for part in page.parts] == [(n, *parts[n]) for n in sorted(parts)]
        known = {content for (content,) in self.reader.execute("SELECT content FROM moved")}
        live = {content for versions in self.model.keys.values() for version_ in versions for content in version_.contents}
        assert known <= live
        for content in known:
            assert pending.knows(self.reader, "an old key", content)


TestContainer = ContainerMachine.TestCase
TestContainer.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestContainer.pytestmark = [pytest.mark.slow]
