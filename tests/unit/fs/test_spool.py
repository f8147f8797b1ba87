"""Written bytes that wait: in memory, then on disk, bounded."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fs.spool import MEMORY_BYTES_FILE_MAX, Note, Spool, SpoolFolder

NOTE = Note("b", "k")


async def read(spool: Spool, start: int, size: int) -> bytes:
    into = memoryview(bytearray(size))
    await spool.read(start, into)
    return bytes(into)


async def test_a_little_stays_in_memory(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path / "spool")
    assert await folder.open()
    spool = Spool(folder)
    await spool.write(10, b"abc", lambda: NOTE)
    assert await read(spool, 10, 3) == b"abc"
    assert not spool.on_disk
    assert folder.memory == 13
    spool.clear()
    assert folder.memory == 0
    folder.close()


async def test_much_goes_to_disk_with_what_was_in_memory(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path / "spool")
    assert await folder.open()
    spool = Spool(folder)
    await spool.write(0, b"begin", lambda: NOTE)
    await spool.write(MEMORY_BYTES_FILE_MAX, b"end", lambda: NOTE)
    assert spool.on_disk
    assert folder.memory == 0
    assert await read(spool, 0, 5) == b"begin"
    assert await read(spool, MEMORY_BYTES_FILE_MAX, 3) == b"end"
    spool.clear()
    assert folder.used == 0
    assert [path.name for path in folder.path.iterdir()] == ["lock"]
    folder.close()


async def test_a_full_spool_takes_no_more(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path / "spool", bytes_max=1 << 20)
    assert await folder.open()
    spool = Spool(folder)
    await spool.write(1 << 19, bytes(1 << 19), lambda: NOTE)
    with pytest.raises(OSError, match="spool is full") as caught:
        await spool.write(1 << 20, bytes((1 << 19) + 1), lambda: NOTE)
    assert caught.value.errno == errno.ENOSPC
    spool.clear()
    await spool.write(0, bytes(1 << 20), lambda: NOTE)
    spool.clear()
    folder.close()


async def test_one_process_uses_a_folder_at_a_time(tmp_path: Path) -> None:
    folder = SpoolFolder(tmp_path / "spool")
    assert await folder.open()
    assert not await SpoolFolder(tmp_path / "spool").open(wait_s=0.2)
    folder.close()
    again = SpoolFolder(tmp_path / "spool")
    assert await again.open()
    again.close()
