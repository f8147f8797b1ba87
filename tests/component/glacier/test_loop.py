"""A board of loop devices: real file systems that come and go with the power. Needs root."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from glacier.config import FreezerConfig
from glacier.daemon import open_freezer
from glacier.filesystem import mounted
from glacier.freezer import BoardFreezer
from glacier.loopplan import LoopPlan, loop_config
from glacier.power import read_record
from glacier.protocol import DiskState
from node.config import parse
from node.errors import Busy, ConfigError, DiskFailed, PowerBudgetSpent, VolumeForeign
from rawx import attributes
from rawx.chunk import ChunkRecord
from tests.support.cold import head_of, pieces
from tests.support.need import need_programs, need_root

pytestmark = [pytest.mark.root, pytest.mark.slow]
CHUNK = "a" * 32
OTHER = "b" * 32
DATA = os.urandom((2 << 20) + 5)


FIRST = """
import os, signal, sys
import trio
from pathlib import Path
from glacier.daemon import open_freezer
from tests.component.glacier.test_loop import CHUNK, config_of
from tests.support.cold import head_of, pieces

async def main():
    async with open_freezer(config_of(Path(sys.argv[1]))) as board:
        await board.bus(0).power_on(1)
        await board.bus(1).power_on(2)
        await board.bus(0).send(1, head_of(CHUNK, b"frozen"), pieces(b"frozen"))
        os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


def config_of(directory: Path) -> FreezerConfig:
    plan = LoopPlan(disks=4, buses=2, disk_bytes=48 << 20, spin_up_s=0.0)
    return parse(FreezerConfig, loop_config(directory, plan, namespace="n", key=directory / "key"))


async def _run(*command: str, expect: int = 0) -> None:
    done = await trio.run_process(command, check=False, cwd=Path(__file__).parents[3])
    assert done.returncode == expect


@pytest.fixture
def config(scratch: Path) -> FreezerConfig:
    need_root()
    need_programs("losetup", "mount", "mkfs.ext4", "e2fsck")
    return config_of(scratch / "board")


@pytest.fixture
async def freezer(config: FreezerConfig) -> AsyncIterator[BoardFreezer]:
    async with open_freezer(config) as board:
        yield board


def image(config: FreezerConfig, disk: int) -> Path:
    return config.loop.directory / f"disk-{disk:02}.img"


def place(config: FreezerConfig, disk: int, chunk: str) -> Path:
    return config.mounts / f"disk-{disk:02}" / chunk[:3] / chunk


def attached(config: FreezerConfig) -> list[str]:
    listed = subprocess.run(["losetup", "--noheadings", "--raw", "-O", "BACK-FILE"], capture_output=True, text=True, check=True).stdout
    return sorted(Path(line).name for line in listed.splitlines() if line.startswith(str(config.loop.directory)))


def mounts(config: FreezerConfig) -> list[str]:
    return [path for path in mounted() if path.startswith(str(config.mounts))]


async def test_a_sleeping_disk_can_t_be_read(config: FreezerConfig, freezer: BoardFreezer) -> None:
    bus = freezer.bus(0)
    await bus.power_on(1)
    await bus.send(1, head_of(CHUNK, DATA), pieces(DATA))
    assert place(config, 1, CHUNK).read_bytes() == DATA
    assert attached(config) == ["disk-01.img"]
    await bus.power_off(1)
    assert not place(config, 1, CHUNK).exists()
    assert (attached(config), mounts(config)) == ([], [])


async def test_a_cold_disk_says_by_itself_what_lies_on_it(config: FreezerConfig, freezer: BoardFreezer) -> None:
    bus = freezer.bus(0)
    head = head_of(CHUNK, DATA, unit_bytes=1 << 18)
    await bus.power_on(0)
    await bus.send(0, head, pieces(DATA))
    record = ChunkRecord.parse(os.getxattr(place(config, 0, CHUNK), attributes.RECORD_ATTRIBUTE))
    assert (record.bucket, record.key, record.size, record.checksum) == ("bucket", "key", len(DATA), head.checksum.hex())
    await bus.power_off(0)
    await bus.power_on(0)
    assert await bus.head(0, CHUNK, check=True) == head
    assert sorted(path.name for path in (config.mounts / "disk-00").iterdir()) == ["aaa", "journal", "lost+found", "quarantine"]


async def test_a_link_takes_no_space_and_has_its_own_record(config: FreezerConfig, freezer: BoardFreezer) -> None:
    bus = freezer.bus(0)
    await bus.power_on(0)
    await bus.send(0, head_of(CHUNK, DATA), pieces(DATA))
    record = head_of(OTHER, DATA, key="another key").record
    before = (await bus.probe(0)).bytes_free
    for _ in range(2):
        await bus.link(0, CHUNK, OTHER, record)
    assert place(config, 0, CHUNK).stat().st_ino == place(config, 0, OTHER).stat().st_ino
    await bus.power_off(0)
    assert (await bus.power_on(0)).bytes_free > before - (1 << 16)
    for chunk, key in ((CHUNK, "key"), (OTHER, "another key")):
        assert ChunkRecord.parse((await bus.head(0, chunk, check=True)).record).key == key
    await bus.delete(0, [CHUNK])
    assert ChunkRecord.parse((await bus.head(0, OTHER, check=True)).record).key == "another key"


async def test_reading_back_reads_the_disk_and_not_memory(config: FreezerConfig, freezer: BoardFreezer) -> None:
    bus = freezer.bus(0)
    await bus.power_on(0)
    await bus.send(0, head_of(CHUNK, DATA), pieces(DATA))
    before = _sectors_read(config)
    await bus.head(0, CHUNK, check=True)
    assert _sectors_read(config) - before >= len(DATA) // 512


def _sectors_read(config: FreezerConfig) -> int:
    device = mounted()[str(config.mounts / "disk-00")]
    return int(Path(f"/sys/block/{Path(device).name}/stat").read_text().split()[2])


async def test_a_disk_that_is_used_by_somebody_keeps_its_power_and_its_grant(
    config: FreezerConfig, freezer: BoardFreezer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glacier.filesystem.RELEASE_S", 0.5)
    bus = freezer.bus(0)
    await bus.power_on(0)
    await bus.send(0, head_of(CHUNK, DATA), pieces(DATA))
    with place(config, 0, CHUNK).open("rb"):
        with pytest.raises(DiskFailed, match="in use by another process"):
            await bus.power_off(0)
        assert (await bus.probe(0)).state is DiskState.FAILED
        with pytest.raises(PowerBudgetSpent):
            await bus.power_on(1)
    await bus.power_off(0)
    await bus.power_on(1)
    assert freezer.board.meter.together_max == {0: 1}


async def test_the_next_process_finds_the_board_as_it_was_left_and_switches_it_off(config: FreezerConfig) -> None:
    """The first freezer is killed in the middle: nothing of it is undone."""
    await _run(sys.executable, "-c", FIRST, str(config.loop.directory.parent), expect=-signal.SIGKILL)
    assert attached(config) == ["disk-01.img", "disk-02.img"]
    async with open_freezer(config) as board:
        assert (attached(config), mounts(config)) == ([], [])
        report = await board.bus(0).probe(1)
        assert (report.state, report.power_cycles) == (DiskState.OFF, 1)
        assert report.volume
        await board.bus(0).power_on(1)
        assert await board.bus(0).head(1, CHUNK, check=True) == head_of(CHUNK, b"frozen")
    switched = read_record(config.state / "power.log")
    assert [(each.disk, each.on) for each in switched] == [(1, True), (2, True), (1, False), (2, False), (1, True), (1, False)]


async def test_one_freezer_holds_a_board(config: FreezerConfig, freezer: BoardFreezer) -> None:
    with pytest.raises(ConfigError, match=r"board board is in use by process \d+"):
        async with open_freezer(config):
            pass


async def test_a_disk_that_is_gone_does_not_come_up(config: FreezerConfig, freezer: BoardFreezer) -> None:
    image(config, 0).unlink()
    with pytest.raises(DiskFailed, match=r"disk 0 did not come up: losetup: .*disk-00\.img"):
        await freezer.bus(0).power_on(0)
    assert attached(config) == []
    await freezer.bus(0).power_on(1)


async def test_a_disk_in_the_wrong_slot_is_refused(config: FreezerConfig, freezer: BoardFreezer) -> None:
    bus = freezer.bus(0)
    for disk in (0, 1):
        await bus.power_on(disk)
        await bus.power_off(disk)
    image(config, 0).rename(config.loop.directory / "aside")
    image(config, 1).rename(image(config, 0))
    with pytest.raises(DiskFailed, match=r"is volume .* not") as refused:
        await bus.power_on(0)
    assert isinstance(refused.value.__cause__, VolumeForeign)
    assert (attached(config), mounts(config)) == ([], [])


async def test_a_damaged_file_system_is_found_and_repaired(config: FreezerConfig, freezer: BoardFreezer) -> None:
    bus = freezer.bus(0)
    await bus.power_on(0)
    await bus.send(0, head_of(CHUNK, DATA), pieces(DATA))
    assert (await bus.fsck(0, repair=False)).clean
    device = mounted()[str(config.mounts / "disk-00")]
    inode = place(config, 0, CHUNK).stat().st_ino
    shelf = freezer.drives[0].ready()
    await shelf.close()
    await freezer.board.unmount(0)
    await _run("debugfs", "-w", "-R", f"sif <{inode}> links_count 7", device)
    freezer.drives[0].shelf = await freezer.board.mount(0, "")
    report = await bus.fsck(0, repair=False)
    assert not report.clean
    assert "ref count is 7" in report.text
    report = await bus.fsck(0, repair=True)
    assert (report.clean, report.repaired) == (True, True)
    assert await bus.head(0, CHUNK, check=True) == head_of(CHUNK, DATA)
    with pytest.raises(Busy):
        async with bus.get(0, CHUNK):
            await bus.fsck(0, repair=False)
