"""A running store for the whole module, and the commands called in this process against it."""

from __future__ import annotations

import json
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.support.store import StoreProcess


@dataclass
class Run:
    """How one command ended, and what it said."""

    code: int
    out: str
    err: str
    records: list[dict[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["type"] == kind]

    @property
    def summary(self) -> dict[str, Any]:
        (found,) = self.of("summary")
        return found


Frazil = Callable[..., Run]


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    scratch = Path(tempfile.mkdtemp(prefix="frazil-cli-"))
    try:
        with StoreProcess([scratch / "store"], scratch, volumes=3) as process:
            process.start()
            yield process
            process.assert_log_clean()
            process.stop()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture
def frazil(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch, store: StoreProcess, tmp_path: Path
) -> Iterator[Frazil]:
    """Runs a command line against the store, in a home and a folder of its own."""
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("FRAZIL_STORE", str(store.directories[0]))
    monkeypatch.setenv("NO_COLOR", "1")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments: str) -> Run:
        capfdbinary.readouterr()
        code = main(list(arguments))
        captured = capfdbinary.readouterr()
        out = captured.out.decode("utf-8", "surrogateescape")
        records = [json.loads(line) for line in out.splitlines()] if "--json" in arguments else []
        return Run(code, out, captured.err.decode(), records)

    handler = signal.getsignal(signal.SIGTERM)
    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def bucket(frazil: Frazil, request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket of the test's own, removed with all that is in it."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-60:].strip("-")
    assert frazil("mb", name).code == 0
    yield name
    assert frazil("rb", name, "--force", "--yes", "-q").code == 0
