"""The cold tier of a store with boards (protocol: store.tier.Tier): which worker to ask for each chunk, and which chunks to ask for.

Nothing is kept here: what was asked for is in the workers' ledgers, so any process of the store may ask, and ask again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import msgspec

from glacier.backlog import Kind
from glacier.election import Outlook, Place, cheapest, is_shunned
from glacier.worker.ledger import COLD, FILLED, SENT, WANTED
from glacier.worker.protocol import ITEMS_MAX, ChunkState, ColdDoor, Item
from glacier.worker.wire import remote_worker
from node.auth import NamespaceKey
from node.errors import FrazilError, PeerUnreachable, Unavailable
from node.http.client import Client
from node.log import get_logger
from store.layout import Chunk, Layout, Metachunk
from store.parallel import gather
from store.settings import short_path
from store.tier import HOT, Priority, Temperature, TierState

KINDS = {Priority.EXPEDITED: Kind.EXPEDITED, Priority.STANDARD: Kind.STANDARD, Priority.BULK: Kind.BULK}
log = get_logger("glacier")


class Known(msgspec.Struct, frozen=True):
    """A chunk of a content, and what its worker says of it. worker: index; state None: its worker doesn't answer."""

    chunk: Chunk
    item: Item
    worker: int | None
    state: ChunkState | None

    @property
    def is_hot(self) -> bool:
        """Its bytes are on its volume."""
        return self.state is not None and self.state.state not in (COLD, "lost")

    @property
    def is_coming(self) -> bool:
        return self.state is not None and self.state.state == COLD and self.state.asked and not self.state.problem

    @property
    def is_stuck(self) -> bool:
        """It was asked for, and its disk fails it."""
        return self.state is not None and self.state.state == COLD and self.state.asked and bool(self.state.problem)

    @property
    def can_come(self) -> bool:
        return self.state is not None and self.state.state == COLD and not self.state.problem


@asynccontextmanager
async def open_boards(addresses: Sequence[str], key: NamespaceKey) -> AsyncIterator[Boards]:
    """The workers at these addresses ("unix:/path" or "host:port"); they need not answer yet."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(Client(key=key))
        yield Boards([remote_worker(client, _short(address, stack)) for address in addresses])


def _short(address: str, stack: AsyncExitStack) -> str:
    """Of a socket whose path is too long for the system, another way to it."""
    if not address.startswith("unix:"):
        return address
    return f"unix:{stack.enter_context(short_path(address.removeprefix('unix:')))}"


class Boards:
    """workers: one for each bus, in the order of board and bus."""

    def __init__(self, workers: Sequence[ColdDoor]) -> None:
        self.workers = list(workers)
        self._homes: dict[str, int] = {}
        self._sites: dict[int, dict[str, str]] = {}

    def __repr__(self) -> str:
        return f"<Boards workers={len(self.workers)} volumes={len(self._homes)}>"

    async def freeze(self, content: Layout) -> None:
        for worker, items in (await self._by_worker(_items(content))).items():
            await self._in_pages(items, self.workers[worker].create)

    async def thaw(self, content: Layout, priority: Priority, until_us: int) -> None:
        wanted, stuck = list[Known](), list[Known]()
        short: Metachunk | None = None
        for metachunk, known in await self._look(content):
            needed = content.policies[metachunk.policy].needed
            chosen = _choose(known, needed, content.policies[metachunk.policy].chunks)
            wanted += chosen
            if sum(each.is_hot for each in known) + sum(not each.is_hot for each in chosen) < needed:
                short = metachunk
            else:
                stuck += [each for each in known if each.is_stuck]
        for worker, items in _of_workers(wanted).items():
            await self._in_pages(items, partial(self._get, worker, KINDS[priority], until_us))
        if short is not None:
            raise PeerUnreachable("too few of the cold disks that hold it can be used now")
        await self._waive(stuck)

    async def _waive(self, stuck: Sequence[Known]) -> None:
        """Others come in place of these: else what waits for a disk that failed would wait as long as that does."""
        for worker, items in _of_workers(stuck).items():
            try:
                await self._in_pages(items, self.workers[worker].waive)
            except FrazilError as error:  # away, or of an older Frazil: they end with the restore
                log.info("what waits for a failed disk can't be taken back now", extra={"worker": worker, "error": str(error)})

    async def _get(self, worker: int, kind: Kind, until_us: int, items: Sequence[Item]) -> None:
        await self.workers[worker].get(items, kind, until_us)

    async def melt(self, content: Layout) -> None:
        for worker, items in (await self._by_worker(_items(content))).items():
            await self._in_pages(items, self.workers[worker].melt)

    async def promise(self, content: Layout) -> None:
        return  # a worker that is away comes back

    async def states(self, contents: Sequence[Layout]) -> list[TierState]:
        joined = [item for content in contents for item in _items(content)]
        states = dict(zip(joined, await self._states(joined), strict=True))
        return [_state(content, [_known(content, metachunk, states) for metachunk in content.metachunks]) for content in contents]

    async def forget(self, volume: str, chunks: Sequence[str]) -> None:
        """For rawx.volume.Forget. Raises: Unavailable."""
        for worker, items in (await self._by_worker([Item(volume, chunk) for chunk in chunks])).items():
            await self._in_pages(items, self.workers[worker].delete)

    async def sites(self) -> dict[str, str]:
        for number, answer in enumerate(await gather([worker.status for worker in self.workers])):
            if isinstance(answer, FrazilError):  # what it told before stands, and the others' sites need not wait for it
                log.info("a worker does not tell its site now", extra={"worker": number, "error": str(answer)})
            else:
                self._sites[number] = dict.fromkeys(answer.volumes, answer.site)
        return {volume: site for told in self._sites.values() for volume, site in told.items()}

    async def _look(self, content: Layout) -> list[tuple[Metachunk, list[Known]]]:
        items = _items(content)
        states = dict(zip(items, await self._states(items), strict=True))
        return [(metachunk, _known(content, metachunk, states)) for metachunk in content.metachunks]

    async def _states(self, items: Sequence[Item]) -> list[tuple[int | None, ChunkState | None]]:
        """Of each its worker, and what that says; None and nothing special for a chunk on a volume that no worker looks after."""
        found: dict[Item, tuple[int | None, ChunkState | None]] = {item: (None, ChunkState()) for item in items}
        pages = [
            (worker, mine[at : at + ITEMS_MAX])
            for worker, mine in (await self._by_worker(items)).items()
            for at in range(0, len(mine), ITEMS_MAX)
        ]
        answers = await gather([partial(self.workers[worker].states, page) for worker, page in pages])
        for (worker, page), answer in zip(pages, answers, strict=True):
            if isinstance(answer, FrazilError):
                if not isinstance(answer, Unavailable):
                    raise answer
                log.info("a worker does not answer", extra={"worker": worker, "error": str(answer)})
                found |= dict.fromkeys(page, (worker, None))
            else:
                found |= {item: (worker, state) for item, state in zip(page, answer, strict=True)}
        return [found[item] for item in items]

    async def _by_worker(self, items: Sequence[Item]) -> dict[int, list[Item]]:
        """Raises: PeerUnreachable when a volume is unknown and a worker that may look after it doesn't answer."""
        if any(item.volume not in self._homes for item in items):
            await self._ask_homes()
        found: dict[int, list[Item]] = {}
        for item in dict.fromkeys(items):
            worker = self._homes.get(item.volume)
            if worker is not None:
                found.setdefault(worker, []).append(item)
        return found

    async def _ask_homes(self) -> None:
        for number, answer in enumerate(await gather([worker.status for worker in self.workers])):
            if isinstance(answer, FrazilError):
                if number in self._homes.values():
                    continue  # what it looks after is known
                raise answer
            for volume in answer.volumes:  # of two that look after one the same is always asked: the other knows nothing of its chunks
                self._homes[volume] = max(number, self._homes.get(volume, number))

    @staticmethod
    async def _in_pages(items: Sequence[Item], call: Callable[[Sequence[Item]], Awaitable[None]]) -> None:
        for at in range(0, len(items), ITEMS_MAX):
            await call(items[at : at + ITEMS_MAX])


def _items(content: Layout) -> list[Item]:
    return [Item(volume, chunk) for volume, chunk in content.places()]


def _known(content: Layout, metachunk: Metachunk, states: dict[Item, tuple[int | None, ChunkState | None]]) -> list[Known]:
    items = [(chunk, Item(content.volumes[chunk.volume], chunk.name)) for chunk in metachunk.chunks]
    return [Known(chunk, item, *states[item]) for chunk, item in items]


def _choose(known: Sequence[Known], needed: int, chunks: int) -> list[Known]:
    """What is to be fetched, or kept: the cheapest that make up `needed`, what comes already, and all that is hot and could be emptied."""
    usable = [each for each in known if each.can_come or each.is_hot]
    places, views = [], {}
    for each in usable:
        state = each.state
        assert state is not None
        disk = None if each.is_hot or each.is_coming else (str(each.worker), state.disk)
        places.append(Place(each.chunk.position, disk))
        if disk is not None:
            views[disk] = Outlook(state.power_ons, state.wait_s, is_shunned(state.rank, needed, chunks))
    fetched = set(cheapest(places, needed, views))
    return [each for each in usable if each.chunk.position in fetched or each.is_coming or (each.is_hot and each.state != ChunkState())]


def _of_workers(wanted: Sequence[Known]) -> dict[int, list[Item]]:
    found: dict[int, list[Item]] = {}
    for each in wanted:
        if each.worker is not None:
            found.setdefault(each.worker, []).append(each.item)
    return found


def _state(content: Layout, metachunks: Sequence[Sequence[Known]]) -> TierState:
    """Of a content, from what is known of its chunks. Pure."""
    states = [each.state for known in metachunks for each in known if each.state is not None]
    if len(states) == sum(map(len, metachunks)) and not any(state.state for state in states):
        return HOT
    readable, coming, until_us, wait_s = True, True, 0, 0.0
    for metachunk, known in zip(content.metachunks, metachunks, strict=True):
        needed = content.policies[metachunk.policy].needed
        hot = sum(each.is_hot for each in known)
        readable = readable and hot >= needed
        coming = coming and hot + sum(each.is_coming for each in known) >= needed
        wait_s = max([wait_s, *(each.state.wait_s for each in known if each.is_coming and each.state is not None)])
    if not readable:
        return TierState(Temperature.THAWING if coming else Temperature.COLD, readable=False, wait_s=wait_s if coming else 0.0)
    kept = [state.until_us for state in states if state.state in (FILLED, SENT, WANTED) and state.until_us]
    until_us = min(kept, default=0)
    return TierState(Temperature.THAWED if until_us else Temperature.FREEZING, readable=True, until_us=until_us)
