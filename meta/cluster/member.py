"""This host's part in one set of peers: it follows, stands for election, leads, and hands over in good order."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import xxhash

from meta.cluster.bases import OPENED, TRANSFER, SetBases
from meta.cluster.link import Link
from meta.cluster.promise import Promise
from meta.cluster.reign import Reign, ReignCommit
from meta.cluster.replica import Replica
from meta.cluster.roster import SET_FOLDER, PeerSet
from meta.cluster.wire import Appending, Following, Promising, Pulling, Standings, Surveying
from meta.commit import NOTHING, Entry, Header
from meta.coordinator import EPOCHS, Candidate, Coordinator, Epochs, Mandate, parsed
from meta.leader import AGREE_S, Peer
from meta.local import kept
from meta.peer import Standing, check_source
from node.auth import NamespaceKey
from node.clock import Clock
from node.errors import BaseCorrupt, BaseNotFound, Behind, Fenced, FrazilError, NotLeader
from node.log import get_logger
from node.metrics import counter
from node.threads import run_blocking

AGAIN_S = 0.2
"""Pause before a peer that led stands for election again: others first."""
REST_S = 1.0
"""How often a peer that is to rest looks whether it may stand again, or must leave."""
HAND_OVER_S = 3.0
"""How long writes under way may take before a leader that leaves goes."""
_log = get_logger("meta.member")

Watcher = Callable[[Reign], Awaitable[None]]
"""Runs beside a reign until that ends."""


@asynccontextmanager
async def open_member(
    name: str,
    path: Path,
    own: Candidate,
    peers: PeerSet,
    *,
    coordinator: Coordinator,
    links: Mapping[str, Link],
    key: NamespaceKey,
    clock: Clock,
    resting: Callable[[], bool],
    took: Callable[[float], None],
) -> AsyncIterator[Member]:
    """path: the set's folder on this host; took: told how long each durable write took. Raises: BaseCorrupt, VolumeSick."""
    shutil.rmtree(path / TRANSFER, ignore_errors=True)  # what a crash left
    member = Member(name, path, own, peers, coordinator=coordinator, links=links, key=key, clock=clock, resting=resting, took=took)
    async with kept(member.bases):
        try:
            yield member
        finally:
            with trio.CancelScope(shield=True):
                await member.close()


class Member:
    """Made by `open_member`. links: to the other peers, by name."""

    def __init__(
        self,
        name: str,
        path: Path,
        own: Candidate,
        peers: PeerSet,
        *,
        coordinator: Coordinator,
        links: Mapping[str, Link],
        key: NamespaceKey,
        clock: Clock,
        resting: Callable[[], bool],
        took: Callable[[float], None],
    ) -> None:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.name = name
        self.own = own
        self.peers = peers
        self.promise = Promise(path / "promise")
        self.committer = ReignCommit(took)
        self.bases = SetBases(path, key=key, clock=clock, committer=self.committer, lead=self.ready)
        self._coordinator = coordinator
        self._links = links
        self._resting = resting
        self._leave = trio.Event()
        self._retired = self._closed = False
        self._idle = trio.Event()
        self._idle.set()

    def __repr__(self) -> str:
        return f"<Member {self.name} {self.own.name} {self.promise!r} {self.reign!r}>"

    @property
    def reign(self) -> Reign | None:
        return self.committer.reign

    async def ready(self, base: str, *, create: bool = False) -> None:
        """Returns when this host may answer for the base. Raises: NotLeader, BaseNotFound."""
        reign = self.reign
        if reign is None:
            raise NotLeader(f"{self.own.name} does not lead the set {self.name}")
        await reign.ready(base, create=create)

    async def settle(self, base: str, reign: Reign | None) -> None:
        """Returns when what was read of the base in that reign may be told: it is agreed, and no other led then. Raises: NotLeader."""
        if reign is None:
            raise NotLeader(f"{self.own.name} did not lead the set {self.name}")
        await reign.settle(base, lambda: self.replica(base).header())

    def agreed(self, base: str) -> Header:
        """Of the newest entry that a majority holds, as far as this host led it; NOTHING when it does not."""
        leader = self.reign.leaders.get(base) if self.reign is not None else None
        return leader.last if leader is not None else NOTHING

    def lag(self) -> Mapping[str, int]:
        """Entries that each other peer lacks. Raises: NotLeader."""
        if self.reign is None:
            raise NotLeader(f"{self.own.name} does not lead the set {self.name}")
        return self.reign.lag()

    def reigning(self) -> tuple[int, Mapping[str, int]]:
        """The epoch in which this host leads, and `lag`. Raises: NotLeader."""
        lag, reign = self.lag(), self.reign
        assert reign is not None
        return reign.epoch, lag

    # Standing for election

    async def stand(self, watchers: tuple[Watcher, ...] = ()) -> None:
        """Until cancelled or retired. watchers: run beside each reign."""
        while not self._retired:
            while await self.is_to_rest():  # noqa: ASYNC110 - as meta/cluster/care.py
                await trio.sleep(REST_S)
            mandate = await self._coordinator.campaign(self.name, self.own)
            try:
                await self._reign(mandate, watchers)
            except FrazilError as error:
                _log.info("the reign over %s could not begin: %s", self.name, error)
            finally:
                with trio.CancelScope(shield=True):
                    await mandate.resign()
            self._idle.set()
            await trio.sleep(AGAIN_S)

    async def is_to_rest(self) -> bool:
        """Whether this host is to lead nothing, and another would lead this set."""
        if not self._resting():
            return False
        try:
            return any(each.name != self.own.name for each in await self._coordinator.candidates(self.name))
        except FrazilError:
            return False

    async def _reign(self, mandate: Mandate, watchers: tuple[Watcher, ...]) -> None:
        failure: FrazilError | None = None
        async with trio.open_nursery() as nursery:
            reign = Reign(self.name, mandate, self._as_peers, nursery, others=[peer for peer in self.peers.peers if peer != self.own.name])
            self._leave, self._idle = trio.Event(), trio.Event()
            try:
                await self._gather_promises(claim := await self._claim(reign.epoch))
                reign.claim = claim
                await reign.ready(OPENED, create=True)
                await self._begin(reign)
                self.committer.reign = reign
                counter("meta_elections", "Reigns that began at this peer.", ("set",)).labels(self.name).inc()
                _log.info("%s leads the set %s in epoch %x", self.own.name, self.name, reign.epoch)
                for watcher in watchers:
                    nursery.start_soon(watcher, reign)
                nursery.start_soon(self._end_when_left, reign)
                await reign.wait_over()
            except FrazilError as error:
                failure = error
            finally:
                self.committer.reign = None
                reign.end()
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _begin(self, reign: Reign) -> None:
        """Raises: BaseCorrupt; another is to lead then, and gives this one a snapshot of it."""
        try:
            self.bases.begin_reign()
        except BaseCorrupt:
            if await self._have_majority(OPENED, reign.epoch):
                await self.replica(OPENED).set_aside()
            raise

    async def _claim(self, epoch: int) -> Promising:
        """What peers are asked to promise. The leader before may have changed them just before it went. Raises: NotLeader, Unavailable."""
        document = await self._coordinator.read(f"{SET_FOLDER}/{self.name}")
        if not document.version or parsed(f"{SET_FOLDER}/{self.name}", document, PeerSet).peers != self.peers.peers:
            raise NotLeader(f"the set {self.name} has other peers now")
        floor = Epochs.of(await self._coordinator.read(EPOCHS))
        return Promising(self.name, epoch, self.peers.peers, (floor, document.version), uuid.uuid4().hex)

    async def _gather_promises(self, claim: Promising) -> None:
        """Fences every earlier leader of the set, whichever of its bases it would write. Raises: NotLeader, Fenced."""
        await run_blocking(self.promise.give, claim)
        others = [peer for peer in self.peers.peers if peer != self.own.name]
        missing = len(self.peers.peers) // 2 + 1 - 1
        enough = trio.Event()

        async def ask(peer: str) -> None:
            nonlocal missing
            while True:
                try:
                    await self._links[peer].promise(claim)
                except Fenced as error:
                    _log.info("%s does not promise epoch %x: %s", peer, claim.epoch, error)
                    return
                except FrazilError:  # it may be about to come
                    await trio.sleep(AGAIN_S)
                else:
                    break
            missing -= 1
            if missing <= 0:
                enough.set()

        if missing > 0:
            with trio.move_on_after(AGREE_S):
                async with trio.open_nursery() as nursery:
                    for peer in others:
                        nursery.start_soon(ask, peer)
                    await enough.wait()
                    nursery.cancel_scope.cancel()
        if missing > 0:
            raise NotLeader(f"no majority of the set {self.name} promises the epoch")

    async def _end_when_left(self, reign: Reign) -> None:
        await self._leave.wait()
        self.committer.reign = None  # nothing new begins
        with trio.move_on_after(HAND_OVER_S):
            while self.bases.busy:  # noqa: ASYNC110 - for a few writes at most, once per reign
                await trio.sleep(0.01)
        reign.end()

    def leave(self) -> bool:
        """Whoever is next may lead. False when this host does not."""
        led = self.reign is not None
        self._leave.set()
        return led

    async def distrust(self, base: str | None, reign: Reign | None) -> bool:
        """A replica with which this host leads turned out damaged in that reign: another leads, and gives it a snapshot. It is that of
        `base`, if not that of OPENED, which calls to containers need as well. base: None when it may be any of many.

        False, and nothing happens, while a majority does not have the base without this host: most of it can still be read here.
        """
        if await self._is_damaged(OPENED):
            base = OPENED
        if base is None or reign is None or (self.reign is reign and not await self._have_majority(base, reign.epoch)):
            return False
        if self.reign is reign:
            self.committer.reign = None  # before the file goes: nobody may write to the empty one
            reign.end()
            await self.replica(base).set_aside()
        return True

    async def _is_damaged(self, base: str) -> bool:
        try:
            await self.replica(base).digest()
        except BaseCorrupt:
            return True
        except BaseNotFound:
            return False
        return False

    async def _have_majority(self, base: str, epoch: int) -> bool:
        """Whether the others alone are enough to go on from."""
        found = 0
        for peer in [peer for peer in self.peers.peers if peer != self.own.name]:
            try:
                (header,) = await self._links[peer].standings(Standings(self.name, epoch, (base,)))
            except FrazilError:
                continue
            found += header not in (None, NOTHING)
        return found > len(self.peers.peers) // 2

    def retire(self) -> None:
        """Leaves, and stands no more."""
        self._retired = True
        self.leave()

    async def wait_idle(self) -> None:
        """Until this host does not lead."""
        await self._idle.wait()

    # As a peer

    def _as_peers(self, base: str) -> tuple[Peer, list[Peer]]:
        others = [_RemotePeer(self.name, base, self._links[peer]) for peer in self.peers.peers if peer != self.own.name]
        return _OwnPeer(self, base), list(others)

    async def close(self) -> None:
        """Takes no calls any more, and waits for those under way: each is bounded by its disk."""
        self._closed = True
        while self.bases.busy:  # noqa: ASYNC110 - once, at the end
            await trio.sleep(0.01)

    def replica(self, base: str) -> Replica:
        """Raises: InvalidArgument; NotLeader when this host leaves the set."""
        if self._closed:
            raise NotLeader(f"{self.own.name} leaves the set {self.name}")
        found, kind = self.bases.replica(base)
        return Replica(found, kind, self.promise)

    async def take_promise(self, call: Promising) -> int:
        """Raises: Fenced."""
        await run_blocking(self.promise.give, call)
        return self.promise.epoch

    async def pull(self, base: str, epoch: int, source: str) -> Standing:
        """Catches up from another peer, and answers where this one stands then. Raises: Fenced, Behind, what the source says."""
        replica, link = self.replica(base), self._link(source)
        standing = await replica.standing(epoch)
        while not replica.damaged:
            entries = await link.after(Following(self.name, base, epoch, standing.header))
            if entries is None:
                break
            if not entries:
                return standing
            for entry in entries:
                before, standing = standing, await replica.append(epoch, entry)
                if standing.header == before.header:
                    raise Behind(f"{base} changed while this peer caught up")
        return await self._pull_snapshot(replica, base, epoch, link)

    async def _pull_snapshot(self, replica: Replica, base: str, epoch: int, link: Link) -> Standing:
        _log.info("%s of the set %s is fetched whole from %s", base, self.name, link.name)
        async with self._transfer() as target:
            header = await link.snapshot(Surveying(self.name, base, epoch), target)
            return await replica.install(epoch, target, header)

    def check_source(self, epoch: int) -> None:
        """Raises: Fenced, Behind."""
        check_source(self.promise.epoch, epoch)

    def after(self, base: str, epoch: int, header: Header) -> list[Entry] | None:
        self.check_source(epoch)
        return self.replica(base).after(header)

    @asynccontextmanager
    async def snapshot(self, base: str, epoch: int) -> AsyncIterator[tuple[Path, Header, str]]:
        """A copy of the base for another peer: its file, where it stands, its checksum. epoch 0: for somebody who only reads it.

        Raises: Fenced, Behind, BaseNotFound.
        """
        if epoch:
            self.check_source(epoch)
        async with self._transfer() as target:
            header = await self.replica(base).copy(target)
            yield target, header, await run_blocking(_checksum, target)

    @asynccontextmanager
    async def _transfer(self) -> AsyncIterator[Path]:
        folder = self.bases.transfer
        folder.mkdir(exist_ok=True, mode=0o700)
        path = folder / uuid.uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _link(self, peer: str) -> Link:
        found = self._links.get(peer)
        if found is None:
            raise Behind(f"there is no peer {peer}")
        return found


class _OwnPeer:
    def __init__(self, member: Member, base: str) -> None:
        self.name = member.own.name
        self._member = member
        self._base = base

    async def survey(self, epoch: int) -> Standing:
        return await self._member.replica(self._base).survey(epoch)

    async def append(self, epoch: int, entry: Entry) -> Standing:
        return await self._member.replica(self._base).append(epoch, entry)

    async def pull(self, epoch: int, source: str) -> Standing:
        return await self._member.pull(self._base, epoch, source)


class _RemotePeer:
    def __init__(self, of: str, base: str, link: Link) -> None:
        self.name = link.name
        self._set = of
        self._base = base
        self._link = link

    async def survey(self, epoch: int) -> Standing:
        return await self._link.survey(Surveying(self._set, self._base, epoch))

    async def append(self, epoch: int, entry: Entry) -> Standing:
        return await self._link.append(Appending(self._set, epoch, entry))

    async def pull(self, epoch: int, source: str) -> Standing:
        return await self._link.pull(Pulling(self._set, self._base, epoch, source))


def _checksum(path: Path) -> str:
    hasher = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
    return str(hasher.hexdigest())
