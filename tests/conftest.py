"""What all tiers share: the seed in the header, scratch folders that are surely removed, and the order of cheap before dear."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.turn import turn

# CI tells whether a change broke something, so it tries the same examples each time; elsewhere new ones are looked for.
# No example has a time limit: the machine may be busy.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("here", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


SEED = os.environ.get("FRAZIL_TEST_SEED") or str(int(time.time()) % 100_000)
SCALE = float(os.environ.get("FRAZIL_TEST_SCALE", "1"))
ROUNDS = int(os.environ.get("FRAZIL_TEST_ROUNDS", "10"))
_TIERS = ("unit", "component", "sim", "cluster")


def pytest_report_header() -> list[str]:
    return [
        f"frazil: seed {SEED} (FRAZIL_TEST_SEED), scale {SCALE:g} (FRAZIL_TEST_SCALE), rounds {ROUNDS} (FRAZIL_TEST_ROUNDS)",
        f"frazil: scratch in {os.environ.get('FRAZIL_TEST_DIR') or tempfile.gettempdir()} (FRAZIL_TEST_DIR)",
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tiers first; whatever drives a real store is slow."""
    here = Path(__file__).parent

    def tier(item: pytest.Item) -> int:
        name = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        return _TIERS.index(name) if name in _TIERS else len(_TIERS)

    items.sort(key=tier)
    for item in items:
        if item.path.is_relative_to(here / "cluster"):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _turn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """With several processes (`pytest -n`), a test marked `alone` waits until the others pause."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    with turn(tmp_path_factory.getbasetemp().parent, alone=request.node.get_closest_marker("alone") is not None):
        yield


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> str:
    """Seed of this test: the run's and the test's name, so that one test run alone repeats."""
    return f"{SEED}:{request.node.name}"


@pytest.fixture(scope="session")
def scale() -> float:
    """Factor on sizes; 1 keeps the whole run to minutes, larger numbers reach the sizes that the promises name."""
    return SCALE


@pytest.fixture(scope="session")
def rounds() -> int:
    """How often a random fault is repeated."""
    return ROUNDS


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder for large things; removed in any case, unlike tmp_path."""
    path = Path(tempfile.mkdtemp(prefix="frazil-test-", dir=os.environ.get("FRAZIL_TEST_DIR")))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
