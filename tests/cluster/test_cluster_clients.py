"""Client programs, unmodified, through the balancer of a cluster; all their tests when FRAZIL_TEST_SCALE is above 1."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_clients_boto3 import bucket, s3, test_buckets
from tests.cluster.test_clients_commands import TestAwscli, TestRclone, TestS3cmd, home, tree
from tests.conftest import SCALE
from tests.support.cluster import ClusterProcesses

if SCALE > 1:
    from tests.cluster.test_clients_boto3 import *  # noqa: F403
    from tests.cluster.test_clients_commands import TestRestic

pytestmark = pytest.mark.clients
__all__ = ["TestAwscli", "TestRclone", "TestRestic", "TestS3cmd", "bucket", "home", "s3", "test_buckets", "tree"]
SHORT = ("test_day", "test_tree_of_many_files", "test_buckets")


@pytest.fixture(scope="module")
def shared_store() -> Iterator[ClusterProcesses]:
    """What those tests take for a store: something with a URL and credentials."""
    folder = Path(tempfile.mkdtemp(prefix="frazil-test-"))
    try:
        with ClusterProcesses(folder) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _short(request: pytest.FixtureRequest) -> Any:
    if SCALE <= 1 and not request.node.name.startswith(SHORT):
        pytest.skip("a long one: FRAZIL_TEST_SCALE=2")
