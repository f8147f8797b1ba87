"""Configuration: what is right becomes a dataclass, what is wrong is named with its place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from node.config import load, parse
from node.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Disk:
    path: Path
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError("weight must not be negative")


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    port: int = 3200
    secure: bool = False
    mode: Literal["copy", "code"] = "copy"
    comment: str | None = None
    disks: tuple[Disk, ...] = ()
    tags: list[str] = field(default_factory=list)
    weights: dict[str, int] = field(default_factory=dict)
    listen_backlog: int | str = 1


def test_values_of_every_kind() -> None:
    text = """
    name = "a"
    port = 80
    mode = "code"
    comment = "x"
    tags = ["b"]
    listen_backlog = "many"
    [weights]
    c = 1
    [[disks]]
    path = "/d"
    weight = 2
    """
    assert parse(Node, text) == Node("a", 80, False, "code", "x", (Disk(Path("/d"), 2.0),), ["b"], {"c": 1}, "many")
    assert parse(Node, 'name = "a"') == Node("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "name is not set and has no default"),
        ("name = ", "not TOML"),
        ("nam = 'a'", "unknown key nam; did you mean name\\?"),
        ("zzzzz = 1", "unknown key zzzzz; known here: comment"),
        ("name = 1", "name must be a string, not a whole number 1"),
        ("name = 'a'\nport = true", "port must be a whole number, not true or false True"),
        ("name = 'a'\nport = '1'", "port must be a whole number, not a string '1'"),
        ("name = 'a'\nport = 1.5", "port must be a whole number, not a number 1.5"),
        ("name = 'a'\nmode = 'x'", "mode is 'x'; it may be 'copy', 'code'"),
        ("name = 'a'\ncomment = 3", "comment must be a string, not a whole number 3"),
        ("name = 'a'\ndisks = 3", "disks must be a list, not a whole number 3"),
        ("name = 'a'\ntags = [1]", "tags\\[0\\] must be a string"),
        ("name = 'a'\n[[disks]]\npath = '/d'\n[[disks]]\npth = '/d'", "unknown key disks\\[1\\].pth; did you mean path\\?"),
        ("name = 'a'\n[[disks]]\npath = '/d'\nweight = -1", "disks\\[0\\]: weight must not be negative"),
        ("name = 'a'\n[[disks]]\nweight = 1", "disks\\[0\\].path is not set"),
        ("name = 'a'\nlisten_backlog = 1.5", "listen_backlog must be a whole number or a string, not 1.5"),
        ("name = 'a'\n[weights]\nx = 'y'", "weights.x must be a whole number"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse(Node, text)


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    with pytest.raises(ConfigError, match=r"node\.toml: No such file"):
        load(Node, path)
    path.write_text("name = 1")
    with pytest.raises(ConfigError, match=r"node\.toml: name must be"):
        load(Node, path)
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match=r"node\.toml: "):
        load(Node, path)
    path.write_text("name = 'a'")
    assert load(Node, path) == Node("a")
