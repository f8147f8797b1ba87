"""The object layer of a process in a namespace of many hosts: volumes as the conscience tells them, metadata as its client finds it.

Volumes of this host are opened here and used without a socket; whoever serves them to the others is another process on the same files.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from meta.conscience.client import Directory
from meta.conscience.protocol import Service
from meta.coordinator import Candidate as Candidacy
from meta.coordinator import Coordinator, Mandate, tell
from meta.protocol.door import Meta
from node.auth import NamespaceKey
from node.buffers import BufferPool
from node.clock import Clock
from node.errors import DocumentUnreadable, FrazilError, InvalidArgument
from node.http.client import Client
from node.log import get_logger
from node.threads import run_blocking
from rawx.client import RemoteRawx
from rawx.device import Devices
from rawx.identity import read_identity
from rawx.protocol import Rawx
from rawx.volume import Forget
from store.afterwork import Afterwork
from store.context import Context
from store.embedded import READ_BUFFER_BYTES, REPAIR_BUFFER_BYTES, WRITE_BUFFER_BYTES
from store.fleet import Fleet
from store.holds import READING_S
from store.location import Location, group_counts
from store.namespace import DOCUMENT, NamespaceSettings
from store.parallel import crew
from store.placement import NOWHERE, Candidate, Topology
from store.policy import PolicySet
from store.slot import LOOK_PERIOD_S, Slot
from store.store import Store
from store.tier import InPlace, Tier
from store.vault import Vault

CARETAKER = "caretaker"
"""The election of the one process that looks through all containers for what is to be done."""
RETRY_S = 5.0
DOUBT_S = 0.2
log = get_logger("store.cluster")


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a process has to do with the others. volumes: folders of this host's volumes, which other processes own; home: for own files;
    tier: what moves bytes to sleeping disks; reading_s: see Context."""

    namespace: str
    key: NamespaceKey
    clock: Clock
    client: Client
    meta: Meta
    directory: Directory
    coordinator: Coordinator
    home: Path
    volumes: tuple[Path, ...] = ()
    tier: Tier = field(default_factory=InPlace)
    reading_s: float = READING_S


@asynccontextmanager
async def open_cluster_store(cluster: Cluster) -> AsyncIterator[Store]:
    """The caller runs `Store.run_workers`, and `take_care` beside it. Raises: ConfigError."""
    failure: Exception | None = None
    async with AsyncExitStack() as stack:
        fleet = Fleet({}, random=Random(os.urandom(32)))
        context = Context(
            meta=cluster.meta,
            fleet=fleet,
            policies=PolicySet.for_volumes(1),
            vault=Vault(cluster.key, cluster.meta.encryption),
            writes=BufferPool(WRITE_BUFFER_BYTES),
            reads=BufferPool(READ_BUFFER_BYTES),
            repairs=BufferPool(REPAIR_BUFFER_BYTES),
            clock=cluster.clock,
            afterwork=Afterwork(),
            home=cluster.home,
            remote_meta=True,
            many_gateways=True,
            reading_s=cluster.reading_s,
        )
        context.tier = cluster.tier
        nursery = await stack.enter_async_context(crew())
        stack.callback(nursery.cancel_scope.cancel)
        near = stack.enter_context(Near(cluster.volumes, cluster.namespace, cluster.tier.forget))
        await near.look()
        arranger = Arranger(context, cluster, near)
        arranger.arrange()
        cluster.directory.listeners.append(arranger.arrange)
        stack.callback(cluster.directory.listeners.remove, arranger.arrange)
        nursery.start_soon(near.watch, arranger.arrange)
        nursery.start_soon(arranger.follow_settings)
        nursery.start_soon(context.writes.keep_trimmed)
        nursery.start_soon(context.reads.keep_trimmed)
        nursery.start_soon(context.repairs.keep_trimmed)
        try:
            yield Store(context)
        except Exception as error:  # noqa: BLE001 - raised again below, so that no nursery on the way wraps it in a group
            failure = error
    if failure is not None:
        raise failure


class Near:
    """Volumes of this host, opened beside their owner as soon as they have their identity, and anew when a disk comes back."""

    def __init__(self, folders: Iterable[Path], namespace: str, forget: Forget) -> None:
        self._folders = tuple(folders)
        self._forget = forget
        self._namespace = namespace
        self._devices = Devices()
        self._slots: dict[Path, Slot] = {}

    def __repr__(self) -> str:
        return f"<Near {list(self._slots.values())}>"

    def __enter__(self) -> Near:
        return self

    def __exit__(self, *exit: object) -> None:
        for slot in self._slots.values():
            slot.__exit__(*exit)

    @property
    def volumes(self) -> dict[str, Rawx]:
        """Those that are open now, by id."""
        return {slot.id: slot.volume for slot in self._slots.values() if slot.there}

    async def look(self) -> bool:
        """Opens what is there now; whether anything changed."""
        return await run_blocking(self._look)

    def _look(self) -> bool:
        changed = False
        for path in self._folders:
            slot = self._slots.get(path)
            if slot is None:
                volume_id = _identity(path, self._namespace)
                if volume_id is None:
                    continue
                slot = self._slots[path] = Slot(volume_id, path, self._namespace, self._devices, create=False, forget=self._forget)
            elif not slot.changed():
                continue
            slot.open()
            changed = True
        return changed

    async def watch(self, changed: object) -> None:
        """Follows for ever what comes and goes, and calls `changed`."""
        assert callable(changed)
        async with trio.open_nursery() as nursery:
            probed: set[Path] = set()
            while True:
                for path in self._slots.keys() - probed:
                    probed.add(path)
                    nursery.start_soon(self._slots[path].keep_probed)
                await trio.sleep(LOOK_PERIOD_S)
                if await self.look():
                    changed()


def _identity(path: Path, namespace: str) -> str | None:
    try:
        identity = read_identity(str(path))
    except (FrazilError, OSError):  # not there yet, or no volume: whoever serves it says so
        return None
    return identity.id if identity is not None and identity.namespace == namespace else None


class Arranger:
    """Keeps a context's fleet and policies as conscience and settings say."""

    def __init__(self, context: Context, cluster: Cluster, near: Near) -> None:
        self._context = context
        self._cluster = cluster
        self._near = near
        self._settings = NamespaceSettings()
        self._remote: dict[str, RemoteRawx] = {}
        self._told = ""

    def __repr__(self) -> str:
        return f"<Arranger {self._context.fleet!r}>"

    def arrange(self) -> None:
        """No await: requests see the old state or the new one."""
        found = self._cluster.directory.of_kind("rawx")
        services = [each for each in found if not each.gone]
        near = self._near.volumes
        members = {each.id: _member(each) for each in services}
        self._remote = {each.id: self._connection(each) for each in services if each.id not in near}
        locations = [each.location for each in members.values()]
        pools, default = self._settings.pools_for(group_counts(locations))
        readable = frozenset(each.id for each in services if each.read > 0) | near.keys()
        gone = frozenset(each.id for each in found if each.gone)
        self._context.fleet.arrange({**self._remote, **near}, Topology(members, readable, pools, default, gone))
        self._choose(list(members.values()))

    def _connection(self, service: Service) -> RemoteRawx:
        known = self._remote.get(service.id)
        address = service.registration.address
        return known if known is not None and known.address == address else RemoteRawx(self._cluster.client, address, service.id)

    def _choose(self, members: Sequence[Candidate]) -> None:
        """The policies for these volumes. Settings that ask for more than there is leave the policies as they are."""
        if not members:
            return
        settings = self._settings
        try:
            self._context.policies = settings.policies(settings.policy, [each.location for each in members])
            self._context.classes = settings.classes_for(members)
        except FrazilError as error:
            if str(error) != self._told:
                self._told = str(error)
                log.warning("the namespace's settings can't be met: %s", error)

    async def follow_settings(self) -> None:
        """For ever."""
        async for document in self._cluster.coordinator.watch(DOCUMENT):
            if not document.version:
                continue  # never made, or lost with all that ZooKeeper had: it comes back as it was
            try:
                self._settings = NamespaceSettings.of(document)
            except DocumentUnreadable as error:  # a newer Frazil's, say: what was known stands
                tell(error)
            else:
                self.arrange()


def _member(service: Service) -> Candidate:
    registration = service.registration
    try:
        location = Location.parse(registration.location)
    except InvalidArgument:
        location = NOWHERE
    return Candidate(service.id, float(service.place), location, frozenset(registration.slots), registration.site)


async def _until_doubtful(mandate: Mandate) -> None:
    """Until another may lead: long before it is known that this one is over, after which two would be at work for a while."""
    while mandate.trusted:  # noqa: ASYNC110 - nobody tells that a session has not been confirmed for long
        await trio.sleep(DOUBT_S)


async def take_care(store: Store, coordinator: Coordinator, name: str, address: str) -> None:
    """For ever: while this process is the elected one, it does what is done once for all containers."""
    while True:
        mandate = await coordinator.campaign(CARETAKER, Candidacy(name, address))
        log.info("this process looks after the containers now", extra={"epoch": mandate.epoch})
        try:
            while not mandate.lost:
                if mandate.trusted:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(store.run_caretaking)
                        await _until_doubtful(mandate)
                        nursery.cancel_scope.cancel()
                await trio.sleep(DOUBT_S)
        finally:
            with trio.CancelScope(deadline=trio.current_time() + RETRY_S, shield=True):
                await mandate.resign()
