"""A node's file: the sample says the defaults, all of them, and mistakes are named."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from cli.cluster.config import NodeConfig, disk_names, host_port, load_node
from node.config import parse
from node.errors import ConfigError
from node.tls import TlsConfig

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
    [
        ("zookeeper = []", "zookeeper"),
        ('zookeeper = ["10.0.0.1:"]\nmeta.port = 0', "port"),
        ('zookeeper = ["10.0.0.1:x"]', "zookeeper names HOST:PORT, not '10.0.0.1:x'"),
        ('zookeeper = ["10.0.0.1:2181,10.0.0.2:2181"]', "zookeeper names HOST:PORT"),
        ('location = "a.b.c.d.e"', "location"),
        ("[rawx]\nvolume = 1", "did you mean volumes"),
        ('rawx.volumes = ["d1", "d2/../d1"]', "d1 twice"),
        ('address = "10.0.0.1:6100"', "without a port"),
        ('address = "::1"', "IPv6 in brackets"),
        ("meta.replicas = 0", "meta: replicas is 1, 3 or 5, not 0"),
        ("meta.replicas = 2", "replicas"),
        ("meta.port = 70000", "meta: port is 1 to 65535"),
        ('rawx.port = 65535\nrawx.volumes = ["d1", "d2"]', "rawx: port"),
        ("gateway.lifecycle_day_s = nan", "lifecycle_day_s"),
        ("gateway.reading_s = inf", "reading_s"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_node(file)


def test_disks_of_a_host_have_names_of_their_own() -> None:
    """Else they count as one disk, which takes one chunk of each metachunk: as packaging/README.md has it, all folders are "frazil"."""
    assert disk_names([Path("/srv/disk1"), Path("/srv/disk.2")]) == ("disk1", "disk-2")
    assert disk_names([Path("/srv/disk1/frazil"), Path("/srv/disk2/frazil")]) == ("disk1-frazil", "disk2-frazil")
    assert disk_names([Path("/frazil"), Path("/srv/frazil")]) == ("frazil", "srv-frazil")
    deep = [Path("/srv") / f"{number}" / ("x" * 80) for number in range(3)]
    assert disk_names(deep) == ("disk1", "disk2", "disk3")
    assert disk_names([]) == ()


def test_addresses_are_names_or_numbers() -> None:
    for text in ("host1.example.org", "10.0.0.1", "[fd00::1]"):
        assert NodeConfig(address=text).reached_at() == text


def test_zookeepers_without_a_port_have_the_usual_one() -> None:
    assert NodeConfig(zookeeper=("a", "b:1", "[::1]", "[::1]:3")).hosts == "a:2181,b:1,[::1]:2181,[::1]:3"


def test_an_address_is_read() -> None:
    assert host_port("[::1]:80", "x") == ("::1", 80)
    assert host_port(":80", "x") == ("", 80)
    for text in ("host", "host:", "host:99999", "host:80/x"):
        with pytest.raises(ConfigError, match="x is HOST:PORT"):
            host_port(text, "x")


def test_the_files_of_tls_go_together_and_lie_beside_the_nodes(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[tls]\ncert = "host.crt"\nkey = "/etc/host.key"\nauthority = "ca.pem"\n')
    assert load_node(file).tls == TlsConfig(f"{tmp_path}/host.crt", "/etc/host.key", f"{tmp_path}/ca.pem")
    file.write_text('[tls]\ncert = "host.crt"\n')
    with pytest.raises(ConfigError, match="tls: cert, key and authority go together; key and authority"):
        load_node(file)
