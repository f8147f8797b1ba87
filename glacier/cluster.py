"""The cold tier of a namespace of many hosts (protocol: store.tier.Tier): each volume's registration names the worker that it has.

What was known stays known: a worker that is away keeps its volumes, and what is asked of it fails until it is back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from glacier.boards import Boards
from glacier.worker.protocol import ChunkState, Item
from glacier.worker.wire import remote_worker
from meta.conscience.client import Directory
from meta.conscience.protocol import Service
from node.errors import PeerUnreachable
from node.http.client import Client

WORKER = "worker"
"""Kind of the services that own a bus."""


class ClusterBoards(Boards):
    """client: with the namespace's key; directory: kept young by whoever gives it."""

    def __init__(self, client: Client, directory: Directory) -> None:
        super().__init__([])
        self._client = client
        self._directory = directory
        self._numbers: dict[str, int] = {}
        self._volumes: frozenset[str] = frozenset()
        self.arrange()

    def __repr__(self) -> str:
        return f"<ClusterBoards workers={len(self.workers)} volumes={len(self._homes)} of {len(self._volumes)}>"

    def arrange(self) -> None:
        """As the directory has it now. A worker keeps its number for as long as this process lives: calls may be under way."""
        volumes = self._directory.of_kind("rawx")
        for address in sorted(_addresses(volumes, self._directory.of_kind(WORKER))):
            if address not in self._numbers:
                self._numbers[address] = len(self.workers)
                self.workers.append(remote_worker(self._client, address))
        self._volumes = frozenset(each.id for each in volumes)
        homes = {each.id: each.registration.worker for each in volumes}
        self._homes = {volume: self._numbers[address] for volume, address in homes.items() if address}

    async def _ask_homes(self) -> None:
        return  # the registrations say all that there is to know

    async def _by_worker(self, items: Sequence[Item]) -> dict[int, list[Item]]:
        """Raises: PeerUnreachable for a volume that nobody has told of yet."""
        unknown = {item.volume for item in items} - self._volumes
        if unknown:
            raise PeerUnreachable(f"volume {min(unknown)} is not known now, so neither is its worker")
        return await super()._by_worker(items)

    async def _states(self, items: Sequence[Item]) -> list[tuple[int | None, ChunkState | None]]:
        """A volume that nobody has told of is as one whose worker doesn't answer."""
        known = [item for item in items if item.volume in self._volumes]
        found = dict(zip(known, await super()._states(known), strict=True))
        return [found.get(item, (None, None)) for item in items]


def _addresses(volumes: Iterable[Service], workers: Iterable[Service]) -> set[str]:
    return {each.registration.worker for each in volumes if each.registration.worker} | {each.registration.address for each in workers}
