"""The spool: nothing that was added is lost, whoever else writes the file; each topic in order and bounded."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from meta.spool import Record, Spool

BOUNDS = {"number_max": 100, "bytes_max": 10_000}


def record(topic: str, number: int, size: int = 10) -> Record:
    return Record(topic, "k", number, str(number).encode().ljust(size))


async def test_what_was_added_is_taken_in_order_until_it_is_done(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", **BOUNDS)
    await spool.add([record("a", 1), record("b", 2), record("a", 3)])
    assert await spool.topics() == {"a": 2, "b": 1}
    found = await spool.take("a", 10)
    assert [each.at_us for each in found] == [1, 3]
    assert await spool.take("a", 1) == found[:1]
    await spool.done(found[:1])
    await spool.done(found[:1])
    await spool.aclose()
    again = Spool(tmp_path / "s.db", **BOUNDS)
    assert [each.at_us for each in await again.take("a", 10)] == [3]
    assert await again.topics() == {"a": 1, "b": 1}
    await again.aclose()


async def test_a_topic_is_bounded_by_number_and_bytes_and_takes_more_when_some_is_done(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.db", number_max=3, bytes_max=100)
    assert await spool.add([record("a", number) for number in range(5)]) == 2
    assert await spool.add([record("b", 0, 60), record("b", 1, 60)]) == 1
    await spool.done(await spool.take("a", 1))
    assert await spool.add([record("a", 9)]) == 0
    assert [each.at_us for each in await spool.take("a", 10)] == [1, 2, 9]
    await spool.aclose()


async def test_two_openers_write_side_by_side(tmp_path: Path) -> None:
    spools = [Spool(tmp_path / "s.db", number_max=10_000, bytes_max=10**6) for _ in range(3)]

    async def write(spool: Spool, base: int) -> None:
        for number in range(50):
            await spool.add([record("a", base + number)])

    async with trio.open_nursery() as nursery:
        for at, spool in enumerate(spools):
            nursery.start_soon(write, spool, at * 1000)
    found = [each.at_us for each in await spools[0].take("a", 1000)]
    assert sorted(found) == [at * 1000 + number for at in range(3) for number in range(50)]
    for at in range(3):
        assert [each for each in found if each // 1000 == at] == [at * 1000 + number for number in range(50)]
    for spool in spools:
        await spool.aclose()


_WRITER = """
import sys, trio
from pathlib import Path
from meta.spool import Record, Spool

async def main():
    spool = Spool(Path(sys.argv[1]), number_max=10**6, bytes_max=10**9)
    number = 0
    while True:
        await spool.add([Record("a", "k", number, b"x")])
        print(number, flush=True)
        number += 1

trio.run(main)
"""


@pytest.mark.slow
def test_what_was_answered_outlives_a_kill(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path / "s.db")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        answered = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
        answered += [int(line) for line in process.stdout.read().split()]

    async def look() -> list[int]:
        spool = Spool(tmp_path / "s.db", **BOUNDS)
        found = await spool.take("a", 10**6)
        await spool.aclose()
        return [each.at_us for each in found]

    found = trio.run(look)
    assert found[: len(answered)] == answered
    assert len(found) <= len(answered) + 1
