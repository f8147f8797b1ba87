"""A node's file: the sample says the defaults, all of them, and mistakes are named."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from cli.cluster.config import NodeConfig, host_port, load_node
from node.config import parse
from node.errors import ConfigError

SAMPLE = Path(__file__).parents[3] / "packaging" / "node.toml"


def test_the_sample_says_every_key_with_its_default() -> None:
    text = SAMPLE.read_text()
    assert parse(NodeConfig, text) == NodeConfig()
    table = tomllib.loads(text)

    def keys(kind: type, shown: dict[str, object]) -> None:
        fields = {each.name: each for each in dataclasses.fields(kind)}
        assert set(shown) == set(fields)
        for name, value in shown.items():
            if isinstance(value, dict):
                keys(type(getattr(NodeConfig(), name)), value)

    keys(NodeConfig, table)


def test_paths_are_the_files_neighbours_and_roles_follow_from_what_is_set(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('key = "k"\nstate = "s"\nlocation = "rack.host"\nmeta.run = true\nrawx.volumes = ["d1", "/d2"]\ngateway.run = true\n')
    config = load_node(file)
    assert (config.key, config.state, config.rawx.volumes) == (tmp_path / "k", tmp_path / "s", (tmp_path / "d1", Path("/d2")))
    assert config.roles == ("meta", "rawx", "gateway")
    assert config.place == "rack.host"
    assert config.meta_directory == tmp_path / "s" / "meta"
    assert NodeConfig().roles == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [("zookeeper = []", "zookeeper"), ('location = "a.b.c.d.e"', "location"), ("[rawx]\nvolume = 1", "did you mean volumes")],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_node(file)


def test_an_address_is_read() -> None:
    assert host_port("[::1]:80", "x") == ("::1", 80)
    assert host_port(":80", "x") == ("", 80)
    for text in ("host", "host:", "host:99999", "host:80/x"):
        with pytest.raises(ConfigError, match="x is HOST:PORT"):
            host_port(text, "x")
