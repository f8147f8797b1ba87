"""What a node can run, each alone in its process or together: conscience, meta, rawx, gateway."""

from __future__ import annotations

import functools
import os
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import msgspec
import trio

from cli.cluster.cold import Home, boards_of, forget_at, homes
from cli.cluster.config import host_port
from cli.cluster.node import CONSCIENCES, Node
from cli.cluster.webhooks import follow_webhooks
from cli.serve import bind, tls_context
from glacier.cluster import ClusterBoards
from glacier.lifecycle.engine import engine
from glacier.upkeep import upkeep
from meta.cluster.process import MetaOptions, MetaProcess
from meta.cluster.process import serve_meta as run_meta
from meta.cluster.routing import RoutedMeta
from meta.conscience.protocol import Lock, Registration
from meta.conscience.service import ConscienceService
from meta.coordinator import Coordinator
from meta.protocol.door import Meta
from node.clock import SystemClock
from node.errors import FrazilError, Unavailable
from node.exposure import expose
from node.http.message import Request
from node.http.reply import Reply
from node.http.server import Handler, Observer, serve
from node.log import get_logger
from node.logbook import LogCall
from node.metrics import Requests, histogram, serve_metrics
from node.statistics import Disk, Latency
from rawx.device import Devices
from rawx.health import Trust
from rawx.identity import read_identity
from rawx.service import LIMITS as RAWX_LIMITS
from rawx.service import RawxService
from rawx.volume import Volume
from s3.call import GatewayOptions
from s3.gateway import Gateway
from s3.lifecycle_document import rules_of
from store.cluster import Cluster, open_cluster_store, take_care
from store.jobs.duty import Duty
from store.namespace import DOCUMENT, NamespaceSettings
from store.slot import LOOK_PERIOD_S, Slot
from store.store import Hired

LOCKS = "lock"
"""Folder of the operators' locks, by service."""
HEALTH_PATH = b"/health"
IDLE_GRACE_S = 4.0
"""A gateway that ends serves so long what comes on connections it has: balancers that ask for its health each second know by then."""
META_WAIT_S = 0.5
IMPROVE_PACE_BYTES = 16 << 20
IMPROVE_PERIOD_S = 6 * 3600.0
"""Moving chunks that could not be placed as was wished."""
_log = get_logger("node")


async def serve_conscience(node: Node, drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    config = node.config.conscience
    service = ConscienceService(node.config.state / "conscience.json", node.key, SystemClock())
    await _serve_metrics(node, config.metrics, drain)
    sockets = bind((node.config.listen, config.port), shared=False)
    address = f"{node.address}:{config.port}"
    node.services.append(lambda: [node.registration("conscience", config.port)])
    node.nursery.start_soon(service.keep)
    node.nursery.start_soon(service.learn, node.client, lambda: [each for each in node.consciences.addresses() if each != address])
    node.nursery.start_soon(_follow_settings, node.coordinator, service)
    await node.nursery.start(_follow_locks, node.coordinator, service)
    await node.coordinator.announce(f"{CONSCIENCES}/{node.id}", address.encode())
    await node.consciences.look()
    observe = _observer("conscience", config.metrics)
    handler = LogCall(service, node.key)
    await serve(handler, sockets, tls=node.tls.server, name="conscience", drain=drain, observe=observe, task_status=task_status)


async def _follow_settings(coordinator: Coordinator, service: ConscienceService) -> None:
    async with aclosing(coordinator.watch(DOCUMENT)) as changes:
        async for document in changes:
            if not document.version:
                continue  # as in store/cluster.py
            try:
                service.board.expressions = NamespaceSettings.decode(document.data).scores
            except FrazilError as error:  # what was known stands
                _log.error("the namespace's settings can't be used: %s", error)


async def _follow_locks(
    coordinator: Coordinator, service: ConscienceService, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Each lock by itself: one that is replaced may leave the folder's names as they were. Started once it knows those that there are:
    before, a host that is drained, or given up, would be told as one like any other."""
    watched: set[str] = set()
    started = False
    async with trio.open_nursery() as nursery, aclosing(coordinator.watch_names(LOCKS)) as changes:
        async for names in changes:
            async with trio.open_nursery() as starting:
                for name in set(names) - watched:
                    watched.add(name)
                    starting.start_soon(nursery.start, _follow_lock, coordinator, service, name)
            if not started:
                started = True
                task_status.started()


async def _follow_lock(
    coordinator: Coordinator, service: ConscienceService, name: str, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    started = False
    async with aclosing(coordinator.watch(f"{LOCKS}/{name}")) as changes:
        async for document in changes:
            others = {each: lock for each, lock in service.board.locks.items() if each != name}
            try:
                there = {name: msgspec.json.decode(document.data, type=Lock)} if document.version else {}
            except msgspec.DecodeError as error:  # what was known stands
                _log.error("the lock of %s can't be read; `frazil cluster unlock` removes it: %s", name, error)
            else:
                service.board.locks = others | there
            if not started:
                started = True
                task_status.started()


async def serve_meta(node: Node, drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    config, folder = node.config.meta, node.config.meta_directory
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    await _serve_metrics(node, config.metrics, drain)
    sockets = bind((node.config.listen, config.port), shared=False)
    disk = Disk(folder)
    own = node.registration("meta", config.port, disk).id

    def resting() -> bool:
        """Whether an operator has locked this service's place at 0, as `node drain` does."""
        known = node.directory.services.get(own)
        return known is not None and known.locked and not known.place

    latency = Latency()
    syncs = histogram("meta_commit_seconds", "Time of a commit to a base of this host, own or as a peer, until it was durable.")

    def took(seconds: float) -> None:
        latency.add(seconds)
        syncs.observe(seconds)

    place = f"{node.config.place}.{folder.name}"
    measured = bool(config.metrics)
    options = MetaOptions(folder, f"{node.address}:{config.port}", place, config.replicas, resting, took=took, measured=measured)
    async with trio.open_nursery() as nursery:
        run = functools.partial(run_meta, options, sockets, coordinator=node.coordinator, key=node.key, clock=SystemClock())
        process: MetaProcess = await nursery.start(functools.partial(run, drain=drain, tls=node.tls))
        peer = process.peer.name
        node.services.append(lambda: [msgspec.structs.replace(node.registration("meta", config.port, disk, latency), peer=peer)])
        task_status.started()


class _ServedVolume:
    """One volume and the listener in front of it."""

    def __init__(self, node: Node, number: int, slot: Slot, home: Home) -> None:
        self.port = node.config.rawx.port + number
        self._node = node
        self._slot = slot
        self._home = home
        self._location = f"{node.config.place}.{node.config.rawx.disks[number]}"
        self._disk = Disk(slot.path)
        self._trust = Trust()
        self._offered: dict[str, Volume] = {}
        self.service = RawxService(self._offered, node.key)

    def offer(self) -> None:
        """The volume that the slot holds now, if it is there."""
        self._offered.clear()
        if isinstance(volume := self._slot.volume, Volume):
            self._offered[volume.volume_id] = volume

    def registration(self) -> Registration:
        node, volume = self._node, self._slot.volume
        health = volume.health if isinstance(volume, Volume) else None
        problem = health.sick if health is not None else getattr(volume, "reason", "it is away")
        statistics = {"cpu": round(node.processor.sample(), 1), **self._disk.sample()}
        if health is not None:
            statistics |= {"trust": round(self._trust.sample(health.errors, trio.current_time()), 1), **health.latency.sample()}
            if health.full or health.read_only:
                statistics["space"] = 0.0
        host = node.registration("rawx", self.port)
        return msgspec.structs.replace(
            host,
            id=self._slot.id,
            location=self._location,
            slots=node.config.rawx.slots,
            statistics=statistics,
            problem=problem,
            worker=self._home.worker,
            site=self._home.site,
        )


async def serve_rawx(
    node: Node, drain: trio.Event, *, only: int | None = None, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """only: number of the one volume to serve, from 0."""
    devices, observe = Devices(), _observer("rawx", node.config.rawx.metrics)
    known = homes(node)
    await _serve_metrics(node, node.config.rawx.metrics, drain)
    async with AsyncExitStack() as stack:
        served: list[tuple[_ServedVolume, Slot]] = []
        for number, path in enumerate(node.config.rawx.volumes):
            if only is None or number == only:
                home = known.get(path.absolute(), Home())
                forget = forget_at(node.client, home.worker) if home.worker else None
                slot = stack.enter_context(Slot(volume_id_of(path), path, node.namespace, devices, forget=forget))
                served.append((_ServedVolume(node, number, slot, home), slot))
        node.services.append(lambda: [each.registration() for each, _ in served])
        async with trio.open_nursery() as nursery, trio.open_nursery() as background:
            for each, slot in served:
                each.offer()
                background.start_soon(each.service.keep_tidy)
                background.start_soon(slot.sweep)
                background.start_soon(slot.keep_probed)
                background.start_soon(_follow, each, slot)
                sockets = bind((node.config.listen, each.port), shared=False)
                handler = LogCall(each.service, node.key)
                run = functools.partial(serve, handler, sockets, limits=RAWX_LIMITS, tls=node.tls.server, name="rawx")
                await nursery.start(functools.partial(run, drain=drain, observe=observe))
            task_status.started()
            await drain.wait()
            background.cancel_scope.cancel()


async def _follow(served: _ServedVolume, slot: Slot) -> None:
    """Opens the volume anew when its disk came or went."""
    from node.threads import run_blocking

    while True:
        await trio.sleep(LOOK_PERIOD_S)
        if await run_blocking(slot.changed, abandon=True):
            await run_blocking(slot.open)
            served.offer()


def volume_id_of(path: Path) -> str:
    """The id the volume has, or will get: a folder without one is a new volume. Its folder is made when its parent is there."""
    path.mkdir(exist_ok=True, mode=0o700)
    identity = read_identity(str(path))
    return identity.id if identity is not None else os.urandom(8).hex()


async def serve_gateway(node: Node, drain: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    config = node.config.gateway
    tls = tls_context(config.tls_cert, config.tls_key)
    listen = host_port(config.listen, "gateway.listen")
    options = GatewayOptions(
        region=config.region,
        domains=config.domains,
        sigv2=config.sigv2,
        allow_ssec_http=config.allow_ssec_http,
        calendar=config.calendar,
    )
    node.config.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        await _until_laid_out(node)
        store = await stack.enter_async_context(open_cluster_store(cluster_of(node)))
        gateway = await stack.enter_async_context(aclosing(Gateway(store, options, now_s=lambda: node.clock.now_us() / 1e6)))
        store.hire(Hired(duties={"improve": Duty(IMPROVE_PACE_BYTES, IMPROVE_PERIOD_S)}))
        store.hire(engine(rules_of, gateway.calendar, gateway.herald))
        assert isinstance(store.tier, ClusterBoards)
        store.hire(upkeep(store.tier))
        async with trio.open_nursery() as background:
            background.start_soon(follow_webhooks, node, node.config.state)
            await background.start(store.run_workers)
            background.start_soon(gateway.run_workers)
            background.start_soon(take_care, store, node.coordinator, f"gateway-{node.id}", f"{node.address}:{listen[1]}")
            sockets = bind(listen, shared=False)
            seen_at = _serve_health(node, drain, background)
            node.services.append(lambda: [msgspec.structs.replace(node.registration("gateway", listen[1]), metrics=seen_at, log=seen_at)])
            parse_error = gateway.on_parse_error
            server = functools.partial(serve, gateway.handle, sockets, tls=tls, name="s3", on_parse_error=parse_error)
            await server(drain=drain, idle_grace_s=IDLE_GRACE_S if config.health else 0.0, task_status=task_status)
            background.cancel_scope.cancel()


def _serve_health(node: Node, drain: trio.Event, nursery: trio.Nursery) -> str:
    """Where the gateway's figures and its log are told to who has the key, "" = nowhere: with TLS not where balancers ask in the clear."""
    asked, tls = node.config.gateway.health, node.tls.server
    public = health_handler(drain)
    proved = LogCall(public, node.key)
    port = 0
    if asked:
        host, port = host_port(asked, "gateway.health")
        health = bind((host, port), shared=False)
        nursery.start_soon(functools.partial(serve, proved if tls is None else public, health, name="health"))
    if tls is not None:
        sockets = bind((node.config.listen, 0), shared=False)
        port = sockets[0].getsockname()[1]
        nursery.start_soon(functools.partial(serve, proved, sockets, tls=tls, name="log"))
    return f"{node.address}:{port}" if port else ""


async def _until_laid_out(node: Node) -> None:
    """A new namespace has no metadata until enough peers are there; after a power failure they take a while."""
    while True:
        try:
            await cluster_meta(node).accounts.keys()
            return
        except Unavailable as error:
            _log.info("waiting for the metadata: %s", error)
            await trio.sleep(META_WAIT_S)


def health_handler(drain: trio.Event) -> Handler:
    """For balancers and Prometheus: says nothing that a stranger may not know."""

    async def handle(request: Request, reply: Reply) -> None:
        if request.raw_path == HEALTH_PATH and request.method in ("GET", "HEAD"):
            await reply.whole(
                503 if drain.is_set() else 200, [(b"Content-Type", b"text/plain")], b"draining\n" if drain.is_set() else b"ok\n"
            )
        elif request.raw_path == b"/metrics":
            await serve_metrics(request, reply)
        else:
            await reply.whole(404, [])

    return handle


def cluster_meta(node: Node) -> Meta:
    """The namespace's metadata, wherever it is led."""
    return RoutedMeta(node.coordinator, node.client)


def cluster_of(node: Node) -> Cluster:
    return Cluster(
        namespace=node.namespace,
        key=node.key,
        clock=node.clock,
        client=node.client,
        meta=cluster_meta(node),
        directory=node.directory,
        coordinator=node.coordinator,
        home=node.config.state,
        volumes=node.config.rawx.volumes,
        tier=boards_of(node),
        reading_s=node.config.gateway.reading_s,
    )


def _observer(component: str, listen: str) -> Observer | None:
    """Counts the component's calls, where somebody is to see it."""
    return Requests(component).observe if listen else None


async def _serve_metrics(node: Node, listen: str, drain: trio.Event) -> None:
    if listen:
        await node.nursery.start(expose, listen, drain)
