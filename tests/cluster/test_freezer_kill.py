"""kill -9 of a freezer at every step of a transfer: a chunk is there whole or not at all, and the same call again makes it so."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from random import Random

import pytest
import trio

from glacier.config import FreezerConfig
from glacier.iceclient import IceClient
from glacier.loopplan import LoopPlan, loop_config
from glacier.power import Meter, read_record
from glacier.protocol import DiskState
from glacier.reach import reach
from node.auth import NamespaceKey
from node.config import load
from node.errors import PeerUnreachable
from tests.support.cold import head_of, pieces
from tests.support.need import need_programs, need_root
from tests.support.store import COMMAND, environment

pytestmark = pytest.mark.root
DATA = bytes(range(256)) * (5 << 12)
PIECES = 20
"""Frames that the chunk is sent in; the freezer is killed before one of them, or at another step."""
STEPS = ("power on", *(f"piece {number}" for number in range(0, PIECES + 1, 5)), "end", "get", "link", "delete", "power off")
START_S = 30.0
RELEASE_S = 90.0


class Freezing:
    """A freezer's process, and its kills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "freezer.toml"
        self.key = NamespaceKey.create(folder / "key")
        plan = LoopPlan(disks=2, buses=1, disk_bytes=64 << 20, spin_up_s=0.2)
        self.path.write_text(loop_config(folder / "board", plan, namespace="n", key=folder / "key"))
        self.config = load(FreezerConfig, self.path)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        ready, told = os.pipe()
        command = [str(COMMAND), "freezer", "serve", str(self.path), "--ready-fd", str(told)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, pass_fds=(told,), stdout=log, stderr=log, env=environment(self.folder))
        os.close(told)
        assert os.read(ready, 100), (self.folder / "log").read_text()
        os.close(ready)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            assert self.process.wait(START_S) == 0, (self.folder / "log").read_text()

    def bus(self) -> object:
        return reach(self.config, 0, key=self.key)


@contextmanager
def freezing(folder: Path) -> Iterator[Freezing]:
    need_root()
    need_programs("losetup", "mount", "mkfs.ext4")
    made = Freezing(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()


class Killer:
    """The bytes of a chunk, with the kill between two of them."""

    def __init__(self, freezer: Freezing, step: str) -> None:
        self._freezer = freezer
        self._step = step
        self._number = 0

    def at(self, step: str) -> None:
        if step == self._step:
            self._freezer.kill()

    def __aiter__(self) -> Killer:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        self.at(f"piece {self._number}")
        size = len(DATA) // PIECES
        piece = DATA[self._number * size : (self._number + 1) * size]
        self._number += 1
        if not piece:
            raise StopAsyncIteration
        return piece


async def transfer(client: IceClient, killer: Killer, chunk: str) -> None:
    """Every kind of call once; the kill comes right before, or for `end` a moment after, the request of its step."""
    killer.at("power on")
    await client.power_on(0)
    async with trio.open_nursery() as nursery:

        async def end() -> None:
            await trio.sleep(0.02)
            killer.at("end")

        nursery.start_soon(end)
        await client.send(0, head_of(chunk, DATA), killer)
    killer.at("get")
    async with client.get(0, chunk) as incoming:
        assert b"".join([bytes(piece) async for piece in incoming]) == DATA
    killer.at("link")
    await client.link(0, chunk, chunk[::-1], head_of(chunk[::-1], DATA).record)
    killer.at("delete")
    await client.delete(0, [chunk, chunk[::-1]])
    killer.at("power off")
    await client.power_off(0)


async def whole_or_nothing(client: IceClient, chunk: str) -> None:
    """What a kill left: nothing half-done is visible, and the same again succeeds. What the killed process held is let go after a while."""
    with trio.fail_after(RELEASE_S):
        while (await client.probe(0)).state is not DiskState.OFF:  # noqa: ASYNC110 - a freezer tells nobody
            await trio.sleep(0.5)
    await client.power_on(0)
    for each in await client.list(0, "", 100):
        assert (await client.head(0, each, check=True)).size == len(DATA)
    await client.send(0, head_of(chunk, DATA), pieces(DATA))
    await client.head(0, chunk, checksum=head_of(chunk, DATA).checksum, check=True)
    await client.link(0, chunk, chunk[::-1], head_of(chunk[::-1], DATA).record)
    assert await client.delete(0, [chunk, chunk[::-1]]) == []
    assert (await client.fsck(0, repair=False)).clean
    await client.power_off(0)


@asynccontextmanager
async def lost() -> AsyncIterator[None]:
    """The connection may end with its freezer."""
    try:
        yield
    except* PeerUnreachable:
        pass


@pytest.mark.timeout(3600)
async def test_a_freezer_killed_at_any_step_leaves_whole_chunks_and_a_board_in_order(scratch: Path, seed: str, rounds: int) -> None:
    chance = Random(seed)
    steps = list(STEPS) if rounds > 10 else chance.sample(STEPS, 5)
    with freezing(scratch) as freezer:
        for number in range(max(len(steps), rounds if rounds > 10 else 0)):
            chunk = f"{number + 1:032x}"
            async with lost():
                async with freezer.bus() as client:  # type: ignore[attr-defined]
                    await transfer(client, Killer(freezer, steps[number % len(steps)]), chunk)
            freezer.start()
            async with freezer.bus() as client:  # type: ignore[attr-defined]
                await whole_or_nothing(client, chunk)
    meter = Meter(freezer.config.layout)
    for switching in read_record(freezer.config.state / "power.log"):
        meter._count(switching)
    assert (meter.together_max, meter.powered) == ({0: 1}, set())
