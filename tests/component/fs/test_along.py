"""A put that goes along with a file, into a real store."""

from __future__ import annotations

import logging
import random
from pathlib import Path
from typing import cast

import pytest
import trio

import fs.along
from fs.attribute import Defaults, file_stat
from fs.connection import Rules, StoreConnection
from fs.file import File
from fs.inode import ROOT, Inode
from fs.shared import Shared
from fs.spool import SpoolFolder
from meta.protocol.identities import Account
from meta.protocol.object import ObjectRow
from tests.component.store.support import BUCKET, chunk_files, opened, read


def new_inode(key: str) -> Inode:
    root = Inode(ROOT, None, b"", "", folder=True)
    root.bucket = BUCKET
    return Inode(2, root, key.encode(), key, folder=False)


async def test_a_writer_that_pauses_is_no_error_and_leaves_nothing(
    scratch: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fs.along, "IDLE_S", 0.2)
    data = random.Random(3).randbytes(9 << 20)
    async with opened(scratch) as store, trio.open_nursery() as nursery:
        spools = SpoolFolder(scratch / "spool")
        assert await spools.open()
        connection = StoreConnection(store, Rules(lambda _: None, lambda _: True), cast(Account, None))
        file = File(Shared(connection, spools, nursery), new_inode("k"), None, file_stat(ObjectRow("k"), Defaults()))
        with caplog.at_level(logging.INFO, "frazil"):
            for start in range(0, len(data), 1 << 20):
                await file.write(start, data[start : start + (1 << 20)])
                await trio.lowlevel.checkpoint()
            await trio.sleep(1)
        assert not [record for record in caplog.records if record.levelno > logging.INFO]
        assert chunk_files(scratch) == []
        await file.save()
        await file.aclose()
        assert await read(store, await store.get_row(BUCKET, "k")) == data
        spools.close()
