"""Files that are larger than the spool, and files that are mostly holes."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mount import MountProcess
from tests.support.need import need_fuse
from tests.support.store import StoreProcess

MIB = 1 << 20
SPOOL_MIB = 70
ENCRYPTION = b"""<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>
</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"""


@pytest.fixture(scope="module")
def mount(shared_store: StoreProcess) -> Iterator[Path]:
    need_fuse()
    options = [f"spool_size={SPOOL_MIB}"]
    with MountProcess(shared_store, shared_store.scratch / "large", options=options) as process:
        yield process.directory


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_file_larger_than_the_spool_is_one_object_once_it_is_closed(mount: Path, shared_store: StoreProcess, encrypted: bool) -> None:
    bucket = f"large-{'sealed' if encrypted else 'plain'}"
    piece = random.Random(bucket).randbytes(MIB)
    with shared_store.client() as client:
        client.make_bucket(bucket)
        if encrypted:
            assert client.call("PUT", bucket, query=[("encryption", "")], body=ENCRYPTION).status == 200
        with (mount / bucket / "f").open("wb") as file:
            for number in range(SPOOL_MIB + 10):
                file.write(piece[number:] + piece[:number])
            file.seek(2 * MIB)
            file.write(b"late")
            file.flush()
            assert client.get(bucket, "f").status == 404
            with (mount / bucket / "f").open("rb") as reader:
                assert os.pread(reader.fileno(), 100, 3 * MIB) == (piece[3:] + piece[:3])[:100]
        body = client.get(bucket, "f").body
        assert len(body) == (SPOOL_MIB + 10) * MIB
        assert body[2 * MIB : 2 * MIB + 4] == b"late"
        assert body[5 * MIB :] == b"".join(piece[number:] + piece[:number] for number in range(5, SPOOL_MIB + 10))
        assert client.call("HEAD", bucket, "f").headers["x-amz-meta-mode"] == str(0o100644)
        assert client.uploads(bucket) == []


def test_a_file_that_is_made_larger_takes_no_disk(mount: Path, shared_store: StoreProcess) -> None:
    with shared_store.client() as client:
        client.make_bucket("holes")

    def used() -> int:
        return int(subprocess.run(["du", "-sk", shared_store.directories[0]], capture_output=True, text=True, check=True).stdout.split()[0])

    before = used()
    with (mount / "holes" / "f").open("wb") as file:
        file.write(b"begin")
        file.truncate(300 * MIB)
        file.seek(200 * MIB)
        file.write(b"middle")
    assert used() - before < 40_000
    with (mount / "holes" / "f").open("rb") as reader:
        assert reader.read(10) == b"begin" + bytes(5)
        reader.seek(200 * MIB)
        assert reader.read(10) == b"middle" + bytes(4)
        reader.seek(-1, os.SEEK_END)
        assert reader.read() == b"\0"
    with shared_store.client() as client:
        assert client.call("HEAD", "holes", "f").headers["content-length"] == str(300 * MIB)
    with pytest.raises(OSError, match="File too large"):
        os.truncate(mount / "holes" / "f", 1 << 40)
