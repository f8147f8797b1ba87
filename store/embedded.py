"""A whole store in one process: volumes, metadata and object layer under one or several directories.

    FIRST/store.json, FIRST/secret.key   settings and the namespace's secret, for the owner only
    FIRST/meta/                          the bases
    FIRST/run/                           lock, and what belongs to the running process
    DIR/volumes/<n>/                     the volumes, n from 1, in every directory

FIRST is the DIR that is named first.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Literal

import msgspec
import trio

from meta.client import RemoteMeta
from meta.local import open_meta
from meta.protocol.door import Meta
from meta.service import MetaService
from meta.split import SplitMeta
from node.auth import NamespaceKey
from node.buffers import BufferPool
from node.clock import SystemClock
from node.errors import ConfigError, FrazilError, VolumeForeign
from node.http.client import Client
from node.http.server import listen_unix, serve
from node.log import get_logger
from node.threads import run_blocking
from rawx.device import Devices
from rawx.folders import FOLDER_DIGITS
from rawx.identity import read_identity
from rawx.volume import make_durable_folder, open_volume
from store.afterwork import Afterwork
from store.boardless import Boardless
from store.context import Context
from store.debts import Debts
from store.delete import Place
from store.fleet import Fleet
from store.holds import FOLDER as READING
from store.holds import Holds
from store.parallel import crew
from store.policy import PolicySet
from store.settings import KEY_NAME, Settings, VolumeSlot, exclusive, load_settings, save_settings, short_path
from store.slot import Slot, keep_open
from store.store import Store
from store.tier import OpenTier, Tier
from store.vault import Vault
from store.workers import drain, recent_places

VOLUMES_PER_DIRECTORY_MAX = 64
WRITE_BUFFER_BYTES = 48 << 20
READ_BUFFER_BYTES = 32 << 20
REPAIR_BUFFER_BYTES = 64 << 20
INTERNAL_SOCKET = "internal.sock"
SITES_EVERY_S = 2.0
CLOSE_S = 5.0
"""Bound on finishing the queues at a clean end; what is left is found at the next start."""
log = get_logger("store")
Role = Literal["main", "gateway"]


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """policy: name of a storage policy; "" = what the store was made with, at first by the number of volumes.

    tier: what moves bytes to sleeping disks; None: nothing does.
    """

    directories: tuple[Path, ...]
    volumes_per_directory: int = 1
    policy: str = ""
    tier: OpenTier | None = None


@asynccontextmanager
async def open_store(options: StoreOptions, *, role: Role = "main", internal_address: str | None = None) -> AsyncIterator[Store]:
    """The store in these directories, made at the first time. "main" holds it alone; a "gateway" joins a main's on the same host.

    internal_address: Unix socket on which a main lets gateways write metadata, and where a gateway finds it; None:
    FIRST/run/internal.sock. The caller runs `Store.run_workers`.
    Raises: ConfigError (in use, damaged settings, impossible options), VolumeFull, VolumeReadOnly, BaseCorrupt.
    """
    if not options.directories or not 1 <= options.volumes_per_directory <= VOLUMES_PER_DIRECTORY_MAX:
        raise ConfigError(f"a store needs directories, and 1 to {VOLUMES_PER_DIRECTORY_MAX} volumes in each")
    first = options.directories[0].absolute()
    failure: Exception | None = None
    async with AsyncExitStack() as stack:
        try:
            if role == "main":
                make_durable_folder(first)
                (first / "run").mkdir(exist_ok=True, mode=0o700)
                stack.enter_context(exclusive(first / "run"))
            settings, key = prepare(first, options, create=role == "main")
        except OSError as error:
            raise ConfigError(f"{error.filename or first} can't be used: {error.strerror}") from error
        if role == "main":
            check_metadata(first, settings)
        devices = Devices()
        tier: Tier | None = None if options.tier is None else await stack.enter_async_context(options.tier(key))
        forget = None if tier is None else tier.forget
        slots = [
            stack.enter_context(Slot(slot.id, settings.path_of(slot, first), settings.namespace, devices, forget=forget))
            for slot in settings.volumes
        ]
        fleet = Fleet({slot.id: slot.volume for slot in slots}, random=Random(os.urandom(32)))
        nursery = await stack.enter_async_context(crew())
        stack.callback(nursery.cancel_scope.cancel)
        context, left = await _open_context(stack, nursery, first, settings, key, fleet, role, internal_address)
        context.tier = tier or Boardless(fleet)
        follow_sites(context, settings)
        nursery.start_soon(keep_sites, context, first)
        nursery.start_soon(fleet.watch)
        nursery.start_soon(keep_open, fleet, slots)
        for slot in slots:
            nursery.start_soon(slot.keep_probed)
            if role == "main":
                nursery.start_soon(slot.sweep)
        nursery.start_soon(context.writes.keep_trimmed)
        nursery.start_soon(context.reads.keep_trimmed)
        nursery.start_soon(context.repairs.keep_trimmed)
        stack.push_async_callback(_finish, context)
        try:
            yield Store(context, left)
        except Exception as error:  # noqa: BLE001 - raised again below, so that no nursery on the way wraps it in a group
            failure = error
    if failure is not None:
        raise failure


async def _open_context(
    stack: AsyncExitStack,
    nursery: trio.Nursery,
    first: Path,
    settings: Settings,
    key: NamespaceKey,
    fleet: Fleet,
    role: Role,
    internal_address: str | None,
) -> tuple[Context, list[Place]]:
    """The context, and for a main what the volumes' journals say before anything is written."""
    clock = SystemClock()
    gateway = role == "gateway"
    address = stack.enter_context(short_path(internal_address or str(first / "run" / INTERNAL_SOCKET)))
    local = await stack.enter_async_context(open_meta(first / "meta", key=key, clock=clock, read_only=gateway))
    meta: Meta = local
    if gateway:
        client = await stack.enter_async_context(Client(key=key))
        meta = SplitMeta(local, RemoteMeta(client, f"unix:{address}"))
    else:
        listener = stack.enter_context(listen_unix(address))
        await stack.enter_async_context(_serving(MetaService(local, key), listener))
    context = Context(
        meta=meta,
        fleet=fleet,
        policies=PolicySet.named(settings.policy, len(settings.volumes)),
        vault=Vault(key, meta.encryption),
        writes=BufferPool(WRITE_BUFFER_BYTES),
        reads=BufferPool(READ_BUFFER_BYTES),
        repairs=BufferPool(REPAIR_BUFFER_BYTES),
        clock=clock,
        afterwork=Afterwork(Holds(first / "run" / READING)),
        home=first,
        remote_meta=gateway,
        debts=Debts(first / "run"),
    )
    return context, [] if gateway else [place async for place in recent_places(context)]


def follow_sites(context: Context, settings: Settings, sites: Mapping[str, str] = MappingProxyType({})) -> None:
    """Classes with sites draw from the volumes whose boards are there; while these are not known, from none.

    sites: of the boards of each volume
    """
    reserved = {name: frozenset(volume for volume, site in sites.items() if site in wanted) for name, wanted in settings.sites.items()}
    context.classes = {
        name: (PolicySet.for_volumes(len(volumes)) if volumes else context.policies).in_pool(name) for name, volumes in reserved.items()
    }
    context.fleet.reserved = reserved


async def keep_sites(context: Context, first: Path) -> None:
    """For ever: what operators change in the store's settings, and workers that come."""
    while True:
        try:
            settings = await run_blocking(load_settings, first)
            if settings is not None and (settings.sites or context.fleet.reserved):
                follow_sites(context, settings, await context.tier.sites())
        except FrazilError as error:  # what was known stands
            log.info("where the boards are can't be told now", extra={"error": str(error)})
        await trio.sleep(SITES_EVERY_S)


@asynccontextmanager
async def _serving(service: MetaService, listener: socket.socket) -> AsyncIterator[None]:
    """At the end calls in flight are answered first: the metadata is closed behind it, and gateways and mounts go on calling."""
    ending = trio.Event()
    async with crew() as nursery:
        nursery.start_soon(partial(serve, service, [listener], name="internal", drain=ending))
        try:
            yield
        finally:
            ending.set()


def check_metadata(first: Path, settings: Settings) -> None:
    """An empty metadata beside chunks would be taken for the truth. Raises: ConfigError."""
    if (first / "meta" / "accounts" / "accounts.db").exists():
        return
    used = [str(path) for slot in settings.volumes if any((path := settings.path_of(slot, first)).glob("[0-9a-f]" * FOLDER_DIGITS))]
    if used:
        raise ConfigError(f"the metadata in {first / 'meta'} is gone, but {used[0]} holds chunks: run `frazil rebuild meta` first")


async def _finish(context: Context) -> None:
    """What the queues hold, as far as a bounded time allows; the rest is on disk and found at the next start."""
    with trio.CancelScope(deadline=trio.current_time() + CLOSE_S, shield=True):
        try:
            await drain(context)
        except FrazilError as error:
            log.warning("not everything was tidied up at the end; the next start goes on", extra={"error": str(error)})


def prepare(first: Path, options: StoreOptions, *, create: bool) -> tuple[Settings, NamespaceKey]:
    """Settings and secret of the store in `first`, made or extended by the directories that are new. Raises: ConfigError, OSError."""
    settings = load_settings(first)
    if settings is None:
        if not create:
            raise ConfigError(f"there is no store in {first}")
        taken = [str(each / "volumes") for each in options.directories if (each / "volumes").exists()]
        if taken:
            raise ConfigError(f"{', '.join(taken)} exist, but there is no store.json in {first}: give the directories in their first order")
        settings = Settings(os.urandom(8).hex(), time.time_ns() // 1000, (), options.policy)
        PolicySet.named(settings.policy, len(list(_wanted(options))))
        save_settings(first, settings)  # the namespace is known before any volume carries it
    known = {str(settings.path_of(slot, first)) for slot in settings.volumes}
    ids = {slot.id for slot in settings.volumes}
    added = tuple(
        VolumeSlot(_begun(path, settings.namespace, ids) or os.urandom(8).hex(), _relative(path, first))
        for path in _wanted(options)
        if str(path) not in known
    )
    changed = msgspec.structs.replace(settings, volumes=settings.volumes + added, policy=options.policy or settings.policy)
    PolicySet.named(changed.policy, len(changed.volumes))
    key = (
        NamespaceKey.create(first / KEY_NAME)
        if create and not (first / KEY_NAME).exists() and not known
        else NamespaceKey.load(first / KEY_NAME)
    )
    if changed != settings and create:
        for slot in added:
            path = changed.path_of(slot, first)
            if path.exists() and any(path.iterdir()) and not _begun(path, settings.namespace, ids):
                raise ConfigError(f"{path} is not empty: a new volume needs an empty folder")
        _make_volumes(changed, added, first)
        save_settings(first, changed)
    return changed, key


def _begun(path: Path, namespace: str, known: set[str]) -> str | None:
    """The id of a volume of ours that a crash kept out of the settings; there can be no chunk in it yet. Raises: ConfigError, OSError."""
    if not path.is_dir():
        return None
    try:
        identity = read_identity(str(path))
    except VolumeForeign:
        return None
    ours = identity is not None and identity.namespace == namespace and identity.id not in known
    return identity.id if identity is not None and ours else None


def _wanted(options: StoreOptions) -> Iterable[Path]:
    """The volumes' folders. A store that exists keeps those it has; more come by more directories or a larger number in each."""
    for directory in options.directories:
        for number in range(1, options.volumes_per_directory + 1):
            yield directory.absolute() / "volumes" / str(number)


def _relative(path: Path, first: Path) -> str:
    return str(path.relative_to(first)) if path.is_relative_to(first) else str(path)


def _make_volumes(settings: Settings, slots: Iterable[VolumeSlot], first: Path) -> None:
    """New volumes get their identity before the settings name them: a crash in between is repeated harmlessly."""
    for slot in slots:
        try:
            volume = open_volume(settings.path_of(slot, first), namespace=settings.namespace, volume_id=slot.id, create=True)
        except FrazilError as error:
            raise ConfigError(f"volume {settings.path_of(slot, first)} can't be made: {error}") from error
        volume.close()
