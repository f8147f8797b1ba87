"""Conscience instances behind HTTP: reports reach all, any of them answers, and the loss of all forgets nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from meta.conscience.client import Agent, Directory
from meta.conscience.protocol import REPORT, SERVICES, Registration
from meta.conscience.service import ConscienceService
from node.auth import NamespaceKey
from node.clock import SystemClock
from node.errors import CallNotAuthenticated
from node.http.client import Client
from node.http.server import listen, serve

KEY = NamespaceKey(b"k" * 32)
RAWX = Registration("v1", "rawx", "127.0.0.1:1", statistics={"cpu": 100.0})


@asynccontextmanager
async def conscience(path: Path) -> AsyncIterator[tuple[str, ConscienceService]]:
    service = ConscienceService(path, KEY, SystemClock())
    sockets = listen("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve, service, sockets, name="conscience"))
        yield f"127.0.0.1:{sockets[0].getsockname()[1]}", service
        nursery.cancel_scope.cancel()


async def test_a_report_reaches_every_instance_and_any_of_them_answers(tmp_path: Path) -> None:
    async with conscience(tmp_path / "1") as (one, first), conscience(tmp_path / "2") as (two, second), Client(key=KEY) as client:
        agent = Agent(client, lambda: [one, two, "127.0.0.1:9"], lambda: [RAWX])
        dates: list[int] = []
        agent.heard_dates = dates.extend
        assert await agent.report() == 2
        assert len(dates) == 2
        assert [each.id for each in first.listing().services] == [each.id for each in second.listing().services] == ["v1"]
        directory = Directory(client, lambda: ["127.0.0.1:9", two], cache=tmp_path / "cache")
        heard: list[int] = []
        directory.listeners.append(lambda: heard.append(1))
        assert await directory.refresh()
        assert directory.services["v1"].place == 100
        assert heard == [1]


async def test_the_loss_of_all_instances_forgets_nothing_not_even_over_a_restart(tmp_path: Path) -> None:
    async with Client(key=KEY) as client:
        async with conscience(tmp_path / "1") as (one, service):
            service.board.report(RAWX, SystemClock().monotonic())
            directory = Directory(client, lambda: [one], cache=tmp_path / "cache")
            await directory.refresh()
            await directory._keep()
        assert not await directory.refresh()
        assert directory.services["v1"].read == 100
        again = Directory(client, lambda: [one], cache=tmp_path / "cache")
        assert again.services == directory.services
        assert again.age_s() == float("inf")


async def test_callers_without_the_key_and_altered_calls_are_refused(tmp_path: Path) -> None:
    async with conscience(tmp_path / "1") as (address, service):
        for stranger in (Client(), Client(key=NamespaceKey(b"x" * 32))):
            async with stranger:
                for method, target in (("GET", SERVICES), ("POST", REPORT), ("GET", b"/")):
                    async with await stranger.request(method, address, target, body=b"") as response:
                        with pytest.raises(CallNotAuthenticated):
                            await response.raise_for_error()
        assert service.listing().services == ()


async def test_a_restarted_instance_lists_whom_it_knew(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    service = ConscienceService(tmp_path / "1", KEY, SystemClock())
    service.board.report(RAWX, SystemClock().monotonic())
    with trio.move_on_after(31):
        await service.keep()
    again = ConscienceService(tmp_path / "1", KEY, SystemClock())
    assert [(each.id, each.place) for each in again.listing().services] == [("v1", 0)]


async def test_a_new_instance_learns_of_the_dead_from_another(tmp_path: Path) -> None:
    async with conscience(tmp_path / "1") as (one, first), conscience(tmp_path / "2") as (_, second), Client(key=KEY) as client:
        first.board.report(RAWX, SystemClock().monotonic())
        with trio.fail_after(5):
            await second.learn(client, lambda: ["127.0.0.1:9", one])
        (learnt,) = second.listing().services
        assert (learnt.id, learnt.place, learnt.reason) == ("v1", 0, "not heard of since this conscience began")
