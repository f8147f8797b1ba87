"""The cold tier of many hosts: the worker that a volume's registration names is asked, and what nobody has told of is not guessed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from glacier.cluster import ClusterBoards
from glacier.worker.protocol import ChunkState, Item
from meta.conscience.client import Directory
from meta.conscience.protocol import Registration, Service
from node.auth import NamespaceKey
from node.errors import PeerUnreachable
from node.http.client import Client

NOWHERE = "127.0.0.1:1"


def service(name: str, kind: str, *, address: str = "127.0.0.1:2", worker: str = "") -> Service:
    return Service(Registration(name, kind, address, worker=worker), 50, 50)


async def boards_with(services: Sequence[Service], client: Client, folder: Path) -> ClusterBoards:
    directory = Directory(client, list, cache=folder / "services.json")
    directory.services = {each.id: each for each in services}
    return ClusterBoards(client, directory)


async def test_volumes_without_a_worker_are_hot_and_those_with_one_are_asked_of_it(tmp_path: Path) -> None:
    async with Client(key=NamespaceKey(bytes(32))) as client:
        boards = await boards_with([service("plain", "rawx"), service("cold", "rawx", worker=NOWHERE)], client, tmp_path)
        assert await boards._states([Item("plain", "c1")]) == [(None, ChunkState())]
        await boards.forget("plain", ["c1"])
        assert await boards._states([Item("cold", "c1")]) == [(0, None)]
        with pytest.raises(PeerUnreachable):
            await boards.forget("cold", ["c1"])


async def test_of_a_volume_that_nobody_told_of_nothing_is_taken_for_granted(tmp_path: Path) -> None:
    async with Client(key=NamespaceKey(bytes(32))) as client:
        boards = await boards_with([service("plain", "rawx")], client, tmp_path)
        assert await boards._states([Item("new", "c1"), Item("plain", "c2")]) == [(None, None), (None, ChunkState())]
        with pytest.raises(PeerUnreachable, match="volume new"):
            await boards.forget("new", ["c1"])


async def test_workers_that_come_later_are_known_and_those_that_were_there_keep_their_place(tmp_path: Path) -> None:
    async with Client(key=NamespaceKey(bytes(32))) as client:
        boards = await boards_with([service("cold", "rawx", worker=NOWHERE)], client, tmp_path)
        (first,) = boards.workers
        services = [service("w", "worker", address="127.0.0.1:0"), service("cold", "rawx", worker=NOWHERE)]
        boards._directory.services = {each.id: each for each in services}
        boards.arrange()
        assert boards.workers[0] is first
        assert len(boards.workers) == 2
        assert repr(boards) == "<ClusterBoards workers=2 volumes=1 of 1>"
