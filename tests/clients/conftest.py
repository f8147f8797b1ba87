"""Client programs that others wrote and that this set-up does not install: collected by `make test-clients` only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.conftest import pytest_runtest_makereport, shared_store  # noqa: F401 - fixtures and hooks of that tier serve here, too

collect_ignore_glob = [] if os.environ.get("FRAZIL_TEST_CLIENTS") else ["test_*.py"]


@pytest.fixture(scope="session")
def tools() -> Path:
    """Where client programs are built and kept from one run to the next."""
    path = Path(os.environ.get("FRAZIL_TEST_TOOLS") or Path.home() / ".cache" / "frazil-test-tools")
    path.mkdir(parents=True, exist_ok=True)
    return path
