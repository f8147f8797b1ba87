"""Who is in the cluster: peers as they announce themselves, sets of peers, and which set has which of the namespace's own bases.

documents in the Coordinator: peer/<peer>     Peer, as long as the peer lives
                              holder/<peer>   where it runs, as long as it lives: no copy of its disk runs beside it
                              set/<set>       PeerSet
                              dissolved/<set> empty: the set is no more, and no other gets its name
                              directory       Layout
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing

import msgspec
import trio

from meta.coordinator import Coordinator, Document, V, parsed, tell
from node.errors import DocumentUnreadable, InvalidArgument, PeerUnreachable, Superseded

PEER_FOLDER = "peer"
HOLDER_FOLDER = "holder"
SET_FOLDER = "set"
DISSOLVED_FOLDER = "dissolved"
DIRECTORY = "directory"
RENEWAL = "renewal"


class Peer(msgspec.Struct, frozen=True):
    """A meta service on a disk. Its name comes with the disk: a peer that lost its disk is another one."""

    name: str
    address: str
    location: str = ""


class PeerSet(msgspec.Struct, frozen=True):
    """peers: whose majority decides; the first one is to lead, if it can. wanted: whom they are to become, step by step; () = as is."""

    peers: tuple[str, ...]
    wanted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.peers:
            raise ValueError("a set has peers")

    @property
    def goal(self) -> tuple[str, ...]:
        """Who the peers are once all is done that was asked for."""
        return self.wanted or self.peers

    @property
    def joined(self) -> tuple[str, ...]:
        """Those that came for peers which are still to leave: step puts them last."""
        leaving = sum(peer not in self.goal for peer in self.peers)
        return tuple(peer for peer in self.peers[len(self.peers) - leaving :] if peer in self.goal)

    def step(self) -> PeerSet | None:
        """The next on the way: one joins or one leaves, so that each majority meets each of the one before. None: nothing is to change."""
        joining = [peer for peer in self.wanted if peer not in self.peers]
        leaving = [peer for peer in self.peers if self.wanted and peer not in self.wanted]
        if joining:
            return PeerSet((*self.peers, joining[0]), self.wanted)
        if leaving:
            return PeerSet(tuple(peer for peer in self.peers if peer != leaving[0]), self.wanted)
        return PeerSet(self.wanted) if self.wanted else None


class Layout(msgspec.Struct, frozen=True, omit_defaults=True):
    """The set of each base that the directory itself does not name: meta0, accounts, registry, encryption, jobs.

    among: the sets that take containers; (): all there are.
    """

    sets: dict[str, str]
    among: tuple[str, ...] = ()


class Renewal(msgspec.Struct, frozen=True):
    """Metadata that is being made anew: see meta/cluster/renewal.py. sets: that are being filled, nobody else's yet;
    bucket: whose container alone it is, "" = all of it"""

    sets: tuple[str, ...]
    v: int = 1
    bucket: str = ""


async def renewed_sets(coordinator: Coordinator) -> tuple[str, ...]:
    """Raises: Unavailable."""
    renewal = await renewal_under_way(coordinator)
    return renewal.sets if renewal is not None else ()


async def renewal_under_way(coordinator: Coordinator) -> Renewal | None:
    """Raises: Unavailable."""
    document = await coordinator.read(RENEWAL)
    return parsed(RENEWAL, document, Renewal) if document.version else None


def heed(known: dict[str, V], path: str, document: Document, kind: type[V]) -> None:
    """Takes what a document says into what is known by its name; one that can't be read changes nothing, and is told."""
    try:
        known[path.rpartition("/")[2]] = parsed(path, document, kind)
    except DocumentUnreadable as error:
        tell(error)


class Roster:
    """What this process knows of it, kept current by `keep`."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._peers: dict[str, Peer] = {}
        self._living: tuple[str, ...] = ()
        self.sets: dict[str, PeerSet] = {}
        self._changed = trio.Event()

    def __repr__(self) -> str:
        return f"<Roster peers={sorted(self._peers)} sets={self.sets}>"

    @property
    def peers(self) -> dict[str, Peer]:
        """Those that live, by name."""
        return {name: self._peers[name] for name in self._living if name in self._peers}

    def address(self, peer: str) -> str:
        """Where it is, or was when it was heard of last. Raises: PeerUnreachable."""
        found = self._peers.get(peer)
        if found is None:
            raise PeerUnreachable(f"the peer {peer} was never seen here")
        return found.address

    async def wait_changed(self) -> None:
        await self._changed.wait()

    async def look(self) -> None:
        """Once, for who does not `keep` it. Raises: Unavailable."""
        self._living = tuple(await self._coordinator.names(PEER_FOLDER))
        for name in self._living:
            document = await self._coordinator.read(f"{PEER_FOLDER}/{name}")
            if document.version:
                heed(self._peers, f"{PEER_FOLDER}/{name}", document, Peer)
        for name in await self._coordinator.names(SET_FOLDER):
            document = await self._coordinator.read(f"{SET_FOLDER}/{name}")
            if document.version:
                heed(self.sets, f"{SET_FOLDER}/{name}", document, PeerSet)

    async def keep(self) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_peers, nursery)
            nursery.start_soon(self._keep_sets, nursery)

    async def _keep_peers(self, nursery: trio.Nursery) -> None:
        watched: set[str] = set()
        async with aclosing(self._coordinator.watch_names(PEER_FOLDER)) as changes:
            async for names in changes:
                self._living = tuple(names)
                for name in set(names) - watched:
                    watched.add(name)
                    nursery.start_soon(self._keep_peer, name)
                self.notify()

    async def _keep_peer(self, name: str) -> None:
        """For ever, also while it is away: it may be back elsewhere before anybody saw its name missing."""
        async with aclosing(self._coordinator.watch(f"{PEER_FOLDER}/{name}")) as changes:
            async for document in changes:
                if document.version:
                    heed(self._peers, f"{PEER_FOLDER}/{name}", document, Peer)
                    self.notify()

    async def _keep_sets(self, nursery: trio.Nursery) -> None:
        watched: set[str] = set()
        async with aclosing(self._coordinator.watch_names(SET_FOLDER)) as changes:
            async for names in changes:
                for name in set(names) - watched:
                    watched.add(name)
                    nursery.start_soon(self._keep_set, name)

    async def _keep_set(self, name: str) -> None:
        async with aclosing(self._coordinator.watch(f"{SET_FOLDER}/{name}")) as changes:
            async for document in changes:
                if document.version:
                    heed(self.sets, f"{SET_FOLDER}/{name}", document, PeerSet)
                else:
                    self.sets.pop(name, None)
                self.notify()

    def notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def change_set(self, name: str, before: PeerSet, after: PeerSet) -> None:
        """Raises: Superseded when it is not as `before` says any more."""
        document = await self._coordinator.read(f"{SET_FOLDER}/{name}")
        if not document.version or parsed(f"{SET_FOLDER}/{name}", document, PeerSet) != before:
            raise Superseded(f"the set {name} was changed meanwhile")
        await self._coordinator.write(f"{SET_FOLDER}/{name}", msgspec.json.encode(after), version=document.version)

    async def is_dissolved(self, name: str) -> bool:
        """Whether somebody said so: a set of which nothing is known may only be out of sight. Raises: Unavailable."""
        return bool((await self._coordinator.read(f"{DISSOLVED_FOLDER}/{name}")).version)

    async def layout(self) -> Layout | None:
        """Raises: Unavailable."""
        document = await self._coordinator.read(DIRECTORY)
        return parsed(DIRECTORY, document, Layout) if document.version else None


def wanted_change(peers: PeerSet, source: str, target: str) -> PeerSet:
    """With `target` in the place of `source`, also while the set is on its way: back to where it was, say. Raises: InvalidArgument."""
    goal = peers.goal
    if source not in goal or target in goal:
        way = "is on its way to" if peers.wanted else "has"
        raise InvalidArgument(f"the set {way} the peers {', '.join(goal)}: give one of them, and one that is not")
    return PeerSet(peers.peers, tuple(target if peer == source else peer for peer in goal))


def first_sets(peers: Sequence[str], replicas: int) -> dict[str, PeerSet]:
    """As many sets as peers, each on `replicas` neighbours of a ring; so each peer is to lead one of them."""
    ring = sorted(peers)
    number = min(replicas, len(ring))
    return {f"set-{at + 1}": PeerSet(tuple(ring[(at + step) % len(ring)] for step in range(number))) for at in range(len(ring))}
