"""The cold parts of a node: whose volumes a worker has, and what of its file is the node's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.cluster.cold import board_config, worker_configs
from cli.cluster.config import NodeConfig, load_node
from cli.cluster.worker import share_of
from node.errors import ConfigError


def node(folder: Path, workers: list[str], volumes: int = 2) -> NodeConfig:
    """With a file for each worker that says which volumes it has."""
    names = [f"worker{number}.toml" for number in range(len(workers))]
    for name, text in zip(names, workers, strict=True):
        (folder / name).write_text(text)
    disks = [f"disk{number}" for number in range(1, volumes + 1)]
    (folder / "node.toml").write_text(
        f'key = "k"\nrawx.volumes = {json.dumps(disks)}\nworker.buses = {json.dumps(names)}\nworker.port = 70\n'
    )
    return load_node(folder / "node.toml")


def test_one_worker_has_all_volumes_and_several_share_them(tmp_path: Path) -> None:
    (only,) = worker_configs(node(tmp_path, ["bus = 1\n"]), "10.0.0.1", "ns")
    assert (only.listen, only.namespace, only.key, only.bus) == ("10.0.0.1:70", "ns", tmp_path / "k", 1)
    assert only.volumes == (tmp_path / "disk1", tmp_path / "disk2")
    only.check()
    both = worker_configs(node(tmp_path, ['volumes = ["disk2"]\n', f'volumes = ["{tmp_path}/disk1"]\n']), "[::1]", "ns")
    assert [(each.listen, [path.name for path in each.volumes]) for each in both] == [("[::1]:70", ["disk2"]), ("[::1]:71", ["disk1"])]


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        (["", 'volumes = ["disk1"]\n'], "volumes is empty"),
        (['volumes = ["disk1"]\n', 'volumes = ["disk2", "disk1"]\n'], "a volume has one worker"),
        (['volumes = ["/elsewhere"]\n'], "no volume of this node"),
        (["volume = []\n"], "did you mean volumes"),
    ],
)
def test_what_no_worker_can_do_is_refused_with_its_file(tmp_path: Path, workers: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"worker\d\.toml.*{words}"):
        worker_configs(node(tmp_path, workers), "a", "ns")


def test_a_board_belongs_to_the_namespace_of_its_node(tmp_path: Path) -> None:
    (tmp_path / "freezer.toml").write_text('name = "north"\nnamespace = "another"\n')
    config = board_config(node(tmp_path, []), "ns", tmp_path / "freezer.toml")
    assert (config.name, config.namespace, config.key) == ("north", "ns", tmp_path / "k")


@pytest.mark.parametrize(("rate", "workers", "share"), [(0.0, 3, 0.0), (6e6, 3, 2e6), (6e6, 0, 6e6), (1e5, 4, 65536)])
def test_each_worker_of_a_site_has_an_even_share_of_its_rate(rate: float, workers: int, share: float) -> None:
    assert share_of(rate, workers) == share
