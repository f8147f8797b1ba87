"""Documents that can't be read, at all who watch them outside of the metadata, and for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import trio

from cli.cluster.conscience import _follow_locks, _follow_settings
from cli.cluster.documents import DOCUMENTS, FOLDERS, unreadable_documents
from cli.cluster.node import Consciences, NamespaceRecord, Node, _namespace
from cli.cluster.webhooks import follow_webhooks
from cli.cluster.worker import follow_rate
from meta.conscience.protocol import Lock
from meta.conscience.service import ConscienceService
from meta.coordinator import LocalCoordinator
from node.auth import NamespaceKey
from node.clock import SystemClock
from node.errors import DocumentUnreadable
from store.cluster import Arranger
from store.namespace import NamespaceSettings
from store.webhooks import Webhook, encode_webhooks

BAD = [b"", b"{", b"\xff\xfe", b"[]", b"7", b'"x', b'{"v": 99, "sets": 3, "floor": "x", "place": "x"}', b'{"x":' + b"[" * 100_000]
PATHS = [*DOCUMENTS, *(f"{folder}/x" for folder in FOLDERS)]


@pytest.mark.parametrize("path", PATHS)
async def test_each_document_that_can_t_be_read_is_named_with_what_to_do(path: str) -> None:
    coordinator = LocalCoordinator()
    for bad in BAD:
        await coordinator.announce(path, bad)
        found = await unreadable_documents(coordinator)
        if path == "settings" and not bad:  # the defaults
            assert found == []
        else:
            (error,) = found
            assert str(error).startswith(f"the document {path} in ZooKeeper can't be read: ")
            assert "; " in str(error)


class Watched:
    """A task that watches a document. seen: what it made of it."""

    def __init__(self, path: str, good: bytes, run: Callable[[LocalCoordinator], Awaitable[object]], seen: Callable[[], object]) -> None:
        self.path, self.good, self.run, self.seen = path, good, run, seen


def watchers(folder: Path, coordinator: LocalCoordinator) -> dict[str, Watched]:
    service = ConscienceService(folder / "services", NamespaceKey(bytes(range(32))), SystemClock())
    consciences = Consciences(coordinator)
    node = cast(Node, SimpleNamespace(coordinator=coordinator, directory=SimpleNamespace(of_kind=lambda _: [])))
    rate = SimpleNamespace(bytes_s=0.0)
    arranger = Arranger(cast(Any, None), cast(Any, SimpleNamespace(coordinator=coordinator)), cast(Any, None))
    arranger.arrange = lambda: None  # type: ignore[method-assign]
    settings = NamespaceSettings.parse('policy = "EC63"\n[sites.dc2]\nrate_bytes = 1000000\n[scores.rawx]\nplace = "cpu"\nread = "cpu"')
    webhooks = encode_webhooks({"x": Webhook("x", "http://127.0.0.1/")})
    lock = msgspec.json.encode(Lock(place=7))
    return {
        "lock": Watched("lock/x", lock, lambda c: _follow_locks(c, service), lambda: service.board.locks.get("x")),
        "scores": Watched("settings", settings.encode(), lambda c: _follow_settings(c, service), lambda: service.board.expressions),
        "policies": Watched("settings", settings.encode(), lambda _: arranger.follow_settings(), lambda: arranger._settings.policy),
        "rate": Watched(
            "settings",
            settings.encode(),
            lambda _: follow_rate(node, "dc2", cast(Any, SimpleNamespace(rate_bytes=0.0)), cast(Any, rate)),
            lambda: rate.bytes_s,
        ),
        "webhooks": Watched(
            "webhooks",
            webhooks,
            lambda _: follow_webhooks(node, folder),
            lambda: (folder / "webhooks.json").read_bytes() if (folder / "webhooks.json").exists() else b"",
        ),
        "conscience": Watched("conscience/x", b"10.0.0.1:3400", lambda _: consciences.watch(), consciences.addresses),
    }


@pytest.mark.parametrize("name", ["lock", "scores", "policies", "rate", "webhooks", "conscience"])
async def test_what_was_known_stands(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    coordinator = LocalCoordinator()
    watched = watchers(tmp_path, coordinator)[name]
    before = watched.seen()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await coordinator.announce(watched.path, watched.good)
            nursery.start_soon(watched.run, coordinator)
            while watched.seen() == before:  # noqa: ASYNC110 - in its own time
                await trio.sleep(0.01)
            known = watched.seen()
            bad = [each for each in BAD if each or name not in ("scores", "policies", "rate")]
            for each in bad:
                caplog.clear()
                await coordinator.announce(watched.path, each)
                while not any(record.levelname == "ERROR" for record in caplog.records):  # noqa: ASYNC110 - as above
                    await trio.sleep(0.01)
                assert watched.path in caplog.text
                assert watched.seen() == known
            nursery.cancel_scope.cancel()
    caplog.clear()


@pytest.mark.parametrize("bad", BAD)
async def test_a_node_that_knows_its_namespace_starts_without_the_document(tmp_path: Path, bad: bytes, caplog: Any) -> None:
    coordinator = LocalCoordinator()
    await coordinator.announce("namespace", bad)
    with pytest.raises(DocumentUnreadable, match="the document namespace in ZooKeeper"):
        await _namespace(coordinator, tmp_path / "namespace.json")
    (tmp_path / "namespace.json").write_bytes(msgspec.json.encode(NamespaceRecord("0123456789abcdef")))
    assert await _namespace(coordinator, tmp_path / "namespace.json") == "0123456789abcdef"
    caplog.clear()
