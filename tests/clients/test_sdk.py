"""The SDKs of other languages and times: small programs of ours, each with its SDK as it comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.build import HERE, build, copied, fetch, need, run, virtual_environment
from tests.support.store import StoreProcess

pytestmark = pytest.mark.clients


@pytest.fixture
def place(shared_store: StoreProcess) -> dict[str, str]:
    """Where the store is, as the programs want to know it."""
    credentials = shared_store.credentials
    return {"ENDPOINT": shared_store.url, "ACCESS_KEY": credentials.access_key, "SECRET_KEY": credentials.secret_key}


def test_go(place: dict[str, str], tools: Path, tmp_path: Path) -> None:
    need("go")
    folder = copied("go", tools)
    fetch(["go", "mod", "download"], folder)
    build(["go", "build", "-o", "day", "."], folder)
    assert run([folder / "day"], place, tmp_path) == "done\n"


def test_javascript(place: dict[str, str], tools: Path, tmp_path: Path) -> None:
    need("node", "npm")
    folder = copied("js", tools)
    fetch(["npm", "ci", "--silent"], folder)
    assert run(["node", folder / "day.mjs"], place, tmp_path) == "done\n"


def test_java(place: dict[str, str], tools: Path, tmp_path: Path) -> None:
    need("java", "javac", "mvn")
    folder = copied("java", tools)
    fetch(["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies"], folder)
    libraries = f"{folder / 'target/dependency'}/*"
    build(["javac", "-encoding", "UTF-8", "-cp", libraries, "-d", "classes", "Day.java"], folder)
    assert run(["java", "-cp", f"{folder / 'classes'}:{libraries}", "frazil.Day"], place, tmp_path).endswith("done\n")


@pytest.mark.parametrize("version", ["1.35.99", "1.36.1", "1.26.27"])
def test_boto3_of_other_years(place: dict[str, str], tools: Path, tmp_path: Path, version: str) -> None:
    """1.26 as Debian 12 has it, the last one before new checksums became the default, and the first one with them."""
    python = virtual_environment(f"boto3-{version}", tools, f"boto3=={version}") / "python"
    assert run([python, HERE / "boto3_day.py"], place, tmp_path) == f"done {version}\n"
