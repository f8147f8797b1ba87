"""The wheel holds every folder of the house, under the one name frazil."""

from __future__ import annotations

import tomllib
from pathlib import Path

import frazil

ROOT = Path(__file__).parents[3]
HOUSE = ("cli", "fs", "glacier", "meta", "node", "rawx", "s3", "store", "tui")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_folder_with_code_is_packaged() -> None:
    files = [path for top in HOUSE for pattern in ("*.py", "*.sql") for path in (ROOT / top).rglob(pattern)]
    folders = {path.parent.relative_to(ROOT) for path in files}
    expected = {"frazil"} | {f"frazil.{'.'.join(folder.parts)}" for folder in folders}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == expected


def test_each_package_comes_from_its_own_folder() -> None:
    for package, folder in PROJECT["tool"]["setuptools"]["package-dir"].items():
        assert folder == package.removeprefix("frazil.").replace(".", "/")


def test_the_version_is_said_once() -> None:
    assert frazil.__version__ == PROJECT["project"]["version"]
