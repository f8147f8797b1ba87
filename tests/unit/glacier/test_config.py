"""The freezer's configuration: the sample says the defaults, and what can't work is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from glacier.config import FreezerConfig
from glacier.loopplan import LoopPlan, loop_config
from glacier.power import Layout
from node.config import load, parse
from node.errors import ConfigError

SAMPLE = Path(__file__).parents[3] / "glacier" / "freezer.toml"
BUS = """
[[buses]]
listen = "127.0.0.1:0"
disks = [{ number = 0, line = "a", device = "/dev/sda" }, { number = 1, line = "b", device = "/dev/sdb" }]
"""


def test_the_sample_equals_the_defaults() -> None:
    assert load(FreezerConfig, SAMPLE) == FreezerConfig()


def test_the_sample_s_example_of_a_bus_is_right() -> None:
    example = SAMPLE.read_text().split("Example:\n#\n")[1]
    config = parse(FreezerConfig, 'namespace = "n"\n' + "\n".join(line.removeprefix("# ") for line in example.splitlines()))
    config.check()
    assert config.layout == Layout("board", ((0, 1),))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("spin_up_s = 60.0", "spin_up_s is less than start_s_max"),
        ("bus_powered_max = 3", "as many as one bus"),
        ("bus_powered_max = 0", "at least one disk"),
        ('tls_cert = "x"', "go together"),
        ("[loop]\ndisk_bytes = 5", "at least 8388608"),
        ('hardware = "tape"', "it may be 'gpio', 'loop'"),
        ("spinup_s = 3", "did you mean spin_up_s"),
    ],
)
def test_what_can_t_work_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(FreezerConfig, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "namespace is not set"),
        ('namespace = "n"\n' + BUS.replace('line = "b", ', ""), "disk 1 needs a line and a device"),
        ('namespace = "n"\n' + BUS.replace('"b"', '"a"'), "same power line"),
    ],
)
def test_what_a_freezer_needs_to_serve_is_asked_for(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse(FreezerConfig, text).check()


def test_a_board_has_disks_with_numbers_of_their_own() -> None:
    with pytest.raises(ConfigError, match="no bus is configured"):
        _ = parse(FreezerConfig, "").layout
    with pytest.raises(ConfigError, match="a number of its own"):
        _ = parse(FreezerConfig, BUS.replace("number = 1", "number = 0")).layout


def test_a_plan_for_loop_devices_spreads_disks_over_buses(tmp_path: Path) -> None:
    config = parse(
        FreezerConfig, loop_config(tmp_path / "ice", LoopPlan(disks=7, buses=2, spin_up_s=0.5), namespace="n", key=tmp_path / "key")
    )
    config.check()
    assert config.layout == Layout("ice", ((0, 1, 2), (3, 4, 5, 6)))
    assert (config.budget.bus, config.budget.board, config.spin_up_s, config.loop.directory) == (1, 2, 0.5, tmp_path / "ice" / "disks")
