"""Rows and settings that a process remembers: never once anything was committed, by whichever process."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from meta import recent
from meta.base import Base
from meta.commit import LocalCommit
from meta.connection import open_writer
from meta.local import LocalMeta, open_meta
from meta.logindex import LogIndex
from meta.protocol.object import Attributes, Change, DeleteRequest, ObjectRow
from meta.transaction import CONTAINER, read_settings
from node.clock import FakeClock
from node.errors import BucketNotFound, ObjectNotFound
from tests.component.meta.conftest import KEY, settings

WRITER = Path(__file__).with_name("writing.py")


def row(key: str, content: str = "c", layout: bytes = b"l") -> ObjectRow:
    return ObjectRow(key, content=content, layout=layout)


def test_a_header_that_is_being_written_tells_nothing() -> None:
    first, second = bytes(range(48)), bytes(range(1, 49))
    memory = ctypes.create_string_buffer(first + first, 96)
    index = LogIndex((ctypes.c_char * 96).from_buffer(memory))
    known = index.state()
    assert known is not None
    assert index.state() is known
    memory.raw = first + second
    assert index.state() is None
    memory.raw = second + second
    assert index.state() not in (None, known)
    memory.raw = first + first
    assert index.state() is not known, "the same bytes again are not the same state again"


def test_a_log_that_was_never_begun_tells_nothing() -> None:
    header = bytes(range(32)) + bytes(8) + bytes(range(8))
    assert LogIndex((ctypes.c_char * 96)(*(header + header))).state() is None


async def test_each_commit_of_any_connection_is_another_state(scratch: Path) -> None:
    path = scratch / "base.db"
    base = Base(path, CONTAINER, "base", committer=LocalCommit(), now_us=lambda: 1, log_grown=lambda _: None)
    await base.make()
    assert base.state() is None, "it was not read yet"
    with pytest.raises(BucketNotFound):
        base.read(read_settings)
    stranger = open_writer(path, create=False)
    states = []
    for number in range(20):
        stranger.execute("INSERT INTO stale_records VALUES (?, 'key', 0)", (number,))
        states.append(base.state())
        assert base.state() is states[-1]
        if number == 10:
            stranger.wal_checkpoint()  # the next commit begins the log anew
            assert base.state() is states[-1]
        with pytest.raises(BucketNotFound):
            base.read(read_settings)
        assert base.state() is states[-1]
    assert None not in states
    assert len(set(states)) == 20
    stranger.close()
    await base.aclose()
    assert base.state() is None


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """It writes what it is told, a line each, and answers when that is durable."""
    child = subprocess.Popen([sys.executable, str(WRITER), str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


async def told(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()
    assert await trio.to_thread.run_sync(child.stdout.readline) == "done\n"


async def test_what_another_process_was_answered_is_read_here_at_once(scratch: Path) -> None:
    with another_process(scratch / "meta") as child:
        await told(child, "bucket pictures")
        async with open_meta(scratch / "meta", key=KEY, clock=FakeClock(), read_only=True) as reading:
            container = reading.container("pictures")
            assert (await container.settings()).versioning == ""
            for number in range(150):
                await told(child, f"put pictures key{number % 3} content{number}")
                for _ in range(3):
                    assert (await container.get(f"key{number % 3}")).content == f"content{number}"
                if number % 10 == 5:
                    await told(child, f"delete pictures key{number % 3}")
                    with pytest.raises(ObjectNotFound):
                        await container.get(f"key{number % 3}")
            assert len(reading.recent) == 3
            await told(child, "version pictures")
            assert (await container.settings()).versioning == "Enabled"


async def test_a_bucket_that_was_made_again_elsewhere_is_the_new_one_here(scratch: Path) -> None:
    with another_process(scratch / "meta") as child:
        await told(child, "bucket pictures")
        async with open_meta(scratch / "meta", key=KEY, clock=FakeClock(), read_only=True) as reading:
            container = reading.container("pictures")
            for number in range(5):
                await told(child, f"put pictures key content{number}")
                assert (await container.get("key")).content == f"content{number}"
                assert (await container.settings()).bucket == "pictures"
                await told(child, "delete pictures key")
                await told(child, "remove pictures")
                with pytest.raises(BucketNotFound):
                    await container.get("key")
                with pytest.raises(BucketNotFound):
                    await container.settings()
                await told(child, "bucket pictures")
                with pytest.raises(ObjectNotFound):
                    await container.get("key")


@pytest.mark.parametrize("seed", range(3))
async def test_remembered_and_fresh_rows_are_the_same_after_any_changes(scratch: Path, seed: int) -> None:
    random = Random(seed)
    async with open_meta(scratch / "meta", key=KEY, clock=FakeClock()) as writing:
        await writing.create_bucket(settings(versioning="Enabled" if seed else ""))
        async with open_meta(scratch / "meta", key=KEY, clock=FakeClock(), read_only=True) as reading:
            for number in range(300):
                key = random.choice("abcd")
                match random.randrange(5):
                    case 0:
                        await writing.container("pictures").put(row(key, f"content{number}"))
                    case 1:
                        await writing.container("pictures").delete(DeleteRequest(key))
                    case 2 if (found := await shown(writing, key)) and not found.marker:
                        await writing.container("pictures").change(Change(key, tags={"number": str(number)}))
                expected = await fresh(writing, key)
                assert await shown(writing, key) == expected
                assert await shown(reading, key) == expected


async def shown(meta: LocalMeta, key: str) -> ObjectRow | None:
    try:
        return await meta.container("pictures").get(key)
    except ObjectNotFound:
        return None


async def fresh(meta: LocalMeta, key: str) -> ObjectRow | None:
    meta.recent.clear()
    return await shown(meta, key)


async def test_as_many_rows_are_remembered_as_may_be_and_no_large_ones(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent, "ROWS_MAX", 10)
    async with open_meta(scratch / "meta", key=KEY, clock=FakeClock()) as meta:
        await meta.create_bucket(settings())
        container = meta.container("pictures")
        for number in range(30):
            await container.put(row(f"key{number:02d}", f"content{number}"))
        await container.put(row("large", "large", layout=bytes(recent.LAYOUT_BYTES_MAX + 1)))
        await container.put(ObjectRow("parts", content="parts", layout=b"l", attributes=Attributes(parts=(5, 5))))
        for number in range(30):
            await container.get(f"key{number:02d}")
        assert len(meta.recent) == 10
        await container.get("large")
        await container.get("parts")
        assert {place[1] for place in meta.recent} == {f"key{number:02d}" for number in range(20, 30)}
