"""The role gateway: S3, the health that balancers ask for, and the work that the store does by itself."""

from __future__ import annotations

import functools
from contextlib import AsyncExitStack, aclosing

import msgspec
import trio

from cli.cluster.config import host_port
from cli.cluster.health import Outlook, health_handler, keep_looking
from cli.cluster.node import Node
from cli.cluster.reach import cluster_of
from cli.cluster.webhooks import follow_webhooks
from cli.listener import bind, tls_context
from glacier.cluster import ClusterBoards
from glacier.lifecycle.engine import engine
from glacier.upkeep import upkeep
from meta.cluster.routing import RoutedMeta
from meta.conscience.protocol import Registration
from meta.protocol.door import Meta
from node.errors import Unavailable
from node.http.server import Handler, serve
from node.log import get_logger
from node.logbook import LogCall
from s3.call import GatewayOptions
from s3.gateway import Gateway
from s3.lifecycle_document import rules_of
from store.cluster import open_cluster_store, take_care
from store.jobs.duty import Duty
from store.store import Hired

NOTICE_S = 3.0
"""A gateway that ends says so in its health so long before it takes no more connections: balancers that ask each second, and every half
once it failed, and pass it over after the second time (packaging/haproxy.cfg), know by then, twice over."""
IDLE_GRACE_S = 1.0
"""Afterwards it serves so long what still comes on connections it has."""
META_WAIT_S = 0.5
IMPROVE_PACE_BYTES = 16 << 20
IMPROVE_PERIOD_S = 6 * 3600.0
"""Moving chunks that could not be placed as was wished."""
_log = get_logger("node")


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
        cluster = cluster_of(node)
        await _until_laid_out(cluster.meta)
        store = await stack.enter_async_context(open_cluster_store(cluster))
        gateway = await stack.enter_async_context(aclosing(Gateway(store, options, now_s=lambda: node.clock.now_us() / 1e6)))
        store.hire(Hired(duties={"improve": Duty(IMPROVE_PACE_BYTES, IMPROVE_PERIOD_S)}))
        store.hire(engine(rules_of, gateway.calendar, gateway.herald))
        assert isinstance(store.tier, ClusterBoards)
        store.hire(upkeep(store.tier))
        async with trio.open_nursery() as background:
            background.start_soon(follow_webhooks, node, node.config.state)
            assert isinstance(cluster.meta, RoutedMeta)
            outlook, own = Outlook(), node.registration("gateway", listen[1]).id
            gateways = functools.partial(node.directory.of_kind, "gateway")
            background.start_soon(keep_looking, outlook, cluster.meta, gateways, own)
            await background.start(store.run_workers)
            background.start_soon(gateway.run_workers)
            background.start_soon(take_care, store, node.coordinator, f"gateway-{node.id}", f"{node.address}:{listen[1]}")
            sockets = bind(listen, shared=False)
            seen_at = _serve_health(node, health_handler(drain, outlook), background)

            def registration() -> Registration:
                own = node.registration("gateway", listen[1], problem=outlook.problem)
                return msgspec.structs.replace(own, metrics=seen_at, log=seen_at)

            node.services.append(lambda: [registration()])
            parse_error = gateway.on_parse_error
            server = functools.partial(serve, gateway.handle, sockets, tls=tls, name="s3", on_parse_error=parse_error)
            ended = trio.Event()
            background.start_soon(_give_notice, drain, NOTICE_S if config.health else 0.0, ended)
            await server(drain=ended, idle_grace_s=IDLE_GRACE_S if config.health else 0.0, task_status=task_status)
            background.cancel_scope.cancel()


async def _give_notice(drain: trio.Event, notice_s: float, ended: trio.Event) -> None:
    await drain.wait()
    await trio.sleep(notice_s)
    ended.set()


def _serve_health(node: Node, public: Handler, nursery: trio.Nursery) -> str:
    """Where the gateway's figures and its log are told to who has the key, "" = nowhere: with TLS not where balancers ask in the clear."""
    asked, tls = node.config.gateway.health, node.tls.server
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


async def _until_laid_out(meta: Meta) -> None:
    """A new namespace has no metadata until enough peers are there; after a power failure they take a while."""
    while True:
        try:
            await meta.accounts.keys()
            return
        except Unavailable as error:
            _log.info("waiting for the metadata: %s", error)
            await trio.sleep(META_WAIT_S)
