"""Client programs, unmodified, through the balancer of a cluster; all their tests when FRAZIL_TEST_SCALE is above 1."""

from __future__ import annotations

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
SHORT = "test_buckets"
"""In every run; the others where there is time."""


@pytest.fixture(scope="session")
def shared_store(shared_cluster: ClusterProcesses) -> ClusterProcesses:
    """What those tests take for a store: something with a URL and credentials."""
    return shared_cluster


@pytest.fixture(autouse=True)
def _short(request: pytest.FixtureRequest) -> None:
    if SCALE <= 1 and not request.node.nodeid.endswith(SHORT):
        pytest.skip("a long one: FRAZIL_TEST_SCALE=2")
