"""Metadata on three peers."""

from __future__ import annotations

import pytest

from meta.protocol import ObjectRow
from tests.component.meta.cluster.conftest import Cluster
from tests.component.meta.conftest import settings

pytestmark = pytest.mark.slow


async def test_what_was_put_is_there(cluster: Cluster) -> None:
    await cluster.meta.create_bucket(settings())
    container = cluster.meta.container("pictures")
    await container.put(ObjectRow("a", size=1, content="c1", layout=b"x"))
    assert (await container.get("a")).content == "c1"
    assert [entry.bucket for entry in await cluster.meta.accounts.buckets("ann")] == ["pictures"]
    assert await cluster.meta.dirty_containers() == ["pictures"]
