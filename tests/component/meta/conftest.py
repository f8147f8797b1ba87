"""The implementations that every contract test runs on: in this process, behind HTTP, and split between files and HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from meta.client import RemoteMeta
from meta.local import LocalMeta, open_meta
from meta.protocol.bucket import BucketSettings
from meta.protocol.container import Container
from meta.protocol.door import Meta
from meta.service import MetaService
from meta.split import SplitMeta
from node.auth import NamespaceKey
from node.clock import FakeClock
from node.http.client import Client
from node.http.server import listen_unix, serve

KEY = NamespaceKey(bytes(range(32)))
FORMS = ("local", "remote", "split")

OpenLocal = Callable[[], AbstractAsyncContextManager[LocalMeta]]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@asynccontextmanager
async def serving(local: LocalMeta, path: Path) -> AsyncIterator[RemoteMeta]:
    """`local` behind HTTP on a Unix socket; proofs carry the real time."""
    listener = listen_unix(str(path))
    async with trio.open_nursery() as nursery, Client(key=KEY) as client:
        await nursery.start(lambda task_status: serve(MetaService(local, KEY), [listener], task_status=task_status))
        yield RemoteMeta(client, f"unix:{path}")
        nursery.cancel_scope.cancel()


@pytest.fixture(params=FORMS)
async def meta(request: pytest.FixtureRequest, scratch: Path, clock: FakeClock) -> AsyncIterator[Meta]:
    async with open_meta(scratch / "meta", key=KEY, clock=clock) as local:
        if request.param == "local":
            yield local
            return
        async with serving(local, scratch / "socket") as remote:
            if request.param == "remote":
                yield remote
                return
            async with open_meta(scratch / "meta", key=KEY, clock=clock, read_only=True) as reads:
                yield SplitMeta(reads, remote)


def settings(bucket: str = "pictures", account: str = "ann", **more: object) -> BucketSettings:
    return BucketSettings(bucket, account, f"owner-{account}", 1_000_000, **more)  # type: ignore[arg-type]


async def keep(meta: Meta) -> None:
    """As the store's worker does: settings that changed leave the list of stale records."""
    for bucket in await meta.dirty_containers():
        container = meta.container(bucket)
        await container.records_synced([each.id for each in await container.records_to_sync(100) if each.about_bucket])


@pytest.fixture
async def container(meta: Meta) -> Container:
    """An empty bucket without versioning."""
    await meta.create_bucket(settings())
    await keep(meta)
    return meta.container("pictures")
