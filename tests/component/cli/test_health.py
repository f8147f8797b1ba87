"""What a gateway tells a balancer."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import pytest
import trio

from cli.cluster import health
from cli.cluster.health import Outlook, health_handler, keep_looking
from meta.cluster.routing import RoutedMeta
from meta.conscience.protocol import Registration, Service
from node.errors import NotLeader
from node.http.client import Client
from node.http.server import listen, serve

OWN = Service(Registration("gateway-1", "gateway", "10.0.0.1:3200"), 100, 100)
OTHER = Service(Registration("gateway-2", "gateway", "10.0.0.2:3200"), 100, 100)


class Metadata:
    """What `keep_looking` uses of a RoutedMeta."""

    def __init__(self) -> None:
        self._answered_at = trio.current_time()
        self.reached = True
        self.probes = 0

    def oldest_answer(self, begun: float) -> tuple[str, float]:
        return "set-2", self._answered_at

    async def probe(self, since: float) -> None:
        self.probes += 1
        await trio.lowlevel.checkpoint()
        if not self.reached:
            raise NotLeader("nobody stands for the set")
        self._answered_at = trio.current_time()


async def test_it_is_passed_over_while_it_alone_is_cut_off_or_locked(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    for name, value in (("LOOK_S", 0.01), ("PROBE_S", 0.02), ("SILENCE_S", 0.05), ("CUT_OFF_S", 0.05)):
        monkeypatch.setattr(health, name, value)
    outlook, metadata, drain, known = Outlook(), Metadata(), trio.Event(), [OWN, OTHER]
    sockets = listen("127.0.0.1", 0)
    address = f"127.0.0.1:{sockets[0].getsockname()[1]}"

    async def until(status: int) -> str:
        while True:
            async with await client.request("GET", address, "/health") as answer:
                body = (await answer.read(1000)).decode()
                if answer.status == status:
                    return body
            await trio.sleep(0.01)

    with trio.fail_after(10):
        async with Client() as client, trio.open_nursery() as nursery:
            nursery.start_soon(keep_looking, outlook, cast(RoutedMeta, metadata), lambda: known, "gateway-1")
            await nursery.start(partial(serve, health_handler(drain, outlook), sockets, name="health"))
            assert await until(200) == "ok\n"
            metadata.reached = False
            assert "cut off" in await until(503)
            known[1] = Service(Registration("gateway-2", "gateway", "", problem=outlook.problem), 0, 0)
            await until(200)
            known[1] = OTHER
            await until(503)
            metadata.reached = True
            await until(200)
            known[0] = Service(OWN.registration, 0, 100, locked=True)
            assert "draining" in await until(503)
            known[0] = OWN
            await until(200)
            drain.set()
            assert await until(503) == "draining\n"
            nursery.cancel_scope.cancel()
    assert "pass this gateway over: cut off" in caplog.text
    assert metadata.probes > 2
    caplog.clear()
