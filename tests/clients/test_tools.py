"""Command-line clients from their registries: a day's work of a person."""

from __future__ import annotations

import filecmp
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.clients.build import fetch, need, run, virtual_environment
from tests.cluster.test_clients_commands import TestAwscli as DebiansAwscli
from tests.cluster.test_clients_commands import home, same, tree  # noqa: F401 - fixtures
from tests.cluster.test_clients_commands import run as run_command
from tests.support.store import StoreProcess

pytestmark = pytest.mark.clients
MIB = 1 << 20


class TestAwscliOfPypi(DebiansAwscli):
    """Version 1: the same days as with Debian's version 2."""

    refused = 255

    @pytest.fixture
    def aws(self, shared_store: StoreProcess, home: Path, tools: Path) -> Callable[..., str]:  # noqa: F811
        program = virtual_environment("awscli", tools, "awscli") / "aws"
        variables = {
            "AWS_ACCESS_KEY_ID": shared_store.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": shared_store.credentials.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        return lambda *words, **more: run_command(
            [str(program), "--endpoint-url", shared_store.url, *map(str, words)], variables, home, **more
        )


def program_of_go(name: str, package: str, tools: Path) -> Path:
    """The program on the path, else built by `go install`."""
    found = shutil.which(name)
    if found:
        return Path(found)
    if not (tools / "bin" / name).exists():
        need("go")
        fetch(["go", "install", f"{package}@latest"], tools, {"GOBIN": str(tools / "bin")})
    return tools / "bin" / name


def test_mc(shared_store: StoreProcess, tools: Path, home: Path, tree: Path, scratch: Path, seed: str) -> None:  # noqa: F811
    program = program_of_go("mc", "github.com/minio/mc", tools)

    def mc(*words: object, code: int = 0) -> str:
        return run([program, "--json", *map(str, words)], {}, home, code=code)

    credentials = shared_store.credentials
    mc("alias", "set", "f", shared_store.url, credentials.access_key, credentials.secret_key)
    mc("mb", "f/mc-day")
    mc("mirror", tree, "f/mc-day/tree")
    assert len(mc("ls", "--recursive", "f/mc-day/tree").splitlines()) == 300
    assert mc("diff", tree, "f/mc-day/tree") == ""
    mc("mirror", "f/mc-day/tree", scratch / "back")
    assert same(tree, scratch / "back")
    large = scratch / "large"
    large.write_bytes(random.Random(seed).randbytes(70 * MIB + 1))
    mc("cp", large, "f/mc-day/large")
    mc("cp", "f/mc-day/large", "f/mc-day/copy")
    mc("mv", "f/mc-day/copy", scratch / "moved")
    assert filecmp.cmp(large, scratch / "moved", shallow=False)
    assert json.loads(mc("stat", "f/mc-day/large").splitlines()[0])["size"] == 70 * MIB + 1
    mc("tag", "set", "f/mc-day/large", "a=b&c=d")
    assert json.loads(mc("tag", "list", "f/mc-day/large").splitlines()[0])["tagset"] == {"a": "b", "c": "d"}
    shared = json.loads(mc("share", "download", "f/mc-day/large").splitlines()[0])["share"]
    assert shared.startswith(shared_store.url)
    mc("version", "enable", "f/mc-day")
    mc("rm", "f/mc-day/large")
    mc("stat", "f/mc-day/large", code=1)
    mc("undo", "f/mc-day/large", "--force")
    assert json.loads(mc("stat", "f/mc-day/large").splitlines()[0])["size"] == 70 * MIB + 1
    mc("rb", "--force", "f/mc-day")


def test_s5cmd(shared_store: StoreProcess, tools: Path, home: Path, tree: Path, scratch: Path) -> None:  # noqa: F811
    program = program_of_go("s5cmd", "github.com/peak/s5cmd/v2", tools)
    credentials = shared_store.credentials
    variables = {"AWS_ACCESS_KEY_ID": credentials.access_key, "AWS_SECRET_ACCESS_KEY": credentials.secret_key, "AWS_REGION": "us-east-1"}

    def s5cmd(*words: object, code: int = 0) -> str:
        return run([program, "--endpoint-url", shared_store.url, *map(str, words)], variables, home, code=code)

    s5cmd("mb", "s3://s5cmd")
    s5cmd("sync", f"{tree}/", "s3://s5cmd/tree/")
    s5cmd("sync", "s3://s5cmd/tree/*", scratch / "back")
    assert same(tree, scratch / "back")
    s5cmd("cp", "s3://s5cmd/tree/*", "s3://s5cmd/copy/")
    assert len(s5cmd("ls", "s3://s5cmd/copy/*").splitlines()) == 300
    s5cmd("rm", "s3://s5cmd/*")
    s5cmd("rb", "s3://s5cmd")
