"""The worker's socket, and the commands that ask through it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from glacier.backlog import Kind
from glacier.boards import open_boards
from glacier.worker.metrics import Figures
from glacier.worker.protocol import ITEMS_MAX, ColdDoor, Item
from glacier.worker.wire import WorkerService
from glacier.worker.worker import Worker
from node.auth import KEY_BYTES, NamespaceKey
from node.errors import CallNotAuthenticated, DiskNotFound, InvalidArgument, PeerUnreachable, VolumeNotFound
from node.http.server import listen_unix, serve
from node.metrics import exposition
from rawx.volume import Volume
from store.settings import load_settings
from tests.component.glacier.conftest import AT_ONCE, OPTIONS, item, until, until_state, working
from tests.component.rawx.conftest import UNIT, put, sample
from tests.component.store.support import opened
from tests.support.freezer import MemoryFreezer
from tests.support.store import COMMAND, environment

KEY = NamespaceKey(bytes(KEY_BYTES))
CALM = replace(OPTIONS, scheduler=replace(AT_ONCE, idle_s=3600.0), site="dc2")
"""Keeps a disk powered, so that what is shown stands still."""


@asynccontextmanager
async def served(tmp_path: Path, volumes: dict[str, Volume], key: NamespaceKey = KEY) -> AsyncIterator[tuple[Worker, str]]:
    path = str(tmp_path / "worker.sock")
    async with working(tmp_path, volumes, MemoryFreezer(range(3)), CALM) as worker, trio.open_nursery() as nursery:
        service = WorkerService(worker.door, key)
        await nursery.start(partial(serve, service, [listen_unix(path)], name="worker"))
        yield worker, f"unix:{path}"
        nursery.cancel_scope.cancel()


async def test_everything_can_be_asked_over_the_socket(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    volume = next(iter(volumes.values()))
    made = await put(volume, sample(2 * UNIT))
    what = item(volume, made)
    async with served(tmp_path, volumes) as (worker, address), open_boards([address], KEY) as boards:
        door: ColdDoor = boards.workers[0]
        await door.create([what])
        await until_state(worker, what, "cold")
        (state,) = await door.states([what])
        assert state == (await worker.door.states([what]))[0]
        await door.get([what], Kind.EXPEDITED, 0)
        await until_state(worker, what, "filled")
        assert await door.verify(-1) == 1
        assert await door.strays(Item("", ""), 5) == []
        status = await door.status()
        assert (status.board, status.bus, sorted(status.volumes)) == ("board", 0, sorted(volumes))
        assert isinstance(await door.queue(10), list)
        await door.melt([what])
        await until_state(worker, what, "")
        await door.delete([what])
        with pytest.raises(DiskNotFound):
            await door.lose(99)
        with pytest.raises(VolumeNotFound):
            await door.create([Item("0" * 16, "f" * 32)])
        with pytest.raises(InvalidArgument):
            await door.states([what] * (ITEMS_MAX + 1))


async def test_who_does_not_hold_the_key_is_not_answered(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    async with served(tmp_path, volumes) as (_, address), open_boards([address], NamespaceKey(os.urandom(KEY_BYTES))) as boards:
        with pytest.raises(CallNotAuthenticated):
            await boards.workers[0].status()


async def test_a_worker_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    async with open_boards([f"unix:{tmp_path / 'nothing.sock'}"], KEY) as boards:
        with pytest.raises(PeerUnreachable):
            await boards.workers[0].status()


async def test_the_figures_say_what_waits_and_what_was_done(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    volume = next(iter(volumes.values()))
    made = await put(volume, sample(UNIT))
    async with served(tmp_path, volumes) as (worker, _):
        await worker.door.create([item(volume, made)])
        await until_state(worker, item(volume, made), "cold")
        await until(lambda: worker.core.counts["freeze"] == 1, "it is counted")
        Figures(worker.core).register()
        text = exposition().decode()
    assert re.search(r'frazil_glacier_jobs_done_total\{kind="freeze"\} 1\.0', text)
    assert f"frazil_glacier_bytes {float(UNIT)}" in text
    assert "frazil_glacier_power_ons_total 1.0" in text


async def test_commands_show_the_queue_and_have_disks_verified(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    async with opened(tmp_path / "store"):
        pass
    key = NamespaceKey.load(tmp_path / "store" / "secret.key")
    volume = next(iter(volumes.values()))
    several = [await put(volume, sample(UNIT)) for _ in range(2)]
    async with served(tmp_path, volumes, key) as (worker, address):

        async def run(*arguments: str) -> tuple[int, str, str]:
            command = [str(COMMAND), "glacier", *arguments, "--worker", address, "--store", str(tmp_path / "store")]
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=environment(tmp_path))
            assert isinstance(done, subprocess.CompletedProcess)
            return done.returncode, done.stdout.decode(), done.stderr.decode()

        await worker.door.create([item(volume, several[0])])
        await until_state(worker, item(volume, several[0]), "cold")
        code, out, _ = await run("queue")
        assert code == 0
        assert "bus board/0 in dc2: disk 0 is idle; nothing waits; 1 power-on" in out
        assert re.search(r"disk +0 +64\.0 KiB .* 1 chunks  powered", out)
        code, out, _ = await run("queue", "--json")
        records = [json.loads(line) for line in out.splitlines()]
        assert [record["type"] for record in records] == ["bus", "disk"]
        assert (records[1]["chunks"], records[1]["powered"]) == (1, True)
        code, out, _ = await run("verify")
        assert (code, "1 chunk will be read" in out) == (0, True)
        code, out, _ = await run("clear", "1")
        assert (code, out) == (0, "disk 1 is cleared of 0 chunks\n")
        code, out, _ = await run("pace", "1MiB")
        assert (code, out) == (0, "bus board/0: at most 1.0 MiB per second\n")
        assert (await worker.door.status()).rate_bytes == 1 << 20
        assert "at most 1.0 MiB per second" in (await run("queue"))[1]
        code, out, err = await run("pace", "1KiB")
        assert (code != 0, "at least 65536 bytes" in err) == (True, True)
        assert (await run("pace", "0"))[:2] == (0, "bus board/0: no limit\n")
        assert (await run("pace", "1MiB", "--bus", "other/0"))[0] == 3
        code, out, err = await run("power", "on", "1")
        assert (code != 0, "disk 0 has power" in err) == (True, True)
        assert (await run("power", "off", "0"))[:2] == (0, "disk 0 is off\n")
        assert (await run("power", "on", "1"))[:2] == (0, "disk 1 is on\n")
        assert (await run("fsck", "1"))[:2] == (0, "disk 1: its file system is whole\n")
        assert "its file system is whole" in (await run("queue"))[1]
        code, out, err = await run("lose", "9", "--yes")
        assert (code, "no disk 9" in err) == (3, True)
        code, out, _ = await run("lose", "0", "--yes")
        assert (code, out) == (0, "disk 0 is given up; it held 1 chunk\n")


async def test_a_class_goes_to_sites_that_some_worker_names(tmp_path: Path, volumes: dict[str, Volume]) -> None:
    async with opened(tmp_path / "store"):
        pass
    key = NamespaceKey.load(tmp_path / "store" / "secret.key")
    async with served(tmp_path, volumes, key) as (_, address):

        async def run(*arguments: str) -> tuple[int, str, str]:
            command = [str(COMMAND), "glacier", "sites", "GLACIER", *arguments, "--worker", address, "--store", str(tmp_path / "store")]
            done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=environment(tmp_path))
            assert isinstance(done, subprocess.CompletedProcess)
            return done.returncode, done.stdout.decode(), done.stderr.decode()

        assert (await run())[:2] == (0, "GLACIER: all boards\n")
        code, _, err = await run("dc9")
        assert (code, "no board is in dc9" in err, "there are some in dc2" in err) == (3, True, True)
        assert (await run("dc2"))[:2] == (0, "GLACIER: dc2\n")
        settings = load_settings(tmp_path / "store")
        assert settings is not None
        assert settings.sites == {"GLACIER": ("dc2",)}
        assert (await run("--any"))[:2] == (0, "GLACIER: all boards\n")
