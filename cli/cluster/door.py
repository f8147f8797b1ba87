"""The way of a command into a cluster: as a process of the node whose file is given, without services of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cli.cluster.config import NodeConfig, load_node
from cli.cluster.node import Node, open_node
from cli.exit import Exit, Hinted
from cli.place import NODE_FILE, Endpoint, StoreDirectory

if TYPE_CHECKING:
    from store.store import Store

WAIT_S = 15.0


@asynccontextmanager
async def open_door(place: StoreDirectory) -> AsyncIterator[Node]:
    """With the list of services as some conscience tells it. Raises: Hinted, FrazilError."""
    if not place.is_cluster:
        raise Hinted(
            f"{place.path} ({place.reason}) is no node's file", f"give one with --store, as in --store {NODE_FILE}", code=Exit.USAGE
        )
    async with open_node(load_node(place.path), name="command", wait_s=WAIT_S) as node:
        await node.directory.refresh()
        yield node


@asynccontextmanager
async def lasting_store(config: NodeConfig, name: str) -> AsyncIterator[Store]:
    """As cluster_store, for a process that goes on for long: it follows which services there are. name: of the process."""
    from cli.cluster.reach import cluster_of
    from store.cluster import open_cluster_store

    async with open_node(config, name=name, wait_s=WAIT_S) as node:
        await node.nursery.start(node.directory.watch)
        async with open_cluster_store(cluster_of(node)) as store:
            yield store


@asynccontextmanager
async def cluster_store(place: StoreDirectory) -> AsyncIterator[Store]:
    """The object layer, over the services of the cluster."""
    from cli.cluster.reach import cluster_of
    from store.cluster import open_cluster_store

    async with open_door(place) as node, open_cluster_store(cluster_of(node)) as store:
        yield store


async def cluster_endpoint(place: StoreDirectory) -> Endpoint:
    """A gateway of the cluster, with an admin key. Raises: Hinted, FrazilError."""
    from cli.cluster.reach import cluster_meta

    async with open_door(place) as node:
        meta = cluster_meta(node)
        gateways = sorted(node.directory.of_kind("gateway"), key=lambda each: each.read, reverse=True)
        if not gateways or not gateways[0].read:
            raise Hinted("no gateway serves", "see `frazil cluster status`", code=Exit.TEMPORARY)
        for pair in await meta.accounts.keys():
            if pair.admin and not pair.suspended:
                opened = await meta.accounts.key(pair.access_key)
                if not opened.boundaries:
                    scheme = "https" if node.config.gateway.tls_cert else "http"
                    url = f"{scheme}://{gateways[0].registration.address}"
                    return Endpoint(url, opened.access_key, opened.secret, node.config.gateway.region, node.config.gateway.tls_cert)
    raise Hinted("the cluster has no admin key", "make one: frazil key create NAME --admin", code=Exit.DENIED)
