from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

RSS_MIB_MAX = 150

SCRIPT = """
import os, sys, trio
from pathlib import Path
from meta.protocol.object import Attributes
from tests.component.store.support import BUCKET, opened

class Zeros:
    digests = frozenset()
    def __init__(self, length):
        self.length, self.rest = length, length
    async def fill(self, buffer):
        count = min(len(buffer), self.rest)
        for at in range(0, count, 65536):
            piece = min(65536, count - at)
            buffer[at:at + piece] = bytes(piece)
            await trio.sleep(0)
        self.rest -= count
        return count
    def complete(self, digests):
        return {}

async def main():
    async with opened(Path(sys.argv[1]), int(sys.argv[2]), workers=True) as store:
        async def one(number):
            row = await store.put_object(BUCKET, f"k{number}", Zeros(8 << 20), attributes=Attributes(), owner="owner")
            assert row.size == 8 << 20
        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(one, number)
    with open("/proc/self/status") as file:
        print(next(line for line in file if line.startswith("VmHWM")).split()[1])

trio.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("volumes", [1, 9])
async def test_200_large_puts_at_once_stay_within_their_memory(tmp_path: Path, volumes: int) -> None:
    with trio.fail_after(120):
        done = await trio.run_process([sys.executable, "-c", SCRIPT, str(tmp_path), str(volumes)], capture_stdout=True)
    assert int(done.stdout) / 1024 < RSS_MIB_MAX
