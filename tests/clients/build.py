"""Getting client programs: from their registries, by their own tools. What can't be had skips a test, with the reason."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BUILD_S = 1_500
RUN_S = 300
LINES = 15


def need(*programs: str) -> None:
    """Tool chains are not part of this project's set-up, in CI neither."""
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        pytest.skip(f"needs {', '.join(absent)}")


def fetch(command: Sequence[str | Path], folder: Path, variables: Mapping[str, str] | None = None) -> None:
    """Runs a command that downloads; its failure skips the test, for the registry may be out of reach."""
    failure = _failure(command, folder, variables or {})
    if failure:
        pytest.skip(failure)


def build(command: Sequence[str | Path], folder: Path) -> None:
    """Runs a command that compiles a program of ours; its failure is the program's."""
    failure = _failure(command, folder, {})
    assert not failure, failure


def _failure(command: Sequence[str | Path], folder: Path, variables: Mapping[str, str]) -> str:
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=os.environ | variables, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    if not done.returncode:
        return ""
    said = "\n".join((done.stdout + done.stderr).splitlines()[-LINES:])
    return f"{' '.join(map(str, command))} ended with {done.returncode}: {said}"


def copied(name: str, tools: Path) -> Path:
    """A program's folder, copied to where it may be built."""
    target = tools / name
    shutil.copytree(HERE / name, target, dirs_exist_ok=True)
    return target


def virtual_environment(name: str, tools: Path, *requirements: str) -> Path:
    """The `bin` folder of a virtual environment with other versions than this project's."""
    path = tools / name
    if not (path / "done").exists():
        fetch([sys.executable, "-m", "venv", path], tools)
        fetch([path / "bin" / "pip", "install", "--quiet", *requirements], tools)
        (path / "done").touch()
    return path / "bin"


def run(command: Sequence[str | Path], variables: Mapping[str, str], home: Path, *, code: int = 0) -> str:
    """A client's run; its output. Nothing of the user's own settings is seen."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FRAZIL", "MC_"))}
    done = subprocess.run(
        [*map(str, command)],
        env=kept | {"HOME": str(home), **variables},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return done.stdout
