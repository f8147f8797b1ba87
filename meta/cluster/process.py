"""A meta service: this host's peer, the sets it belongs to, and the service in front of them.

PATH/peer          name of the peer, `1 <name>`: it comes with the disk
PATH/lock          held by the process that serves
PATH/<set>/        meta/cluster/bases.py;  <set>.dissolved: of a set that is no more
"""

from __future__ import annotations

import fcntl
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import trio

from meta.cluster.birth import Births
from meta.cluster.care import Care
from meta.cluster.keepsake import Known, bring_up_to_date, check_namespace, keep, known, look, restoration, restore, went_back
from meta.cluster.link import Link
from meta.cluster.member import Member, open_member
from meta.cluster.roster import DIRECTORY, HOLDER_FOLDER, PEER_FOLDER, SET_FOLDER, Layout, Peer, PeerSet, Roster, first_sets
from meta.cluster.routing import RoutedMeta
from meta.cluster.service import REGISTRY, ClusterService
from meta.connection import sync_folder
from meta.coordinator import EPOCHS, Candidate, Coordinator, tell
from meta.protocol.directory import Prefix
from node.auth import NamespaceKey
from node.clock import Clock
from node.errors import ConfigError, DocumentUnreadable, NotLeader, StillInUse, Superseded, Unavailable
from node.http.client import Client
from node.http.server import serve
from node.log import get_logger
from node.logbook import LogCall
from node.metrics import Requests
from node.threads import run_blocking
from node.tls import PLAIN, Tls

REPLICAS = 3
META1_BASES = 4
"""Parts of the directory; 16 at most."""
OWN_BASES = ("meta0", "accounts", "registry", "encryption", "jobs")
BOOTSTRAP = "bootstrap"
"""The election of who lays the namespace out."""
SETTLE_S = 1.0
"""How long the first peers wait for others before they lay the namespace out."""
RETRY_S = 0.5
PEER_VERSION = "1"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""With a file's number: what a process that was killed left is known as its own by the next one in its place, which need not wait."""
DISSOLVED = ".dissolved"
"""Behind the name of a set's folder when the set is no more. Names of sets are never given again."""
_log = get_logger("meta.process")


def never() -> bool:
    return False


def unheard(_seconds: float) -> None:
    return


@dataclass(frozen=True, slots=True)
class MetaOptions:
    """path: folder of the bases; address: where other hosts reach the listeners ("host:port"); location: of the disk;
    replicas: peers of each set, and how many must be there before a namespace is laid out; resting: asked now and then whether this peer is
    to lead nothing as long as another can; took: told how long each durable write took; measured: whether calls are counted for metrics."""

    path: Path
    address: str
    location: str = ""
    replicas: int = REPLICAS
    resting: Callable[[], bool] = never
    took: Callable[[float], None] = unheard
    measured: bool = False


async def serve_meta(
    options: MetaOptions,
    listeners: list[socket.socket],
    *,
    coordinator: Coordinator,
    key: NamespaceKey,
    clock: Clock,
    drain: trio.Event,
    tls: Tls = PLAIN,
    task_status: trio.TaskStatus[MetaProcess] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves until `drain` is set; hands over what it leads before it ends.

    Raises: ConfigError when another process serves the path, or elsewhere a copy of it, or it is of an earlier namespace; BaseCorrupt,
    VolumeSick; what the Coordinator raises at the begin.
    """
    with _exclusive(options.path) as place:
        await check_namespace(options.path, coordinator)
        name = _peer_name(options.path)
        async with Client(key=key, tls=tls.client) as client, trio.open_nursery() as nursery:
            process = MetaProcess(options, name, coordinator=coordinator, key=key, clock=clock, client=client)
            await nursery.start(_occupy, coordinator, process.peer, place, options.path)
            await coordinator.announce(f"{PEER_FOLDER}/{name}", msgspec.json.encode(process.peer))
            nursery.start_soon(process.roster.keep)
            nursery.start_soon(keep, options.path, coordinator)
            nursery.start_soon(process.lay_out)
            nursery.start_soon(process.keep_members)
            observe = Requests("meta", process.service.operation).observe if options.measured else None
            handler = LogCall(process.service, key)
            service = partial(serve, handler, listeners, tls=tls.server, name="meta", drain=process.drained, observe=observe)
            nursery.start_soon(service)
            task_status.started(process)
            await drain.wait()
            await process.hand_over()
            nursery.cancel_scope.cancel()


class MetaProcess:
    """Made by `serve_meta`."""

    def __init__(
        self, options: MetaOptions, name: str, *, coordinator: Coordinator, key: NamespaceKey, clock: Clock, client: Client
    ) -> None:
        self.peer = Peer(name, options.address, options.location)
        self.roster = Roster(coordinator)
        self.members: dict[str, Member] = {}
        self.routed = RoutedMeta(coordinator, client)
        self.drained = trio.Event()
        self.links = Links(client, self.roster, clock)
        self.service = ClusterService(self.members, Births(self.routed, self._lead_registry), key, path=options.path)
        self._options = options
        self._coordinator = coordinator
        self._key = key
        self._clock = clock
        self._running: dict[str, tuple[PeerSet, trio.CancelScope]] = {}
        self._dissolved: set[str] = set()

    def __repr__(self) -> str:
        return f"<MetaProcess {self.peer.name} {list(self.members.values())}>"

    async def _lead_registry(self) -> None:
        """Raises: NotLeader."""
        layout = await self.roster.layout()
        member = self.members.get(layout.sets[REGISTRY]) if layout is not None else None
        if member is None:
            raise NotLeader("this host does not lead the registry")
        await member.ready(REGISTRY, create=True)

    # Members

    async def keep_members(self) -> None:
        """For each set that names this peer there is a member; one with other peers begins anew with them."""
        async with trio.open_nursery() as nursery:
            while True:
                for name, wanted in list(self.roster.sets.items()):
                    running = self._running.get(name)
                    if running is not None and running[0].peers != wanted.peers:
                        running[1].cancel()
                    if name not in self._running and self.peer.name in wanted.peers:
                        scope = trio.CancelScope()
                        self._running[name] = wanted, scope
                        nursery.start_soon(self._keep_member, name, wanted, scope)
                await self._end_dissolved()
                await self.roster.wait_changed()

    async def _end_dissolved(self) -> None:
        for name in self._running.keys() - self.roster.sets.keys():
            try:
                if await self.roster.is_dissolved(name):
                    self._dissolved.add(name)
                    if (running := self._running.get(name)) is not None:  # it may have ended meanwhile
                        running[1].cancel()
            except Unavailable as error:  # it stays until the next change
                _log.info("whether the set %s is dissolved can't be asked now: %s", name, error)

    async def _keep_member(self, name: str, peers: PeerSet, scope: trio.CancelScope) -> None:
        own = Candidate(self.peer.name, self.peer.address)
        with scope:
            async with open_member(
                name,
                self._options.path / name,
                own,
                peers,
                coordinator=self._coordinator,
                links=self.links,
                key=self._key,
                clock=self._clock,
                resting=self._options.resting,
                took=self._options.took,
            ) as member:
                self.members[name] = member
                try:
                    await member.stand(Care(member, self.roster, self.routed, self.links, self._coordinator).watchers)
                finally:
                    del self.members[name]
        if name in self._dissolved:  # not only gone: ZooKeeper may have lost it
            await run_blocking(_put_away, self._options.path / name)
        del self._running[name]
        self.roster.notify()  # it may begin anew

    async def hand_over(self) -> None:
        for member in list(self.members.values()):
            member.retire()
        async with trio.open_nursery() as nursery:
            for member in list(self.members.values()):
                nursery.start_soon(member.wait_idle)
        self.drained.set()

    # The first start of a namespace

    async def lay_out(self) -> None:
        """Whoever is elected makes sets and directory when there are enough peers, and sets for peers that come later."""
        mandate = await self._coordinator.campaign(BOOTSTRAP, Candidate(self.peer.name, self.peer.address))
        while not mandate.lost:
            try:
                await self._lay_out()
                await self._add_sets()
            except (Unavailable, Superseded) as error:
                if isinstance(error, DocumentUnreadable):
                    tell(error)
                _log.info("laying out waits: %s", error)
            with trio.move_on_after(RETRY_S if len(self.roster.peers) < self._options.replicas else 10 * RETRY_S):
                await self.roster.wait_changed()
        await self.lay_out()

    async def _lay_out(self) -> None:
        layout = await self.roster.layout()
        if layout is None and await self._was_lost() and await self._restored():
            return
        if layout is not None and await self._brought_up_to_date():
            return
        if layout is None:
            if len(self.roster.peers) < self._options.replicas:
                raise NotLeader(f"{len(self.roster.peers)} peers are there; a new namespace waits for {self._options.replicas}")
            await trio.sleep(SETTLE_S)
            sets = first_sets(list(self.roster.peers), self._options.replicas)
            for name, peers in sets.items():
                await self._make_set(name, peers)
            layout = first_layout(sorted(sets))
            await self._coordinator.write(DIRECTORY, msgspec.json.encode(layout), version=0)
        names = sorted(await self._coordinator.names(SET_FOLDER))
        if not await self.routed.prefixes():
            await self.routed.lay_out(first_prefixes(names))

    async def _was_lost(self) -> bool:
        """Whether nobody is laying a new namespace out just now: that makes the sets first, while what was lost begins with EPOCHS."""
        return not await self._coordinator.names(SET_FOLDER) or bool((await self._coordinator.read(EPOCHS)).version)

    async def _restored(self) -> bool:
        """Whether there was a namespace before ZooKeeper lost it. Raises: as `_brought_up_to_date`."""
        answers = await self._ask_peers()
        written = restoration(answers)
        if written:
            await restore(self._coordinator, written)
        return bool(written)

    async def _brought_up_to_date(self) -> bool:
        """Whether ZooKeeper had gone back to an old copy of itself. Raises: NotLeader, Unavailable, Superseded."""
        answers = await self._ask_peers()
        newest = await self._coordinator.newest_epoch()
        now = await look(self._coordinator)
        if now is None or not went_back(answers, now, newest):
            return False
        await bring_up_to_date(self._coordinator, restoration(answers))
        return True

    async def _ask_peers(self) -> dict[str, Known]:
        """What each that answers knows of the namespace."""
        answers: dict[str, Known] = {}
        for name in self.roster.peers:
            try:
                answers[name] = await (run_blocking(known, self._options.path) if name == self.peer.name else self.links[name].known())
            except Unavailable as error:
                _log.info("what %s knows of the namespace is not known: %s", name, error)
        return answers

    async def _make_set(self, name: str, peers: PeerSet) -> None:
        document = await self._coordinator.read(f"{SET_FOLDER}/{name}")
        if not document.version:
            await self._coordinator.write(f"{SET_FOLDER}/{name}", msgspec.json.encode(peers), version=0)

    async def _add_sets(self) -> None:
        """A peer in no set gets one of its own, with those that are in the fewest; nothing moves."""
        peers = self.roster.peers
        load = {name: sum(name in each.peers or name in each.wanted for each in self.roster.sets.values()) for name in peers}
        for name in sorted(peers):
            if load[name] == 0 and len(peers) >= self._options.replicas and self.roster.sets:
                others = sorted((peer for peer in peers if peer != name), key=lambda peer: (load[peer], peer))
                number = 1 + max(int(last) for each in self.roster.sets if (last := each.rpartition("-")[2]).isdecimal())
                await self._make_set(f"set-{number}", PeerSet((name, *others[: self._options.replicas - 1])))


class Links(Mapping[str, Link]):
    """To every peer that the roster ever saw; made when first used."""

    def __init__(self, client: Client, roster: Roster, clock: Clock) -> None:
        self._client = client
        self._roster = roster
        self._clock = clock
        self._links: dict[str, Link] = {}

    def __repr__(self) -> str:
        return f"<Links {list(self._links.values())}>"

    def __getitem__(self, name: str) -> Link:
        link = self._links.get(name)
        if link is None:
            link = self._links[name] = Link(self._client, name, self._roster.address, self._clock)
        return link

    def __iter__(self) -> Iterator[str]:
        return iter(self._links)

    def __len__(self) -> int:
        return len(self._links)


def first_layout(sets: list[str]) -> Layout:
    """The namespace's own bases, dealt to the sets."""
    return Layout({base: sets[at % len(sets)] for at, base in enumerate(OWN_BASES)})


def first_prefixes(sets: list[str]) -> list[Prefix]:
    """One hexadecimal digit each, dealt to META1_BASES parts of the directory, and those to the sets."""
    return [Prefix(f"{digit:x}", f"meta1-{digit % META1_BASES}", sets[digit % META1_BASES % len(sets)]) for digit in range(16)]


def _put_away(folder: Path) -> None:
    """A set that is no more: what it knew is kept for people."""
    aside = folder.with_name(folder.name + DISSOLVED)
    try:
        folder.rename(aside)
    except OSError as error:
        _log.warning("the bases of the set %s, which is no more, can't be put away: %s", folder.name, error)
    else:
        _log.warning("the set %s is no more: its bases lie in %s, and may be deleted", folder.name, aside)


async def _occupy(
    coordinator: Coordinator, peer: Peer, place: str, path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """For ever: of one peer there is one process; a copy would promise what the other knows nothing of. Raises: ConfigError."""
    try:
        await coordinator.occupy(f"{HOLDER_FOLDER}/{peer.name}", f"{peer.address} {place}".encode(), task_status=task_status)
    except StillInUse as error:
        raise ConfigError(
            f"the peer {peer.name} of {path} runs elsewhere ({error}): one is a copy of the other's disk. "
            "Stop the one that is not to be used; emptied, its folder becomes a peer of its own"
        ) from error


@contextmanager
def _exclusive(path: Path) -> Iterator[str]:
    """Tells the place, which nothing else that runs has. Raises: ConfigError."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(f"another process serves {path}") from error
    try:
        file = os.fstat(descriptor)
        yield f"{BOOT_ID.read_text().strip()} {file.st_dev} {file.st_ino}"
    finally:
        os.close(descriptor)


def _peer_name(path: Path) -> str:
    """Made at the first start. Raises: ConfigError."""
    file = path / "peer"
    if not file.exists():
        host = re.sub("[^A-Za-z0-9-]", "-", socket.gethostname())[:40]
        new = path / "peer.new"
        new.write_text(f"{PEER_VERSION} {host}-{os.urandom(4).hex()}\n")
        with new.open("rb") as made:
            os.fsync(made.fileno())
        new.replace(file)
        sync_folder(path)
    version, _, name = file.read_text().strip().partition(" ")
    if version != PEER_VERSION or not re.fullmatch("[A-Za-z0-9_-]{1,64}", name):
        raise ConfigError(f"{file} holds no name of a peer")
    return name
