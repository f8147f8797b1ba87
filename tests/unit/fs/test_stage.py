"""The begin of a large file, stored before the file is: read, written over, cut, completed and taken back as if it were in the spool."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from fs import stage
from fs.attribute import Defaults, file_stat
from fs.connection import Connection
from fs.file import File
from fs.recovery import recover
from fs.shared import Shared
from fs.spool import SpoolFolder
from fs.stage import PARTS_ALIKE, Uploads, part_bytes
from meta.protocol.object import Attributes, ObjectRow
from meta.protocol.upload import PARTS_MAX, PartRow, UploadRow
from node.errors import UploadNotFound
from store.source import Source
from tests.unit.fs.test_recovery import Store, inode_of

PART_BYTES = 100_000
SPOOL_BYTES = 400_000
PIECE_BYTES = 30_000


class Parts(Store):
    """A store that also takes uploads."""

    def __init__(self) -> None:
        super().__init__()
        self.uploads: dict[str, tuple[UploadRow, dict[int, PartRow]]] = {}
        self.written = 0

    async def begin(self, bucket: str, key: str, attributes: Attributes) -> UploadRow:
        row = UploadRow(f"u{self.written}", key, attributes=attributes)
        self.uploads[row.upload] = row, {}
        return row

    async def part(self, bucket: str, upload: UploadRow, number: int, source: Callable[[], Source]) -> PartRow:
        made = source()
        data = bytearray(made.length or 0)
        await made.fill(memoryview(data))
        self.written += 1
        row = PartRow(number, len(data), f"e{self.written}", f"part {self.written}")
        self.bytes[row.content] = bytes(data)
        self.uploads[upload.upload][1][number] = row
        return row

    async def parts(self, bucket: str, key: str, upload: str) -> tuple[UploadRow, Sequence[PartRow]]:
        row, parts = self.uploads[upload]
        assert row.key == key
        return row, [parts[number] for number in sorted(parts)]

    async def complete(
        self, bucket: str, upload: UploadRow, parts: Sequence[PartRow], describe: Callable[[Attributes], Attributes]
    ) -> ObjectRow:
        if upload.upload not in self.uploads:
            raise UploadNotFound(upload.upload)
        there = self.uploads.pop(upload.upload)[1]
        assert [there[part.part] for part in parts] == list(parts)
        return self.keep(upload.key, b"".join(self.bytes[part.content] for part in parts), describe(upload.attributes))

    async def abort(self, bucket: str, upload: UploadRow) -> None:
        del self.uploads[upload.upload]


class Both:
    """As fs.stage.Uploads, whose window is of a part."""

    def __init__(self, store: Parts) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def window(self, bucket: str, upload: UploadRow, part: PartRow) -> AbstractAsyncContextManager[Any]:
        return await self._store.window(bucket, ObjectRow(upload.key, content=part.content))


@pytest.fixture
async def shared(tmp_path: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Shared, Parts]]:
    monkeypatch.setattr(stage, "PART_BYTES", PART_BYTES)
    store = Parts()
    spools = SpoolFolder(tmp_path / "spool", bytes_max=SPOOL_BYTES)
    assert await spools.open()
    yield Shared(cast(Connection, store), spools, nursery, uploads=cast(Uploads, Both(store))), store
    spools.close()


def new_file(shared: Shared) -> File:
    return File(shared, inode_of("k"), None, file_stat(ObjectRow("k"), Defaults()))


async def write(file: File, data: bytes) -> None:
    for at in range(0, len(data), PIECE_BYTES):
        await file.write(at, data[at : at + PIECE_BYTES])


def test_the_largest_file_has_enough_parts() -> None:
    assert sum(part_bytes(number) for number in range(1, PARTS_MAX + 1)) >= 5 << 40
    assert part_bytes(1) == part_bytes(PARTS_ALIKE) < part_bytes(PARTS_ALIKE + 1)


async def test_a_file_larger_than_the_spool_is_stored_as_it_was_written(shared: tuple[Shared, Parts]) -> None:
    files, store = shared
    data = random.Random(1).randbytes(5 * SPOOL_BYTES + 7)
    file = new_file(files)
    await write(file, data)
    assert files.spools.used <= SPOOL_BYTES
    assert store.rows == {}
    assert bytes(await file.read(0, len(data))) == data
    await file.write(10, b"late")
    await file.write(len(data), b"tail")
    wanted = data[:10] + b"late" + data[14:] + b"tail"
    assert bytes(await file.read(0, len(wanted))) == wanted
    await file.save()
    assert store.data("k") == wanted
    assert bytes(await file.read(0, len(wanted))) == wanted
    await file.aclose()
    assert (store.uploads, files.spools.used) == ({}, 0)


@pytest.mark.parametrize("cut", [0, 5, PART_BYTES, 3 * PART_BYTES + 5, 3 * SPOOL_BYTES])
async def test_what_is_cut_off_is_gone_and_grows_again_as_zeros(shared: tuple[Shared, Parts], cut: int) -> None:
    files, store = shared
    data = random.Random(2).randbytes(3 * SPOOL_BYTES + 5)
    file = new_file(files)
    await write(file, data)
    await file.truncate(cut)
    await file.truncate(len(data))
    await file.save()
    assert store.data("k") == data[:cut] + bytes(len(data) - cut)
    await file.aclose()
    assert store.uploads == {}


async def test_a_file_whose_folder_was_renamed_is_stored_under_its_new_name(shared: tuple[Shared, Parts]) -> None:
    files, store = shared
    data = random.Random(3).randbytes(2 * SPOOL_BYTES)
    file = new_file(files)
    await write(file, data)
    file._inode.part = "other"
    await file.save()
    assert list(store.rows) == ["other"]
    assert store.data("other") == data
    assert store.uploads == {}
    await file.aclose()


async def test_what_was_staged_of_a_removed_file_is_taken_back(shared: tuple[Shared, Parts]) -> None:
    files, store = shared
    file = new_file(files)
    await write(file, bytes(2 * SPOOL_BYTES))
    assert len(store.uploads) == 1
    file._inode.gone = True
    await file.aclose()
    assert (store.uploads, store.rows) == ({}, {})


async def test_a_file_that_is_not_written_in_order_gets_no_more_than_the_spool(shared: tuple[Shared, Parts]) -> None:
    files, _ = shared
    file = new_file(files)
    with pytest.raises(OSError, match="spool is full") as caught:
        for at in range(40):
            await file.write((40 - at) * PIECE_BYTES, bytes(PIECE_BYTES))
    assert caught.value.errno == errno.ENOSPC
    file._inode.gone = True
    await file.aclose()


async def test_what_is_written_again_and_again_takes_its_room_once(shared: tuple[Shared, Parts]) -> None:
    files, _ = shared
    file = new_file(files)
    for _ in range(40):
        await file.write(300_000, bytes(PIECE_BYTES))
    assert files.spools.used == PIECE_BYTES
    file._inode.gone = True
    await file.aclose()
    assert files.spools.used == 0


@pytest.mark.parametrize("name", ["k", "renamed"])
async def test_a_crash_leaves_the_whole_file_to_the_next_mount(
    shared: tuple[Shared, Parts], tmp_path: Path, nursery: trio.Nursery, name: str
) -> None:
    files, store = shared
    data = random.Random(4).randbytes(3 * SPOOL_BYTES + 5)
    file = new_file(files)
    await write(file, data)
    await file.truncate(len(data) - 2)
    await file.write(1, b"late")
    file._inode.part = name
    file.moved()
    shutil.copytree(tmp_path / "spool", tmp_path / "crashed")
    left = SpoolFolder(tmp_path / "crashed", bytes_max=SPOOL_BYTES)
    assert await left.open()
    again = Shared(cast(Connection, store), left, nursery, uploads=files.uploads)
    assert await recover(again, Defaults()) == 1
    assert store.data(name) == data[:1] + b"late" + data[5:-2]
    assert store.uploads == {}
    left.close()
