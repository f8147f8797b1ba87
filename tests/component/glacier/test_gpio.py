"""A board of GPIO lines, with lines and a device that are pretended: what is switched when, and that it is looked whether it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from glacier import gpio
from glacier.filesystem import Mounts
from glacier.gpio import GpioBoard, GpioDisk, GpiodLines, remove_device
from glacier.power import Layout, Meter
from node.errors import ConfigError, DiskFailed
from tests.support.cold import LoopClock


class PretendedLines:
    def __init__(self, folder: Path) -> None:
        self.on: set[str] = set()
        self.folder = folder
        self.welded: set[str] = set()

    def set(self, line: str, *, on: bool) -> None:
        if on:
            self.on.add(line)
            (self.folder / line).touch()
        elif line not in self.welded:
            self.on.discard(line)
            (self.folder / line).unlink(missing_ok=True)

    def get(self, line: str) -> bool:
        return line in self.on

    def close(self) -> None:
        return


def board_of(tmp_path: Path) -> tuple[GpioBoard, PretendedLines]:
    layout = Layout("north", ((0, 1),))
    lines = PretendedLines(tmp_path)
    disks = {0: GpioDisk("a", tmp_path / "a"), 1: GpioDisk("b", tmp_path / "b")}
    return GpioBoard(layout, Meter(layout), disks, lines, mounts=Mounts(tmp_path, "n"), now_us=LoopClock().now_us), lines


async def test_a_line_is_high_while_its_disk_has_power(tmp_path: Path, autojump_clock: MockClock) -> None:
    board, lines = board_of(tmp_path)
    await board.power_up(1)
    assert (lines.on, board.meter.powered) == ({"b"}, {1})
    await board.power_down(1)
    assert (lines.on, board.meter.powered) == (set(), set())


async def test_it_waits_for_the_device(tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    board, lines = board_of(tmp_path)
    monkeypatch.setattr(lines, "set", lambda line, *, on: None)
    with trio.move_on_after(60):
        await board.power_up(0)
        raise AssertionError("a disk that isn't there came up")
    host = tmp_path / "scan"
    board._rescan = (host,)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(board.power_up, 0)
        await trio.sleep(3)
        (tmp_path / "a").touch()
    assert host.read_text() == "- - -"


async def test_a_line_that_stays_high_is_reported_and_counts_as_power(tmp_path: Path, autojump_clock: MockClock) -> None:
    board, lines = board_of(tmp_path)
    await board.power_up(0)
    lines.welded.add("a")
    for call in (board.power_down(0), board.clean()):
        with pytest.raises(DiskFailed, match="power line a stays on"):
            await call
    assert board.meter.powered == {0}


async def test_cleaning_takes_every_line_low(tmp_path: Path, autojump_clock: MockClock) -> None:
    board, lines = board_of(tmp_path)
    for line in ("a", "b"):
        lines.set(line, on=True)
    await board.clean()
    assert lines.on == set()


async def test_what_an_earlier_process_left_mounted_is_unmounted_before_its_line_goes_low(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []

    async def unmounted(device: str) -> None:
        await trio.lowlevel.checkpoint()
        done.append(("unmounted", Path(device).name))

    monkeypatch.setattr(gpio, "unmount_device", unmounted)
    monkeypatch.setattr(gpio, "remove_device", lambda device: done.append(("removed", device.name)))
    (tmp_path / "a").touch()
    await gpio.let_go([GpioDisk("a", tmp_path / "a"), GpioDisk("b", tmp_path / "b")])
    assert done == [("unmounted", "a"), ("removed", "a")]


def test_the_kernel_forgets_a_disk_before_its_power_goes(tmp_path: Path) -> None:
    for partition in ("sda1", "sda"):
        sysfs = tmp_path / partition / "class"
        disk = tmp_path / partition / "devices" / "sda"
        (disk / "sda1").mkdir(parents=True)
        (disk / "device").mkdir()
        (disk / "device" / "delete").touch()
        sysfs.mkdir()
        (sysfs / "sda1").symlink_to(disk / "sda1")
        (sysfs / "sda").symlink_to(disk)
        remove_device(Path("/dev") / partition, sysfs)
        assert (disk / "device" / "delete").read_text() == "1"


def test_a_chip_that_is_not_there_is_named() -> None:
    pytest.importorskip("gpiod")
    with pytest.raises(ConfigError, match="/dev/gpiochip99"):
        GpiodLines("/dev/gpiochip99", ["0"], active_low=False)


SIMULATOR = Path("/sys/kernel/config/gpio-sim")


@pytest.mark.root
@pytest.mark.skipif(not SIMULATOR.is_dir(), reason="this kernel has no gpio-sim")
def test_lines_of_a_simulated_chip_follow() -> None:
    pytest.importorskip("gpiod")
    bank = SIMULATOR / "frazil" / "bank0"
    bank.mkdir(parents=True)
    try:
        (bank / "num_lines").write_text("4")
        (SIMULATOR / "frazil" / "live").write_text("1")
        device = (SIMULATOR / "frazil" / "dev_name").read_text().strip()
        chip = (bank / "chip_name").read_text().strip()
        lines = gpio.GpiodLines(f"/dev/{chip}", ["0", "2"], active_low=False)
        lines.set("2", on=True)
        pull = Path(f"/sys/devices/platform/{device}/{chip}/sim_gpio2/value")
        assert (pull.read_text().strip(), lines.get("2"), lines.get("0")) == ("1", True, False)
        lines.close()
    finally:
        (SIMULATOR / "frazil" / "live").write_text("0")
        bank.rmdir()
        bank.parent.rmdir()
